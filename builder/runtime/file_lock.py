"""Locks between processes, waited for in a way that an interruption can end."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_POLL_SECONDS = 0.2


@contextmanager
def locked(path: Path, pause: Callable[[float], None], on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of this file while the block runs; `on_wait` is told once that another process has it.

    `pause(seconds)` sleeps between two tries, and may raise Interrupted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _try_lock(handle):
            on_wait()
            while not _try_lock(handle):
                pause(_POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
