"""Files that are whole or not there, whoever is cut off while writing them."""

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.runtime.disk_space import NO_ROOM
from builder.runtime.regular_file import open_regular

_PARTIAL = re.compile(r".+\.([0-9]+)-[0-9]+\.partial")
# A process of another container may share the directory, and its number says nothing here; but it writes.
_ABANDONED_SECONDS = 600.0
_swept: set[Path] = set()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, a different one for each thread; it takes its place when the block ends well.

    What runs that were killed have left in that directory is removed, once in the life of this process.
    """
    _sweep(path.parent)
    partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        # Of a write that finds no room, Python does not say where it was.
        if error.errno in NO_ROOM and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


def _sweep(directory: Path) -> None:
    if directory in _swept:
        return
    _swept.add(directory)
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            match = _PARTIAL.fullmatch(path.name)
            if match and not _is_alive(int(match[1])) and time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


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
