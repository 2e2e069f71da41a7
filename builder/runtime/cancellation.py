"""One switch that ends a run: set by Ctrl-C, a signal, or the first task that fails."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from builder.errors import Interrupted


class Cancellation:
    """Set once; whoever waits or loops asks `check`, whoever holds something to end registers it with `on_set`.

    What must not be cut off runs in `protected`, and has a bound of its own.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._endings: list[Callable[[], None]] = []
        self._killers: list[Callable[[], None]] = []
        self._protection = threading.Condition()
        self._protected = 0
        self._was_protected = False
        self._counts_from = 0.0

    def on_set(self, end: Callable[[], None]) -> None:
        """Call `end` when the run is interrupted, from the interrupting thread; at once where it has been already."""
        with self._lock:
            self._endings.append(end)
            late = self._event.is_set()
        if late:
            end()

    def on_kill(self, kill: Callable[[], None]) -> None:
        """Call `kill` where the whole process is ended because it did not end by itself. It must neither wait nor fail."""
        self._killers.append(kill)

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

    def check_unprotected(self) -> None:
        """As `check`, but not within `protected`: there a request that is on its way is better answered than cut off."""
        if not self._protected:
            self.check()

    def on_set_or_late(self, end: Callable[[], None], seconds: float) -> None:
        """As `on_set`, but where the run is interrupted within `protected`, so much later."""

        def end_in_time() -> None:
            if not self._protected:
                end()
                return
            timer = threading.Timer(seconds, end)
            timer.daemon = True
            timer.start()

        self.on_set(end_in_time)

    def wait(self, seconds: float) -> None:
        """Sleep, but not past the interruption. Raises Interrupted."""
        self._event.wait(seconds)
        self.check()

    @contextmanager
    def protected(self) -> Iterator[None]:
        """What an interrupted process is not ended in, such as putting tags back. It must end by itself in time."""
        with self._protection:
            self._protected += 1
            self._was_protected = True
        try:
            yield
        finally:
            with self._protection:
                self._protected -= 1
                self._counts_from = time.monotonic()
                self._protection.notify_all()

    @property
    def was_protected(self) -> bool:
        """Whether anything has run in `protected`: after that, nobody can say that nothing has changed outside."""
        return self._was_protected

    def begin_countdown(self) -> None:
        """From now on counts what `wait_until_overdue` waits."""
        with self._protection:
            self._counts_from = time.monotonic()

    def wait_until_overdue(self, seconds: float) -> None:
        """Return when the run should have ended: so long after the countdown began, and after what was protected ended."""
        with self._protection:
            while self._protected or (left := self._counts_from + seconds - time.monotonic()) > 0:
                self._protection.wait(None if self._protected else left)

    def kill(self) -> None:
        """End all that would outlive us, without waiting for any of it."""
        for kill in tuple(self._killers):
            kill()
