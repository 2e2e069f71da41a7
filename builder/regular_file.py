"""Opens files that somebody else may have put there: ordinary ones only, as a FIFO or a device can wait or do things."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open an ordinary file for reading. Raises OSError, where it is none with a `strerror` that says so."""
    # Asked before it is opened, as opening alone makes some devices do things; and after, as it may be another by then.
    _check(path, os.stat(path))
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _check(path, os.fstat(handle))
    except OSError:
        os.close(handle)
        raise
    return open(handle, "rb")


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
