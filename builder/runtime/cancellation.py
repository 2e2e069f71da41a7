"""The switch that ends a run, set by Ctrl-C or a signal, and those that end a group of tasks within it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from builder.errors import Interrupted


class _Process:
    """What a run and all its groups have in common, as they are of one process: what it is not to be ended in."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.protected = 0
        self.was_protected = False
        self.counts_from = 0.0
        self.killers: list[Callable[[], None]] = []


class Cancellation:
    """Set once; whoever waits or loops asks `check`, whoever holds something to end registers it with `on_set`.

    What must not be cut off runs in `protected`, and has a bound of its own.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._endings: list[Callable[[], None]] = []
        self._process = _Process()

    def group(self) -> "TaskGroup":
        """A group of tasks within the run, with a switch of its own."""
        return TaskGroup(self, self._process)

    def on_set(self, end: Callable[[], None]) -> None:
        """Call `end` when the run is interrupted, from the interrupting thread; at once where it has been already."""
        with self._lock:
            self._endings.append(end)
            late = self._event.is_set()
        if late:
            end()

    def on_kill(self, kill: Callable[[], None]) -> None:
        """Call `kill` where the whole process is ended because it did not end by itself. It must neither wait nor fail."""
        self._process.killers.append(kill)

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
        if not self._process.protected:
            self.check()

    def on_set_or_late(self, end: Callable[[], None], seconds: float) -> None:
        """As `on_set`, but where the run is interrupted within `protected`, so much later."""

        def end_in_time() -> None:
            if not self._process.protected:
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
        process = self._process
        with process.changed:
            process.protected += 1
            process.was_protected = True
        try:
            yield
        finally:
            with process.changed:
                process.protected -= 1
                process.counts_from = time.monotonic()
                process.changed.notify_all()

    @property
    def was_protected(self) -> bool:
        """Whether anything has run in `protected`: after that, nobody can say that nothing has changed outside."""
        return self._process.was_protected

    def begin_countdown(self) -> None:
        """From now on counts what `wait_until_overdue` waits."""
        with self._process.changed:
            self._process.counts_from = time.monotonic()

    def wait_until_overdue(self, seconds: float) -> None:
        """Return when the run should have ended: so long after the countdown began, and after what was protected ended."""
        process = self._process
        with process.changed:
            while process.protected or (left := process.counts_from + seconds - time.monotonic()) > 0:
                process.changed.wait(None if process.protected else left)

    def kill(self) -> None:
        """End all that would outlive us, without waiting for any of it."""
        for kill in tuple(self._process.killers):
            kill()


class TaskGroup(Cancellation):
    """Tasks of a run that end together: when the run is interrupted, or when one of them fails.

    A group that fails interrupts neither the run nor its other groups. What waits for hosts on behalf of the group, such as
    a client of registries, is bound to the group and ends with it. `failure` is what failed first, None as long as nothing
    has, and where the run was interrupted before.
    """

    def __init__(self, run: Cancellation, process: _Process) -> None:
        super().__init__()
        self._process = process
        self.failure: BaseException | None = None
        run.on_set(self.set)

    def fail(self, failure: BaseException) -> None:
        """End the group because of this; what fails later does so because it was ended, and is not kept."""
        with self._lock:
            if not self._event.is_set() and self.failure is None:
                self.failure = failure
        self.set()
