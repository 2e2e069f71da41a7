"""Tar archives from elsewhere, read from front to back within bounds, whatever their headers say.

tarfile alone takes a damaged header behind the first for the end of the archive, keeps every entry until then, and reads
an extended header of any size into memory.
"""

import io
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Literal, Protocol, Self

import zstandard
from isal import isal_zlib

# Layers of Istio's images have some thousands of entries, and the largest of others a tenth of this.
_MOST_ENTRIES = 500_000
LARGEST_CONTENT = 64 * 1024**3
# Of one file that is taken out of an archive and kept: an Envoy with all its symbols has a quarter of this.
LARGEST_FILE = 4 * 1024**3
# Of extended headers, which hold long names and attributes: one, all of them, those for all entries, and those for one.
_LARGEST_HEADER = 1024 * 1024
_LARGEST_EXTENDED = 256 * 1024 * 1024
_LARGEST_GLOBAL = 64 * 1024
_MOST_NESTED = 16
_LONGEST_DIGITS = 64
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENDED = (*_PAX, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_LENGTH = re.compile(rb"([0-9]{1,9}) ")
_DIGITS = re.compile(rb"[0-9]++")
_CHUNK = 1 << 20
_SPARSE = "it holds a sparse file, which images have none of"


Compression = Literal["", "gzip", "zstd", "xz"]

# How much is decompressed at a time: gzip may grow a thousand times, the others ten thousand.
_GZIP_STEP = 1 << 16
_SMALL_STEP = 1 << 12
# What xz needs for its largest dictionary in use (-9) is a quarter of this.
_XZ_MEMORY = 256 * 1024 * 1024

# All that reading a damaged archive may raise. The stub of isal calls the class an instance.
DAMAGE: tuple[type[Exception], ...] = (  # type: ignore[assignment]
    tarfile.TarError,
    isal_zlib.IsalError,
    zstandard.ZstdError,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
)


class _Frame(Protocol):
    """One gzip member, zstd frame or xz stream, as the libraries for all of them decompress it."""

    @property
    def eof(self) -> bool:
        """Whether it has come to its end."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What stands behind its end."""
        ...

    def decompress(self, data: bytes, /) -> bytes:
        """What these bytes are."""
        ...


class _FramesReader(io.RawIOBase):
    """Streams gzip members or zstd frames, one after the other; `step` bytes of what is compressed at a time.

    Not the readers of the libraries: zstandard's takes a blob that ends too early for a whole one, and gzip's sums each
    byte a second time, in twice the time. Raises EOFError for what ends too early, ReadError for what grows too large.
    """

    def __init__(self, file: IO[bytes], start_frame: Callable[[], _Frame], step: int) -> None:
        self._file = file
        self._start_frame = start_frame
        self._step = step
        self._frame: _Frame | None = None
        self._rest = b""
        self._data = memoryview(b"")
        self._size = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Some more of what was compressed."""
        while not self._data:
            compressed = self._rest[: self._step] or self._file.read(self._step)
            if not compressed:
                if self._frame:
                    raise EOFError("it ends in the middle")
                return 0
            self._frame = self._frame or self._start_frame()
            self._data, self._rest = memoryview(self._frame.decompress(compressed)), self._rest[self._step :]
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data + self._rest, None
            self._count(len(self._data))
        count = min(len(buffer), len(self._data))
        buffer[:count], self._data = self._data[:count], self._data[count:]
        return count

    def _count(self, size: int) -> None:
        self._size += size
        if self._size > LARGEST_CONTENT:
            raise tarfile.ReadError(f"it holds more than {LARGEST_CONTENT} bytes")


@contextmanager
def open_tar(file: IO[bytes], compression: Compression) -> Iterator[tarfile.TarFile]:
    """The archive, compressed so, to be read from front to back. Raises one of DAMAGE, also while it is read."""
    stream = decompressed(file, compression)
    with _BoundedTar(fileobj=_Forward(stream), mode="r", tarinfo=_BoundedEntry) as tar:  # type: ignore[arg-type]
        yield tar
        # To its very end: the sum of what was compressed comes behind the archive.
        while stream.read(_CHUNK):
            pass


def decompressed(file: IO[bytes], compression: Compression) -> IO[bytes]:
    """What a file holds that is compressed so, unpacked as it is read. Reading raises one of DAMAGE."""
    match compression:
        case "gzip":
            frames = _FramesReader(file, lambda: isal_zlib.decompressobj(wbits=31), _GZIP_STEP)
        case "zstd":
            frames = _FramesReader(file, lambda: zstandard.ZstdDecompressor().decompressobj(), _SMALL_STEP)
        case "xz":
            frames = _FramesReader(file, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY), _SMALL_STEP)
        case "":
            return file
    return io.BufferedReader(frames, _CHUNK)


class _Forward:
    """A stream with what tarfile asks of a file. It goes forward alone, but can be looked into."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._position = 0
        self._seen = b""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("one entry begins within another")
        while self._position < position and self.read(min(_CHUNK, position - self._position)):
            pass

    def read(self, size: int) -> bytes:
        data, self._seen = self._seen[:size], self._seen[size:]
        if len(data) < size:
            data += self._read(size - len(data))
        self._position += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """What `read` will give."""
        if len(self._seen) < size:
            self._seen += self._read(size - len(self._seen))
        return self._seen[:size]

    def _read(self, size: int) -> bytes:
        if size <= _CHUNK:
            return self._stream.read(size)
        # Never asked for at once: the size may be a lie, and would be set aside.
        parts = []
        while size and (part := self._stream.read(min(size, _CHUNK))):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class _BoundedTar(tarfile.TarFile):
    """Counts entries, and forgets each one when the next is read."""

    _entries = 0
    # Extended headers before the next entry, and the bytes of all of them.
    nested = 0
    extended = 0

    def next(self) -> tarfile.TarInfo | None:
        self.members.clear()  # type: ignore[attr-defined]  # in its documentation, not in its stub
        self.nested = 0
        entry = super().next()
        self._entries += entry is not None
        if self._entries > _MOST_ENTRIES:
            raise tarfile.ReadError(f"it has more than {_MOST_ENTRIES} entries")
        if self.offset > LARGEST_CONTENT:
            raise tarfile.ReadError(f"it holds more than {LARGEST_CONTENT} bytes")
        # These are for all entries that follow, and each of them gets a copy.
        if sum(map(len, self.pax_headers.values())) + len(self.pax_headers) > _LARGEST_GLOBAL:
            raise tarfile.ReadError("its global headers are too large")
        return entry


class _BoundedEntry(tarfile.TarInfo):
    """A header within bounds.

    What is wrong is a ReadError: TarFile takes InvalidHeaderError and its like, behind the first entry, for the end.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            entry = super().frombuf(buf, encoding, errors)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"it holds a damaged header: {error}") from error
        if entry.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError(_SPARSE)
        _check_size(entry)
        return entry

    @classmethod
    def fromtarfile(cls, tarfile_: tarfile.TarFile) -> Self:
        """The next entry, with the extended headers before it."""
        try:
            entry = super().fromtarfile(tarfile_)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            _check_end(tarfile_)
            raise
        if any(name.startswith("GNU.sparse.") for name in entry.pax_headers):
            raise tarfile.ReadError(_SPARSE)
        # An extended header may have said otherwise than the entry's own.
        _check_size(entry)
        return entry

    def _proc_member(self, tar: _BoundedTar) -> tarfile.TarInfo:
        """Where tarfile sees which kind of header this is."""
        if self.type in _EXTENDED:
            tar.nested += 1
            tar.extended += self.size
            if self.size > _LARGEST_HEADER or tar.nested > _MOST_NESTED or tar.extended > _LARGEST_EXTENDED:
                raise tarfile.ReadError(f"it holds too many extended headers, or too large ones: one has {self.size} bytes")
        if self.type in _PAX:
            assert isinstance(tar.fileobj, _Forward)
            _check_records(tar.fileobj.peek(self.size))
        return super()._proc_member(tar)  # type: ignore[misc, no-any-return]  # in its source as what to override


def _check_size(entry: tarfile.TarInfo) -> None:
    if entry.size < 0:
        raise tarfile.ReadError("it holds an entry of a negative size")


def _check_end(tar: tarfile.TarFile) -> None:
    """The end is two blocks of zeros, or one and nothing: so Go has it, and with it Docker and containerd."""
    assert tar.fileobj is not None
    if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError("it goes on behind a block of zeros")


def _check_records(content: bytes) -> None:
    """`LENGTH NAME=VALUE` and a line break, one behind the other: what tarfile looks for with expressions that, up to
    Python 3.11.9, take the square of the header's length for others.
    """
    position = 0
    while position < len(content) and content[position]:
        length = _LENGTH.match(content, position)
        end = position + int(length[1]) if length else 0
        record = content[length.end() : end] if length else b""
        if not record.endswith(b"\n") or b"=" not in record or end > len(content):
            raise tarfile.ReadError("it holds a damaged extended header")
        position = end
    if any(len(run[0]) > _LONGEST_DIGITS for run in _DIGITS.finditer(content)):
        raise tarfile.ReadError("it holds an absurd number in an extended header")
