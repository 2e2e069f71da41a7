"""The three streams that every process has, or should have."""

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _ForgivingFile(io.FileIO):
    """A file that takes all that is written to it, though it may keep nothing: its disk is full, or its terminal gone."""

    def write(self, data: "ReadableBuffer") -> int:
        """See `io.RawIOBase.write`."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """Have all three streams, and what is told on stderr never be what fails.

    Where one is closed, as by `2>&-`, the next file that is opened would take its place, and be written to by all that warns.
    What is told of a run is less than the run: a thread that uploads, or puts tags back, is not to end because of it.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    encoding = sys.stderr.encoding if sys.stderr else "utf-8"
    # What stands in a path need be no text, and a terminal may have few characters: a message comes out all the same.
    forgiving = io.BufferedWriter(_ForgivingFile(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(forgiving, encoding=encoding, errors="backslashreplace", line_buffering=True)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
