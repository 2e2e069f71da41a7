"""When things of a cache were used last, and that nothing is removed between being found and being marked as used.

Their own times do not tell: access times are not kept everywhere (noatime), and a file that is linked to a layout shares its
times with it. So an empty file in `.used` beside them has the time. Whoever uses something marks it first, and looks whether
it is there afterwards; whoever removes it holds marks off, and looks at the mark once more.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAMPS = ".used"
_LOCK = ".lock"


def mark_used(path: Path) -> None:
    """It is used now. Nothing where there is no such thing, or where the cache cannot be written to: then nobody removes it."""
    with contextlib.suppress(OSError):
        if not path.exists():
            return
        stamp = _stamp_of(path)
        stamp.parent.mkdir(exist_ok=True)
        with _held(stamp.parent, fcntl.LOCK_SH):
            if path.exists():
                stamp.touch()


def last_used(path: Path) -> float:
    """When it was used last, in seconds since 1970; of what was never marked, when it was written. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        return max(_stamp_of(path).stat().st_mtime, path.stat().st_mtime)
    return path.stat().st_mtime


@contextmanager
def marks_held_off(path: Path) -> Iterator[None]:
    """Nobody marks it, or anything beside it, while the block runs. To be short."""
    stamps = _stamp_of(path).parent
    stamps.mkdir(exist_ok=True)
    with _held(stamps, fcntl.LOCK_EX):
        yield


def forget(path: Path) -> None:
    """Drop the mark of what is no longer there."""
    _stamp_of(path).unlink(missing_ok=True)


def _stamp_of(path: Path) -> Path:
    return path.parent / STAMPS / path.name


@contextmanager
def _held(directory: Path, how: int) -> Iterator[None]:
    handle = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)
