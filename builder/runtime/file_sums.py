"""Sums of files that one run asks for again and again."""

import os
import threading
from pathlib import Path

from builder.runtime.atomic_file import sum_file
from builder.runtime.regular_file import open_regular


class FileSums:
    """The sha256 of files of this run's own: each is read once for as long as it is the same file, of the same size and time.

    Wherever it is linked to, it is the same. To be used for what this run has written, and not for what was kept since another:
    that may have been damaged, or changed by somebody who sets times back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sums: dict[tuple[int, int, int, int], str] = {}

    def __call__(self, path: Path) -> str:
        """As `sum_file`, with the same errors."""
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
        key = _key(status)
        with self._lock:
            found = self._sums.get(key)
        if found is None:
            found = sum_file(path)
            with self._lock:
                self._sums[key] = found
        return found

    def know(self, path: Path, sha256: str) -> None:
        """Told by whoever wrote the file and summed the bytes on their way. Raises OSError where it is not there."""
        with self._lock:
            self._sums[_key(path.stat())] = sha256


def _key(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
