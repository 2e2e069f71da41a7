"""Docker where it answers, ourselves where it does not."""

import threading
from collections.abc import Callable, Sequence

from builder.errors import EngineError
from builder.ports import AssemblyTarget, Engine


class Either:
    """Implements `ports.Engine` with the first of two that can assemble; `tell` hears which, and why."""

    def __init__(self, first: Engine, second: Engine, tell: Callable[[str], None]) -> None:
        self._first = first
        self._second = second
        self._tell = tell
        self._lock = threading.Lock()
        self._chosen: Engine | None = None

    def prepare(self) -> None:
        """See `ports.Engine.prepare`. Choose, once a run."""
        self._choose().prepare()

    def assemble(self, targets: Sequence[AssemblyTarget], on_progress: Callable[[str], None]) -> None:
        """See `ports.Engine.assemble`."""
        self._choose().assemble(targets, on_progress)

    def _choose(self) -> Engine:
        with self._lock:
            if self._chosen is None:
                try:
                    self._first.prepare()
                    self._chosen = self._first
                    self._tell("Images are assembled by Docker's buildx, which answers.")
                except EngineError as error:
                    self._chosen = self._second
                    self._tell(f"Images are assembled without Docker: {error.message}.")
            return self._chosen
