"""Opens regular files alone: a device has no end, and a pipe that nobody writes to never answers."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_regular(path: Path) -> BufferedReader:
    """The file, to be read. Raises OSError, also for a directory, a device, a pipe or a socket."""
    try:
        # Looked at first, for opening some devices is an act of its own (a tape is rewound).
        _check(path, path.stat())
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except ValueError as error:
        raise OSError(errno.EINVAL, "the name holds what no file name can", str(path)) from error
    try:
        # And again, as it may have been replaced since.
        _check(path, os.fstat(descriptor))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, largest: int) -> bytes:
    """All of the file. Raises OSError as `open_regular` does, and for one of more than `largest` bytes."""
    with open_regular(path) as file:
        # One byte more, for the size that is told need not be true: files in /proc have none.
        content = file.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it is larger than {largest} bytes", str(path))
    return content


def _check(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a device, pipe or socket, not a regular file", str(path))
