"""Tasks whose waiting takes no time, or only that of a schedule."""

from collections.abc import Callable

from builder.runtime.cancellation import Cancellation, TaskGroup


class VirtualGroup(TaskGroup):
    """A group of tasks, and groups within it, that wait with `sleep(seconds)`."""

    def __init__(self, run: Cancellation, sleep: Callable[[float], None]) -> None:
        super().__init__(run, run._process)
        self._sleep = sleep

    def group(self) -> "VirtualGroup":
        """See `Cancellation.group`."""
        return VirtualGroup(self, self._sleep)

    def wait(self, seconds: float) -> None:
        """See `Cancellation.wait`."""
        self._sleep(seconds)
        self.check()

    @property
    def is_protected(self) -> bool:
        """Whether something goes on that must not be cut off."""
        return self._process.protected > 0
