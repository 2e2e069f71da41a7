"""Makes checks side by side. One that takes too long is ended and told; the others are not kept waiting."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from builder.doctor.finding import Checked, Finding, failed
from builder.doctor.probes import Probes
from builder.errors import BuilderError

_POLL_SECONDS = 0.02
_GRACE_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something to look at. `name` says what, `subject` which of several; `look` gives how it is, or raises BuilderError."""

    name: str
    subject: str
    look: Callable[[Probes], Finding]


class Bounded(Protocol):
    """Probes that can be ended from another thread."""

    def probes(self) -> AbstractContextManager[Probes]:
        """The probes, for one check."""
        ...

    def end(self) -> None:
        """End all that they wait for, at once."""
        ...


class _Running:
    """A check in a thread of its own."""

    def __init__(self, check: Check, bounded: Bounded) -> None:
        self.check = check
        self.bounded = bounded
        self.done = threading.Event()
        self._finding: Finding | None = None
        self._began = time.monotonic()
        self._seconds = 0.0
        # A daemon, as what hangs in a library is not waited for.
        threading.Thread(target=self._look, daemon=True).start()

    def _look(self) -> None:
        try:
            with self.bounded.probes() as probes:
                self._finding = self.check.look(probes)
        except BuilderError as error:
            self._finding = failed(error.message, "", error.hint)
        except OSError as error:
            self._finding = failed(f"{error.filename or self.check.name}: {error.strerror or error}", "", "")
        finally:
            self._seconds = time.monotonic() - self._began
            self.done.set()

    def result(self, limit: float) -> Checked:
        finding, seconds = (self._finding, self._seconds) if self.done.is_set() else (None, limit)
        overdue = failed(
            f"no answer within {limit:g} s",
            "a run waits longer (--timeout), but whoever was asked may not answer at all",
            "Is the network up, and is a firewall or proxy in between? --limit SECONDS waits longer.",
        )
        return Checked(name=self.check.name, subject=self.check.subject, finding=finding or overdue, seconds=seconds)


def examine(
    checks: Sequence[Check], begin: Callable[[], Bounded], limit: float, wait: Callable[[float], None]
) -> tuple[Checked, ...]:
    """Make all of these at once; gives what they found, in their order. None takes longer than `limit` seconds.

    `begin` makes the probes of one check; `wait(seconds)` sleeps, and raises Interrupted once the run is, which ends all.
    """
    began = time.monotonic()
    running = [_Running(check, begin()) for check in checks]
    try:
        while not all(one.done.is_set() for one in running) and time.monotonic() - began < limit:
            wait(_POLL_SECONDS)
        return tuple(one.result(limit) for one in running)
    finally:
        _end([one for one in running if not one.done.is_set()])


def _end(overdue: Sequence[_Running]) -> None:
    """End them, and let them put away what they have; what does not end is left behind."""
    for one in overdue:
        one.bounded.end()
    until = time.monotonic() + _GRACE_SECONDS
    for one in overdue:
        one.done.wait(max(0.0, until - time.monotonic()))
