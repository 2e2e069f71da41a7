"""Layers as tar archives: written with everything set (order, times, owners, modes), and read back from an image."""

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

import zstandard
from isal import isal_zlib

from builder.elf import read_executable
from builder.errors import CheckError

# Enough of a file for its ELF header and, behind it, pyelftools' first look at the tables.
_HEADER = 64
_CHUNK = 1 << 20
# Small, as it may grow a thousand times.
_COMPRESSED_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFile:
    """A file to pack: where its bytes are, where it goes, its mode (octal digits), its time in seconds since 1970."""

    content: Path
    path: str
    mode: str
    mtime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEntry:
    """A file, link or directory of a layer. `sha256` is of a regular file's content, `architecture` of its ELF header."""

    path: str
    kind: str
    mode: str
    owner: str
    mtime: int
    size: int = 0
    sha256: str = ""
    architecture: str = ""


def write_layer(files: Sequence[LayerFile], archive: Path) -> tuple[LayerEntry, ...]:
    """Write the archive, with the directories above each file (0755), all owned by 0:0; gives what is in it.

    The archive itself keeps the time of its writing: BuildKit takes a context file of the same size and time for
    unchanged, whatever is in it.
    """
    entries = []
    # USTAR: no extended headers, which hold fractional times where the format is PAX.
    with tarfile.open(archive, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.copybufsize = _CHUNK  # type: ignore[attr-defined]  # in its documentation, not in its stub
        for directory, mtime in _directories(files).items():
            header = _header(directory, tarfile.DIRTYPE, "0755", mtime)
            tar.addfile(header)
            entries.append(_describe(header, "", ""))
        for file in sorted(files, key=lambda file: file.path):
            header = _header(file.path, tarfile.REGTYPE, file.mode, file.mtime)
            header.size = file.content.stat().st_size
            with file.content.open("rb") as content:
                executable = read_executable(content)
                content.seek(0)
                hashing = _HashingReader(content)
                tar.addfile(header, hashing)
            entries.append(_describe(header, hashing.hexdigest(), executable.architecture if executable else ""))
    return tuple(entries)


def read_layer(blob: Path, media_type: str) -> tuple[LayerEntry, ...]:
    """What a layer blob of an image holds, in its order. Raises CheckError where it is damaged."""
    with open_layer(blob, media_type) as tar:
        return tuple(_read_entry(tar, member) for member in tar)


@contextmanager
def open_layer(blob: Path, media_type: str) -> Iterator[tarfile.TarFile]:
    """A layer blob of an image, to be read from front to back. Raises CheckError where it is damaged."""
    try:
        with _decompressed(blob, media_type) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            yield tar
            # To its very end: the sum of what was compressed comes behind the archive.
            while stream.read(_CHUNK):
                pass
    except (tarfile.TarError, isal_zlib.IsalError, zstandard.ZstdError, EOFError, OSError) as error:  # type: ignore[misc]  # its stub calls the class an instance
        raise CheckError(f"layer {blob.name[:12]} is damaged: {error}") from error


@contextmanager
def open_uncompressed(blob: Path, media_type: str) -> Iterator[IO[bytes]]:
    """The bytes of a layer blob, unpacked as they are read. Raises CheckError where it is damaged."""
    try:
        with _decompressed(blob, media_type) as stream:
            yield stream
    except (isal_zlib.IsalError, zstandard.ZstdError, EOFError) as error:  # type: ignore[misc]  # as above
        raise CheckError(f"layer {blob.name[:12]} is damaged: {error}") from error


@contextmanager
def _decompressed(blob: Path, media_type: str) -> Iterator[IO[bytes]]:
    with blob.open("rb") as file:
        if media_type.endswith("+zstd"):
            yield io.BufferedReader(_FramesReader(file, lambda: zstandard.ZstdDecompressor().decompressobj()), _CHUNK)
        elif media_type.endswith("gzip"):
            yield io.BufferedReader(_FramesReader(file, lambda: isal_zlib.decompressobj(wbits=31)), _CHUNK)
        else:
            yield file


class _Decompressor(Protocol):
    """What isal and zstandard have in common: one gzip member, or one zstd frame."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


class _FramesReader(io.RawIOBase):
    """Streams gzip members or zstd frames, one after the other.

    Not the readers of the two libraries: zstandard's takes a blob that ends too early for a whole one, and gzip's sums
    each byte a second time, in twice the time.
    """

    def __init__(self, file: IO[bytes], start_frame: Callable[[], _Decompressor]) -> None:
        self._file = file
        self._start_frame = start_frame
        self._frame: _Decompressor | None = None
        self._rest = b""
        self._data = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._data:
            compressed = self._rest or self._file.read(_COMPRESSED_CHUNK)
            if not compressed:
                if self._frame:
                    raise EOFError("it ends in the middle")
                return 0
            self._frame = self._frame or self._start_frame()
            self._data, self._rest = memoryview(self._frame.decompress(compressed)), b""
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._data))
        buffer[:count], self._data = self._data[:count], self._data[count:]
        return count


class _HashingReader:
    """Hands bytes on and sums them up on the way, so that a file is read once."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def _read_entry(tar: tarfile.TarFile, member: tarfile.TarInfo) -> LayerEntry:
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        return _describe(member, "", "")
    digest = hashlib.sha256()
    head = b""
    while chunk := content.read(_CHUNK):
        head = head or chunk[:_HEADER]
        digest.update(chunk)
    executable = read_executable(io.BytesIO(head))
    return _describe(member, digest.hexdigest(), executable.architecture if executable else "")


def _describe(member: tarfile.TarInfo, sha256: str, architecture: str) -> LayerEntry:
    kinds = {
        tarfile.REGTYPE: "file",
        tarfile.AREGTYPE: "file",
        tarfile.DIRTYPE: "directory",
        tarfile.SYMTYPE: "symlink",
    }
    return LayerEntry(
        path=posixpath.normpath(f"/{member.name.lstrip('/')}"),
        kind=kinds.get(member.type, "link" if member.islnk() else "other"),
        mode=f"{member.mode & 0o7777:04o}",
        owner=f"{member.uid}:{member.gid}",
        mtime=int(member.mtime),
        size=member.size,
        sha256=sha256,
        architecture=architecture,
    )


def _directories(files: Sequence[LayerFile]) -> dict[str, int]:
    found: dict[str, int] = {}
    for file in files:
        for parent in PurePosixPath(file.path).parents:
            if parent != PurePosixPath("/"):
                found[str(parent)] = max(found.get(str(parent), 0), file.mtime)
    return dict(sorted(found.items()))


def _header(path: str, kind: bytes, mode: str, mtime: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path.lstrip("/"))
    header.type = kind
    header.mode = int(mode, 8)
    header.mtime = mtime
    return header
