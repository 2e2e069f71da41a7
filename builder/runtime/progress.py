"""What a run tells of itself while it goes on: events, and the small tools with which stages emit them."""

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted:
    """Something that takes a while has begun. `subject` names what it is done to, such as `pilot linux/arm64`."""

    task: int
    stage: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAdvanced:
    """It goes on: `done` of `total` bytes (total 0 where unknown), or what it is doing just now."""

    task: int
    stage: str
    subject: str
    done: int = 0
    total: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished:
    """It has ended after so many seconds; `outcome` says how, `failed` whether it failed."""

    task: int
    stage: str
    subject: str
    seconds: float
    outcome: str
    failed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One thing to know: a note, or a warning. `retry`: that something has failed and is tried again."""

    level: Literal["note", "warning"]
    text: str
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseTold:
    """Why these images are to be made, by their keys; `kind`, `before` and `after` are for programs."""

    kind: str
    text: str
    images: tuple[str, ...]
    before: str = ""
    after: str = ""

    @property
    def line(self) -> str:
        """All of it, for people."""
        return f"why: {self.text}: {', '.join(self.images)}"


Event = TaskStarted | TaskAdvanced | TaskFinished | Message | CauseTold


class Observer(Protocol):
    """Shows events. Called from many threads."""

    def __call__(self, event: Event) -> None:
        """Take one event."""
        ...


class Task:
    """A running task; stages tell it how far they are."""

    def __init__(self, identity: int, stage: str, subject: str, observer: Observer) -> None:
        self._identity = identity
        self._stage = stage
        self._subject = subject
        self._observer = observer
        self._lock = threading.Lock()
        self._done = 0
        self.outcome = ""

    def advance(self, count: int, total: int = 0) -> None:
        """So many bytes more (fewer, where a try has to be made again)."""
        with self._lock:
            self._done += count
            done = self._done
        self._emit(done, total, "")

    def reach(self, done: int, total: int) -> None:
        """So many bytes in all."""
        self._emit(done, total, "")

    def detail(self, text: str) -> None:
        """What is being done just now."""
        self._emit(self._done, 0, text)

    def _emit(self, done: int, total: int, detail: str) -> None:
        self._observer(
            TaskAdvanced(task=self._identity, stage=self._stage, subject=self._subject, done=done, total=total, detail=detail)
        )


class Progress:
    """Emits the events of a run to an observer, and keeps how long each stage was at work.

    What is told it tells once, however many images, hubs and releases it is true of; but for what is tried again each time.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._identities = itertools.count(1)
        self._lock = threading.Lock()
        self._spans: dict[str, list[tuple[float, float]]] = {}
        self._told: set[Message] = set()

    @contextmanager
    def task(self, stage: str, subject: str) -> Iterator[Task]:
        """A task from here to the end of the block; an exception marks it as failed."""
        identity = next(self._identities)
        task = Task(identity, stage, subject, self._observer)
        started = time.monotonic()
        self._observer(TaskStarted(task=identity, stage=stage, subject=subject))
        failed = True
        try:
            yield task
            failed = False
        finally:
            ended = time.monotonic()
            self._add_span(stage, started, ended)
            self._observer(
                TaskFinished(
                    task=identity,
                    stage=stage,
                    subject=subject,
                    seconds=ended - started,
                    outcome=task.outcome,
                    failed=failed,
                )
            )

    def note(self, text: str) -> None:
        """Tell something worth knowing."""
        self._tell_once(Message(level="note", text=text))

    def note_retry(self, text: str) -> None:
        """Tell that something has failed and is tried again."""
        self._observer(Message(level="note", text=text, retry=True))

    def warn(self, text: str) -> None:
        """Tell something the user should look at."""
        self._tell_once(Message(level="warning", text=text))

    def tell_cause(self, *, kind: str, text: str, images: tuple[str, ...], before: str, after: str) -> None:
        """Tell why these images are to be made."""
        self._observer(CauseTold(kind=kind, text=text, images=images, before=before, after=after))

    def stage_seconds(self) -> tuple[tuple[str, float], ...]:
        """Per stage, in order of their start: the seconds during which at least one of its tasks was at work.

        Stages overlap, so the figures may add up to more than the run took.
        """
        with self._lock:
            spans = {stage: sorted(found) for stage, found in self._spans.items()}
        return tuple((stage, covered(found)) for stage, found in sorted(spans.items(), key=lambda item: item[1]))

    def begin_anew(self) -> None:
        """Forget how long stages were at work: what comes next is another release of the same run."""
        with self._lock:
            self._spans.clear()

    def _tell_once(self, message: Message) -> None:
        with self._lock:
            if message in self._told:
                return
            self._told.add(message)
        self._observer(message)

    def _add_span(self, stage: str, started: float, ended: float) -> None:
        with self._lock:
            self._spans.setdefault(stage, []).append((started, ended))


def covered(spans: list[tuple[float, float]]) -> float:
    """The length of the union of these spans (start and end of each, in seconds), which are in order of their start."""
    total, reached = 0.0, float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
