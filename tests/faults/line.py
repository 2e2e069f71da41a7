"""The line between a run and the hub, on which things go wrong as the script says."""

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from builder.errors import AccessDenied, Interrupted, RegistryError
from builder.oci.reference import RECORD_TAG, ImageReference
from builder.ports import Registry, UploadOutcome
from builder.runtime.cancellation import Cancellation
from tests.faults.script import Fault
from tests.faults.waiting import VirtualGroup
from tests.faults.world import Killed, Look, Request, World

_READS = ("get_manifest", "get_blob", "pull_blob", "has_blob", "find_blob", "has_manifest", "find_referrers", "list_tags")
_CONTENT = ("put_manifest", "push_blob")
# How long a request that moves a tag may go on after an interruption (builder/pipeline/clients.py).
_LAST_ANSWER_SECONDS = 1.2


@dataclass
class Course:
    """How a run has gone so far, as seen from outside."""

    name: str
    world: World
    faults: Sequence[Fault]
    calls: list[tuple[str, str]] = field(default_factory=list)
    looks: dict[ImageReference, list[Look]] = field(default_factory=dict)
    # When it first wrote a record, by the number of the call.
    asked_for_lease: int | None = None
    is_dead: bool = False
    injected: Counter[str] = field(default_factory=Counter)
    interrupted_at: float | None = None

    def __post_init__(self) -> None:
        self._faults = {fault.call: fault for fault in self.faults}
        self.cancellation = Cancellation()
        self.group = VirtualGroup(self.cancellation, self._sleep)
        self.registry = cast(Registry, Line(self, ends_with_run=True))
        self.rollback = cast(Registry, Line(self, ends_with_run=False))

    def _sleep(self, seconds: float) -> None:
        if self.is_dead:
            raise Killed
        if seconds:
            self.world.sleep(seconds)

    def next_fault(self, operation: str, key: str) -> Fault | None:
        """What goes wrong with the call that is made now."""
        if self.is_dead:
            raise Killed
        fault = self._faults.get(len(self.calls))
        self.calls.append((operation, key))
        if fault:
            self.injected[fault.kind] += 1
        return fault

    def die(self) -> None:
        """Be killed, here."""
        self.is_dead = True
        raise Killed

    def interrupt(self) -> None:
        """Ctrl-C."""
        if self.interrupted_at is None:
            self.interrupted_at = self.world.now
            self.cancellation.set()

    @property
    def is_cut_off(self) -> bool:
        """Whether an interruption ends requests now: at once, or in what is protected after a moment."""
        if self.interrupted_at is None:
            return False
        return not self.group.is_protected or self.world.now - self.interrupted_at > _LAST_ANSWER_SECONDS


class Line:
    """Implements `ports.Registry` for one run: each call goes to the hub and comes back, or does not."""

    def __init__(self, course: Course, *, ends_with_run: bool) -> None:
        self._course = course
        self._ends_with_run = ends_with_run

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        return lambda *arguments, **named: self._call(operation, arguments, named)

    def _call(self, operation: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:  # noqa: ANN401 - any method's
        course, world = self._course, self._course.world
        self._check_interrupted()
        fault = course.next_fault(operation, str(arguments[0]))
        request = Request(call=len(course.calls) - 1, sent=world.now, disturbed=fault is not None)
        if operation == "put_tag" and arguments[0].tag == RECORD_TAG and course.asked_for_lease is None:
            course.asked_for_lease = request.call

        def take_effect() -> Any:  # noqa: ANN401
            return self._take_effect(operation, arguments, named, request)

        if fault is None:
            world.travel()
            return self._answer(take_effect, request)
        if fault.kind == "interrupt":
            course.interrupt()
            self._check_interrupted()
        if fault.kind == "kill":
            course.die()
        world.travel()
        if fault.kind in ("late", "kill late"):
            world.at(world.now + fault.seconds, lambda: _unheard(take_effect))
            if fault.kind == "kill late":
                course.die()
            raise RegistryError("injected: no answer")
        if error := _refusal(fault.kind, operation):
            world.travel()
            raise error
        if fault.kind == "swallowed":
            world.travel()
            return UploadOutcome.UPLOADED if operation == "push_blob" else None
        return self._answer(take_effect, request, fault)

    def _answer(self, take_effect: Callable[[], Any], request: Request, fault: Fault | None = None) -> Any:  # noqa: ANN401
        """It takes effect, and the answer comes back, if it does."""
        course, world = self._course, self._course.world
        kind, seconds = (fault.kind, fault.seconds) if fault else ("", 0.0)
        if kind == "slow":
            world.sleep(seconds)
        result = take_effect()
        world.note_call(course.name, request.call)
        if kind == "kill after":
            course.die()
        if kind == "slow answer":
            world.sleep(seconds)
        world.travel()
        if kind == "lost":
            raise RegistryError("injected: the answer is lost")
        self._check_interrupted()
        return result

    def _check_interrupted(self) -> None:
        if self._ends_with_run and self._course.is_cut_off:
            raise Interrupted("interrupted")

    def _take_effect(self, operation: str, arguments: tuple[Any, ...], named: dict[str, Any], request: Request) -> Any:  # noqa: ANN401
        course, world = self._course, self._course.world
        method = getattr(world.hub, operation)
        reference = arguments[0]
        if operation in ("put_tag", "delete_tag"):
            looks = [look for look in course.looks.get(reference, ()) if look.call < request.call]
            return world.change_tag(
                reference, course.name, lambda: method(*arguments, **named), request, looks[-1] if looks else None
            )
        result = method(*arguments, **named)
        if operation == "get_manifest" and reference.digest is None and reference.tag != RECORD_TAG:
            found = result.digest if result else None
            course.looks.setdefault(reference, []).append(Look(order=world.tick(), at=world.now, call=request.call, found=found))
        return result


def _unheard(take_effect: Callable[[], object]) -> None:
    """Nobody hears what the registry says."""
    with contextlib.suppress(RegistryError):
        take_effect()


def _refusal(kind: str, operation: str) -> RegistryError | None:
    if kind == "denied":
        return AccessDenied("injected: denied", status=403)
    if kind == "busy":
        return RegistryError("injected: busy", status=429)
    if kind == "damaged" and operation in _READS:
        return RegistryError("injected: damaged", status=200, damaged=True)
    if kind in ("refused", "damaged") or (kind == "swallowed" and operation not in _CONTENT):
        return RegistryError("injected: refused", status=500)
    return None
