"""A file that is being fetched: it grows beside its destination, and moves there when it is whole."""

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from builder.errors import BuilderError
from builder.runtime.atomic_file import sum_file
from builder.runtime.disk_space import NO_ROOM, full_disk

_CHUNK_BYTES = 1024 * 1024
_POLL_SECONDS = 0.2
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-(?:[0-9]{1,19}/([0-9]{1,19}))?")


class PartialFile:
    """`NAME.part` beside NAME, hashed as it grows. What it holds already is part of the hash.

    Only one process, and one thread, has it open at a time. Writing raises DiskFull.
    """

    def __init__(self, destination: Path, descriptor: int) -> None:
        self._destination = destination
        self._descriptor = descriptor
        self._hash = hashlib.sha256()
        self.size = 0
        while chunk := os.read(descriptor, _CHUNK_BYTES):
            self._hash.update(chunk)
            self.size += len(chunk)

    @classmethod
    @contextmanager
    def open(cls, destination: Path, wait: Callable[[float], None]) -> Iterator[Self]:
        """Open it, waiting while another process has it; what is unfinished stays for the next time.

        `wait(seconds)` sleeps; it may raise Interrupted. Raises BuilderError where the directory cannot be written to.
        """
        path = _part_of(destination)
        try:
            destination.parent.mkdir(parents=True, exist_ok=True)
            descriptor = _open_locked(path, wait)
        except OSError as error:
            _raise_if_full(destination, error)
            raise BuilderError(f"cannot write {path}: {error.strerror}") from error
        try:
            partial = cls(destination, descriptor)
            yield partial
        finally:
            # An empty part is of no use to anybody; one that has been finished is not at this path any more.
            if not os.fstat(descriptor).st_size and _is_same_file(descriptor, path):
                path.unlink()
            os.close(descriptor)

    def append(self, chunk: bytes) -> None:
        """Add these bytes."""
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            _raise_if_full(self._destination, error)
            raise BuilderError(f"cannot write {_part_of(self._destination)}: {error.strerror}") from error
        self._hash.update(chunk)
        self.size += len(chunk)

    def clear(self) -> None:
        """Forget everything, and start again."""
        if self.size:
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        self._hash = hashlib.sha256()
        self.size = 0

    def range_headers(self) -> dict[str, str]:
        """What to ask a server for, so that it sends the rest of the file (RFC 9110 section 14.2)."""
        return {"Range": f"bytes={self.size}-"} if self.size else {}

    def total_size(self, headers: Mapping[str, str]) -> int | None:
        """Of a server that sends a part (206): the size of the whole, 0 where it does not say; None where it does not go on
        where we are (RFC 9110 section 14.4).
        """
        match = _CONTENT_RANGE.match(headers.get("Content-Range", ""))
        return int(match[2] or 0) if match and int(match[1]) == self.size else None

    def hexdigest(self) -> str:
        """The sha256 of what it holds."""
        return self._hash.hexdigest()

    def finish(self) -> None:
        """Put it at its destination, safe from a power cut."""
        try:
            os.fsync(self._descriptor)
            _part_of(self._destination).replace(self._destination)
        except OSError as error:
            _raise_if_full(self._destination, error)
            raise BuilderError(f"cannot write {self._destination}: {error.strerror}") from error


def file_sha256(path: Path) -> str:
    """The sha256 of a file, "" where there is none that can be read."""
    try:
        return sum_file(path)
    except OSError:
        return ""


def _part_of(destination: Path) -> Path:
    return destination.with_name(f"{destination.name}.part")


def _open_locked(path: Path, wait: Callable[[float], None]) -> int:
    """Open and lock the file. The lock is on the part itself, so that nothing else is left lying about."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, wait)
            # Whoever had it before us may have moved it to its destination, or removed it: then lock the next one.
            if _is_same_file(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int, wait: Callable[[float], None]) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            wait(_POLL_SECONDS)


def _is_same_file(descriptor: int, path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _raise_if_full(destination: Path, error: OSError) -> None:
    if error.errno in NO_ROOM:
        hint = "Free some space there, or put the cache elsewhere; what has been fetched so far is kept and resumed."
        raise full_disk(error, destination, hint) from error
