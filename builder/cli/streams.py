"""The three streams that every process has, or should have, and how wide what they go to is."""

import io
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from builder.cli.screen import ENDLESS, Screen

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_COLUMNS = re.compile(r"0*[1-9][0-9]{0,4}")
# To the beginning of the line, and nothing on it.
_CLEAR = b"\r\x1b[K"
# Of a terminal that does not know how wide it is.
_USUAL_WIDTH = 80


class _ForgivingFile(io.FileIO):
    """A file that takes all that is written to it, though it may keep nothing: its disk is full, or its terminal gone.

    `to_clear`: what a terminal shows of it just now is for the time until something else is written.
    """

    to_clear = False

    def write(self, data: "ReadableBuffer") -> int:
        """See `io.RawIOBase.write`."""
        if self.to_clear:
            self.to_clear = False
            self.write(_CLEAR)
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


def show_for_now(text: str) -> None:
    """Show a line on the terminal of stderr that goes with the next thing that is told there; "" has it go at once."""
    file = getattr(getattr(sys.stderr, "buffer", None), "raw", None)
    if isinstance(file, _ForgivingFile) and (text or file.to_clear):
        file.write(text.encode())
        file.to_clear = bool(text)


def find_screen(stream: TextIO, environment: Mapping[str, str]) -> Screen:
    """What this stream is shown on. COLUMNS says how wide it is, else the terminal does; all else has lines without end."""
    told = environment.get("COLUMNS", "")
    if _COLUMNS.fullmatch(told):
        return Screen(int(told))
    try:
        return Screen(os.get_terminal_size(stream.fileno()).columns or _USUAL_WIDTH) if stream.isatty() else ENDLESS
    except (OSError, ValueError):
        # It has been closed, or is no file.
        return ENDLESS


def printed_on() -> Screen:
    """Where stdout goes."""
    return find_screen(sys.stdout, os.environ)
