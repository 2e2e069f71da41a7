"""Reads Debian packages: their control files, and the files they install. Runs nothing of them.

The format is deb(5): an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`.
"""

import io
import posixpath
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from builder.errors import ArtifactError
from builder.oci.tar_stream import DAMAGE, Compression, open_tar
from builder.runtime.regular_file import open_regular

_MAGIC = b"!<arch>\n"
_HEADER = 60
_SIZE = re.compile(rb"([0-9]{1,10}) *")
_LARGEST_CONTROL_FILE = 16 * 1024 * 1024
_COMPRESSIONS: dict[str, Compression] = {"xz": "xz", "zst": "zstd", "gz": "gzip", "": ""}


def read_control(package: Path) -> dict[str, tuple[bytes, int]]:
    """The control files by name (`control`, `md5sums`, `conffiles`, `postinst`, …): bytes, and mode bits.

    Raises ArtifactError where the file is no Debian package.
    """
    found = {}
    with open_member(package, "control") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isreg() else None
            if member.size > _LARGEST_CONTROL_FILE:
                raise ValueError(f"its {member.name} has {member.size} bytes")
            if content:
                found[posixpath.basename(member.name)] = (content.read(), member.mode)
    return found


@contextmanager
def open_member(package: Path, name: str) -> Iterator[tarfile.TarFile]:
    """The archive `control` or `data` of a package, to be read from front to back. Raises ArtifactError."""
    try:
        with open_regular(package) as file:
            compression, member = _find_member(file, f"{name}.tar")
            with open_tar(member, compression) as tar:
                yield tar
    except DAMAGE as error:
        raise ArtifactError(f"the package {package.name} cannot be read: {error}", hint="Delete it and run again.") from error


def _find_member(file: io.BufferedReader, stem: str) -> tuple[Compression, IO[bytes]]:
    """How it is compressed, and the member as a file."""
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is no ar archive")
    while header := file.read(_HEADER):
        name, found = header[:16].decode("ascii").strip().rstrip("/"), _SIZE.fullmatch(header[48:58])
        if not found:
            raise ValueError("it holds a damaged header")
        size = int(found[1])
        if name.startswith(stem):
            suffix = name.removeprefix(stem).lstrip(".")
            if suffix not in _COMPRESSIONS:
                raise ValueError(f"compressed as {suffix}, which is not supported")
            return _COMPRESSIONS[suffix], io.BufferedReader(_Member(file, size))
        # Each member starts at an even offset.
        file.seek(size + size % 2, io.SEEK_CUR)
    raise ValueError(f"it holds no {stem}")


class _Member(io.RawIOBase):
    """The next `size` bytes of a file."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._file.read(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)
