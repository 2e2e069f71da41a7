"""Locks between processes, waited for in a way that an interruption can end."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.2


@contextmanager
def locked(path: Path, pause: Callable[[float], None], on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of this file while the block runs; `on_wait` is told once that another process has it.

    `pause(seconds)` sleeps between two tries, and may raise Interrupted. Whoever had it may have removed the file, with the
    directory that it is in: both are there again when the block begins.
    """
    waited = False
    while True:
        handle = _open(path)
        try:
            while not _try_lock(handle):
                if not waited:
                    on_wait()
                    waited = True
                pause(_POLL_SECONDS)
            if _is_at(handle, path):
                yield
                return
        finally:
            os.close(handle)


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold the lock while the block runs where nobody has it; gives whether it is held. Where there is no file, nobody has it,
    and none is made. Raises OSError for one that cannot be opened.
    """
    try:
        # Reading is enough to lock, also a file of another user's.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        yield _try_lock(handle) and _is_at(handle, path)
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The directory may be removed in between.
        with contextlib.suppress(FileNotFoundError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(handle: int, path: Path) -> bool:
    """Whether it is still this file that the path leads to, and with it all who come later."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False
