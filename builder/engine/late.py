"""An engine that is made when it is first needed."""

from collections.abc import Callable, Sequence
from functools import cached_property

from builder.ports import AssemblyTarget, Engine


class LateEngine:
    """Implements `ports.Engine` with what `make` makes: what a push finds at its hubs needs none, and most of them are long
    to import."""

    def __init__(self, make: Callable[[], Engine]) -> None:
        self._make = make

    def prepare(self) -> None:
        """See `ports.Engine.prepare`."""
        self._engine.prepare()

    def assemble(self, targets: Sequence[AssemblyTarget], on_progress: Callable[[str], None]) -> None:
        """See `ports.Engine.assemble`."""
        self._engine.assemble(targets, on_progress)

    @cached_property
    def _engine(self) -> Engine:
        return self._make()
