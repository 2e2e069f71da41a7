"""A hub and machines in a time of their own: what happens in it is decided by a script alone.

Each run is a greenlet, which gives way to the others at every call to the registry and wherever it waits; all are of one
thread. So a schedule of minutes takes milliseconds, and is the same each time it is played.
"""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from greenlet import getcurrent, greenlet

from builder.oci.manifest import Manifest
from builder.oci.reference import RECORD_TAG, Digest, ImageReference
from tests.fakes.registry import FakeRegistry

# One way between a machine and the hub, in seconds.
LATENCY = 0.005


class Killed(BaseException):
    """The machine is gone: nothing of its process goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagEffect:
    """A tag has become another, or nothing: when, by whom, and with which request; `order` counts all that happens.

    `seen` is what its run had last read there, and when.
    """

    order: int
    at: float
    tag: ImageReference
    before: Digest | None
    after: Digest | None
    by: str
    request: "Request | None" = None
    seen: "Look | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What changes a tag: by the call of which number, sent when, and whether something went wrong with it."""

    call: int
    sent: float
    disturbed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A run has read a tag: what was there, when, and by the call of which number."""

    order: int
    at: float
    call: int
    found: Digest | None


@dataclass
class World:
    """The time, what is to happen when, and all that has happened to tags."""

    hub: FakeRegistry
    seed: int
    spread: float
    now: float = 0.0
    effects: list[TagEffect] = field(default_factory=list)
    # What somebody does just after a run's call has taken effect, by the run's name and the number of the call.
    after_calls: dict[tuple[str, int], list[Callable[[], object]]] = field(default_factory=dict)
    # Called at each effect, by who looks that what must hold holds.
    watch: Callable[[TagEffect], None] = lambda effect: None

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._count = itertools.count()
        self._main = getcurrent()

    def at(self, time: float, action: Callable[[], object]) -> None:
        """Have this happen then."""
        heapq.heappush(self._queue, (time, next(self._count), action))

    def start(self, time: float, body: Callable[[], None]) -> None:
        """Have a run begin then."""
        self.at(time, greenlet(body).switch)

    def sleep(self, seconds: float) -> None:
        """Let the others go on for so long."""
        self.at(self.now + max(0.0, seconds), getcurrent().switch)
        self._main.switch()

    def travel(self) -> None:
        """One way between a machine and the hub."""
        self.sleep(LATENCY + (self._dice.random() * self.spread if self.spread else 0.0))

    def play(self) -> None:
        """Until nothing is to happen any more."""
        while self._queue:
            time, _, action = heapq.heappop(self._queue)
            self.now = max(self.now, time)
            action()

    def note_call(self, run: str, call: int) -> None:
        """A call of a run has taken effect."""
        for action in self.after_calls.pop((run, call), ()):
            action()

    def change_tag(
        self,
        tag: ImageReference,
        by: str,
        change: Callable[[], object],
        request: Request | None = None,
        seen: Look | None = None,
    ) -> object:
        """Do something to a tag; whoever watches is told."""
        before = self.tag(tag)
        result = change()
        after = self.tag(tag)
        if tag.tag != RECORD_TAG:
            old, new = (one.digest if one else None for one in (before, after))
            effect = TagEffect(order=self.tick(), at=self.now, tag=tag, before=old, after=new, by=by, request=request, seen=seen)
            self.effects.append(effect)
            self.watch(effect)
        return result

    def tick(self) -> int:
        """The number of what happens now, as things may happen at the same time."""
        return next(self._count)

    def tag(self, tag: ImageReference) -> Manifest | None:
        """What it points at now."""
        return self.hub.manifests[tag.repository].get(tag.tag)
