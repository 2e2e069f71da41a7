"""Compresses layers so that the same content gives the same bytes, on every machine and whatever built it.

gzip comes from libdeflate, whose output depends on its version and level alone. It is the reason for this library: zlib
differs from one system to the next (zlib-ng), isal from one CPU to the next (by whether it has AVX-512, measured), and
BuildKit's from one of its versions to the next; and it takes a third of zlib's time. zstd's own library does the same for zstd.
"""

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import deflate
import zstandard

from builder.images.members import KnownMembers, Member
from builder.oci.layer_format import layer_media_type
from builder.oci.reference import Digest

# What is changed here has to be changed in builder.oci.layer_format, too.
# A fifth faster than level 6, and one in a hundred larger (measured on pilot-discovery 1.29).
_GZIP_LEVEL = 5
_ZSTD_LEVEL = 3
# A gzip file may have any number of members (RFC 1952, section 2.2). Each is compressed by itself, on any core.
_MEMBER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedLayer:
    """A layer's blob: its media type, digest and size in bytes, the digest of what it unpacks to, and the members of a gzip."""

    media_type: str
    digest: Digest
    size: int
    diff_id: Digest
    members: tuple[Member, ...] = ()


class _Codec(Protocol):
    """Takes a layer in pieces of the size of a member, but for the last, and gives what is ready."""

    members: list[Member]

    def add(self, chunk: bytes) -> Iterator[bytes]: ...

    def finish(self) -> Iterator[bytes]: ...


class LayerCompressor:
    """Takes an uncompressed layer in pieces of any size, and leaves its blob in a directory, named by its sha256."""

    def __init__(self, compression: str, codec: _Codec, blobs: Path) -> None:
        self._compression = compression
        self._codec = codec
        self._blobs = blobs
        self._pieces: list[memoryview] = []
        self._gathered = 0
        self._digest, self._size = hashlib.sha256(), 0
        self._is_empty = True
        descriptor, name = tempfile.mkstemp(dir=blobs, suffix=".partial")
        self._file, self._partial = os.fdopen(descriptor, "wb"), Path(name)

    def write(self, data: bytes) -> None:
        """The next bytes of the layer. Raises OSError where the blob cannot be written."""
        left = memoryview(data)
        while self._gathered + len(left) >= _MEMBER_BYTES:
            missing = _MEMBER_BYTES - self._gathered
            self._gather(left[:missing])
            self._compress()
            left = left[missing:]
        if left:
            self._gather(left)

    def finish(self, diff_id: Digest) -> CompressedLayer:
        """There is no more; `diff_id` is the digest of all that was written."""
        if self._pieces or self._is_empty:
            self._compress()
        self._write(self._codec.finish())
        self._file.close()
        digest = Digest(f"sha256:{self._digest.hexdigest()}")
        self._partial.chmod(0o644)
        self._partial.replace(self._blobs / digest.hex)
        return CompressedLayer(
            media_type=layer_media_type(self._compression),
            digest=digest,
            size=self._size,
            diff_id=diff_id,
            members=tuple(self._codec.members),
        )

    def discard(self) -> None:
        """Leave nothing of what was not finished."""
        try:
            self._file.close()
        finally:
            self._partial.unlink(missing_ok=True)

    def _gather(self, piece: memoryview) -> None:
        self._pieces.append(piece)
        self._gathered += len(piece)

    def _compress(self) -> None:
        chunk = b"".join(self._pieces)
        self._pieces, self._gathered, self._is_empty = [], 0, False
        self._write(self._codec.add(chunk))

    def _write(self, ready: Iterator[bytes]) -> None:
        for packed in ready:
            self._digest.update(packed)
            self._size += len(packed)
            self._file.write(packed)


@contextmanager
def compressing(compression: str, blobs: Path, known: KnownMembers | None = None) -> Iterator[LayerCompressor]:
    """A compressor that leaves a blob in this directory, if it is finished. What is among the `known` is taken from there."""
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        codec: _Codec = _Zstd() if compression == "zstd" else _Gzip(pool, known or KnownMembers())
        compressor = LayerCompressor(compression, codec, blobs)
        try:
            yield compressor
        finally:
            compressor.discard()


def compress_layer(archive: IO[bytes], compression: str, blobs: Path, known: KnownMembers | None = None) -> CompressedLayer:
    """Read an uncompressed layer to its end, and leave its blob in the directory `blobs`, named by its sha256.

    Raises OSError where that cannot be written.
    """
    plain = hashlib.sha256()
    with compressing(compression, blobs, known) as compressor:
        while chunk := archive.read(_MEMBER_BYTES):
            plain.update(chunk)
            compressor.write(chunk)
        return compressor.finish(Digest(f"sha256:{plain.hexdigest()}"))


class _Gzip:
    """One member a chunk, in order; no more than one a core and one besides at a time, so that memory stays flat."""

    def __init__(self, pool: ThreadPoolExecutor, known: KnownMembers) -> None:
        self.members: list[Member] = []
        self._pool = pool
        self._known = known
        self._ahead = (os.cpu_count() or 1) + 1
        self._pending: deque[Future[tuple[Member, bytes]]] = deque()

    def add(self, chunk: bytes) -> Iterator[bytes]:
        self._pending.append(self._pool.submit(self._make_member, chunk))
        if len(self._pending) >= self._ahead:
            yield self._next()

    def finish(self) -> Iterator[bytes]:
        while self._pending:
            yield self._next()

    def _next(self) -> bytes:
        member, packed = self._pending.popleft().result()
        self.members.append(member)
        return packed

    def _make_member(self, chunk: bytes) -> tuple[Member, bytes]:
        sha256 = hashlib.sha256(chunk).hexdigest()
        found = self._known.find(sha256)
        if found:
            return found
        packed = bytes(deflate.gzip_compress(chunk, _GZIP_LEVEL))
        return Member(sha256, len(packed), hashlib.sha256(packed).hexdigest()), packed


class _Zstd:
    """One frame for all of it."""

    def __init__(self) -> None:
        self.members: list[Member] = []
        self._frame = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()

    def add(self, chunk: bytes) -> Iterator[bytes]:
        yield self._frame.compress(chunk)

    def finish(self) -> Iterator[bytes]:
        yield self._frame.flush()
