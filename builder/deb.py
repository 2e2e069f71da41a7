"""Reads Debian packages: their control files, and the files they install. Runs nothing of them.

The format is deb(5): an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`.
"""

import gzip
import io
import lzma
import posixpath
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import zstandard

from builder.errors import ArtifactError

_MAGIC = b"!<arch>\n"
_HEADER = 60
_FAILURES = (tarfile.TarError, lzma.LZMAError, zstandard.ZstdError, EOFError, OSError, ValueError)


def read_control(package: Path) -> dict[str, tuple[bytes, int]]:
    """The control files by name (`control`, `md5sums`, `conffiles`, `postinst`, …): bytes, and mode bits.

    Raises ArtifactError where the file is no Debian package.
    """
    found = {}
    with open_member(package, "control") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if content:
                found[posixpath.basename(member.name)] = (content.read(), member.mode)
    return found


@contextmanager
def open_member(package: Path, name: str) -> Iterator[tarfile.TarFile]:
    """The archive `control` or `data` of a package, to be read from front to back. Raises ArtifactError."""
    try:
        compression, content = _find_member(package, f"{name}.tar")
        with _decompress(content, compression) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            yield tar
    except _FAILURES as error:
        raise ArtifactError(f"the package {package.name} cannot be read: {error}", hint="Delete it and run again.") from error


def _find_member(package: Path, stem: str) -> tuple[str, bytes]:
    with package.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise ValueError("it is no ar archive")
        while header := file.read(_HEADER):
            name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
            if name.startswith(stem):
                return name.removeprefix(stem).lstrip("."), file.read(size)
            # Each member starts at an even offset.
            file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError(f"it holds no {stem}")


def _decompress(content: bytes, compression: str) -> IO[bytes] | gzip.GzipFile:
    file = io.BytesIO(content)
    match compression:
        case "xz":
            return lzma.open(file)
        case "zst":
            return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True))
        case "gz":
            return gzip.open(file)
        case "":
            return file
    raise ValueError(f"compressed as {compression}, which is not supported")
