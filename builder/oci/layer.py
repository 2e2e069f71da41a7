"""Layers as tar archives: written with everything set (order, times, owners, modes), and read back from an image."""

import hashlib
import io
import math
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from builder.errors import CheckError
from builder.oci.elf import read_executable
from builder.oci.overlay import entry_path
from builder.oci.tar_stream import DAMAGE, Compression, decompressed, open_tar
from builder.runtime.disk_space import NO_ROOM
from builder.runtime.regular_file import open_regular

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Enough of a file for its ELF header and, behind it, pyelftools' first look at the tables.
_HEADER = 64
_CHUNK = 1 << 20


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLayer:
    """An archive that was written: its own sha256, and what is in it."""

    sha256: str
    entries: tuple[LayerEntry, ...]


def write_layer(files: Sequence[LayerFile], archive: Path, on_bytes: Callable[[bytes], object] = lambda _: None) -> WrittenLayer:
    """Write the archive, with the directories above each file (0755), all owned by 0:0.

    Each file is read once: what is written is summed on its way, and given to `on_bytes` piece by piece. The entries are read
    back from the archive's headers, with the sums of what was written behind them.

    The archive itself keeps the time of its writing: BuildKit takes a context file of the same size and time for
    unchanged, whatever is in it.
    """
    contents = []
    with archive.open("wb") as file:
        watched = _WatchedFile(file, on_bytes)
        # USTAR: no extended headers, which hold fractional times where the format is PAX.
        with tarfile.open(fileobj=watched, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            tar.copybufsize = _CHUNK  # type: ignore[attr-defined]  # in its documentation, not in its stub
            for directory, mtime in _directories(files).items():
                tar.addfile(_header(directory, tarfile.DIRTYPE, "0755", mtime))
            contents = [_add_file(tar, file) for file in sorted(files, key=lambda file: file.path)]
    return WrittenLayer(sha256=watched.hexdigest(), entries=tuple(_read_back(archive, contents)))


def _add_file(tar: tarfile.TarFile, file: LayerFile) -> tuple[str, str]:
    """Gives the sha256 of what was added, and its architecture."""
    header = _header(file.path, tarfile.REGTYPE, file.mode, file.mtime)
    header.size = file.content.stat().st_size
    with file.content.open("rb") as content:
        executable = read_executable(content)
        content.seek(0)
        hashing = _HashingReader(content)
        tar.addfile(header, hashing)
    return hashing.hexdigest(), executable.architecture if executable else ""


def _read_back(archive: Path, contents: Sequence[tuple[str, str]]) -> Iterator[LayerEntry]:
    left = iter(contents)
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            sha256, architecture = next(left) if member.isreg() else ("", "")
            yield _describe(member, sha256, architecture)


def read_layer(blob: Path, media_type: str) -> tuple[LayerEntry, ...]:
    """What a layer blob of an image holds, in its order. Raises CheckError where it is damaged."""
    with open_layer(blob, media_type) as tar:
        return tuple(read_entry(tar, member) for member in tar)


@contextmanager
def open_layer(blob: Path, media_type: str) -> Iterator[tarfile.TarFile]:
    """A layer blob of an image, to be read from front to back. Raises CheckError where it is damaged."""
    try:
        with open_regular(blob) as file, open_tar(file, _compression(media_type)) as tar:
            yield tar
    except DAMAGE as error:
        if _is_full(error):
            raise
        raise CheckError(f"layer {blob.name[:12]} is damaged: {error}") from error


@contextmanager
def open_uncompressed(blob: Path, media_type: str) -> Iterator[IO[bytes]]:
    """The bytes of a layer blob, unpacked as they are read. Raises CheckError where it is damaged."""
    try:
        with open_regular(blob) as file:
            yield decompressed(file, _compression(media_type))
    except DAMAGE as error:
        if _is_full(error):
            raise
        raise CheckError(f"layer {blob.name[:12]} is damaged: {error}") from error


def _is_full(error: Exception) -> bool:
    """Whether what failed is not the layer, but the disk to which its content is written meanwhile."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


def _compression(media_type: str) -> Compression:
    return "zstd" if media_type.endswith("+zstd") else "gzip" if media_type.endswith("gzip") else ""


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


class _WatchedFile(io.BufferedIOBase):
    """Writes to a file, sums up what is written, and lets somebody else see it."""

    def __init__(self, file: IO[bytes], on_bytes: Callable[[bytes], object]) -> None:
        self._file = file
        self._on_bytes = on_bytes
        self._digest = hashlib.sha256()

    def write(self, data: "ReadableBuffer", /) -> int:
        piece = bytes(data)
        self._digest.update(piece)
        self._on_bytes(piece)
        return self._file.write(piece)

    def tell(self) -> int:
        return self._file.tell()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def read_entry(tar: tarfile.TarFile, member: tarfile.TarInfo, on_chunk: Callable[[bytes], None] = lambda _: None) -> LayerEntry:
    """What this entry of an open layer is. `on_chunk` is given a file's content, piece by piece, as it is read."""
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        return _describe(member, "", "")
    digest = hashlib.sha256()
    head = b""
    while chunk := content.read(_CHUNK):
        head = head or chunk[:_HEADER]
        digest.update(chunk)
        on_chunk(chunk)
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
        path=entry_path(member.name),
        kind=kinds.get(member.type, "link" if member.islnk() else "other"),
        mode=f"{member.mode & 0o7777:04o}",
        owner=f"{member.uid}:{member.gid}",
        mtime=_seconds(member.mtime),
        size=member.size,
        sha256=sha256,
        architecture=architecture,
    )


def _seconds(time: float) -> int:
    """Whole seconds. An extended header may say that a file is of no time, or of one without end."""
    return int(time) if math.isfinite(time) else 0


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
