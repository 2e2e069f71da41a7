"""One switch that ends a run: set by Ctrl-C, a signal, or the first task that fails."""

import threading
from collections.abc import Callable

from builder.errors import Interrupted


class Interruption:
    """Set once; whoever waits or loops asks `check`, whoever holds something to end registers it with `on_set`."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._endings: list[Callable[[], None]] = []

    def on_set(self, end: Callable[[], None]) -> None:
        """Call `end` when the run is interrupted, from the interrupting thread."""
        with self._lock:
            self._endings.append(end)

    def set(self) -> None:
        """Interrupt the run. Calling it again does nothing."""
        with self._lock:
            if self._event.is_set():
                return
            self._event.set()
            endings = tuple(self._endings)
        for end in endings:
            end()

    def is_set(self) -> bool:
        """Whether the run has been interrupted."""
        return self._event.is_set()

    def check(self) -> None:
        """Raises Interrupted once the run is."""
        if self._event.is_set():
            raise Interrupted("interrupted")

    def wait(self, seconds: float) -> None:
        """Sleep, but not past the interruption. Raises Interrupted."""
        self._event.wait(seconds)
        self.check()
