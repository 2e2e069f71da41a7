"""Files that are whole or not there, whoever is cut off while writing them."""

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.runtime.regular_file import open_regular

# What writing fails with on a full disk, with a full quota, and at a limit on the size of files (ulimit -f).
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, a different one for each thread; it takes its place when the block ends well."""
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def sum_file(path: Path) -> str:
    """The sha256 of a file, 64 hex digits. Raises OSError where it cannot be read, or is no regular file."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def has_sha256(path: Path, sha256: str) -> bool:
    """Whether the file is there and has this sum.

    For what is cached and linked to places where others may write: what they change there is changed in the cache, too.
    """
    try:
        return sum_file(path) == sha256
    except OSError:
        return False
