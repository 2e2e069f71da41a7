"""Plays a script: all its runs, what others do meanwhile, and the pushes that come after; the judge looks at all of it."""

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from builder.oci.reference import RECORD_TAG
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.run import publish_release
from builder.publish.guards import Permissions
from builder.publish.lease_times import LeaseTimes
from builder.publish.publication import Release
from builder.runtime.progress import Event, Message, Progress
from tests.faults.ground import AGAIN, FOREIGN, HUB, IMAGES, LAST, OLD_TAG, fast_directory, ground
from tests.faults.inline import in_line
from tests.faults.judge import Broken, Ended, Judge
from tests.faults.line import Course
from tests.faults.script import Act, Run, Script
from tests.faults.world import Killed, World

_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Played:
    """What came of a schedule."""

    endings: list[Ended] = field(default_factory=list)
    injected: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    # Seconds from a look at a tag to the request that took effect on it, where somebody else came in between.
    windows: list[float] = field(default_factory=list)


def play(script: Script) -> Played:
    """Play it. Raises Broken, which has the script, where something did not hold."""
    with _own_dice(script.seed), in_line():
        stage = _Stage(script)
        try:
            return stage.play()
        except Broken as broken:
            raise Broken(f"{broken}\n{stage.story()}\nthe script:\n{script.to_json()}") from broken
        finally:
            shutil.rmtree(stage.work, ignore_errors=True)


@contextmanager
def _own_dice(seed: int) -> Iterator[None]:
    """The pauses between looks at a lease are random, and are to be the same each time."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


class _Stage:
    def __init__(self, script: Script) -> None:
        self.work = _work()
        self._script = script
        hub = ground().hub([run.release for run in script.runs if run.sends], can_delete_tags=script.deletes)
        if not script.records:
            hub.refuses_records = 400
        if not script.checks:
            hub._check_references = lambda repository, manifest: None  # type: ignore[method-assign]
        self._world = World(hub, script.seed, script.spread)
        self._judge = Judge(script, self._world)
        self._world.watch = self._judge.watch
        self._played = Played()

    def play(self) -> Played:
        """Everything, in order."""
        for number, run in enumerate(self._script.runs):
            self._begin(f"run {number}", run)
        for act in self._script.acts:
            if act.run is None:
                self._world.at(act.at, partial(self._act, act))
            else:
                self._world.after_calls.setdefault((f"run {act.run}", act.call), []).append(partial(self._act, act))
        self._world.play()
        self._judge.look_at_the_end()
        self._come_after()
        self._played.endings = self._judge.endings
        self._played.windows = self._judge.windows
        return self._played

    def _come_after(self) -> None:
        """A machine that knows of nothing pushes something else; then all those that still have a journal; then the same."""
        # Where no record is taken, nobody else can know.
        stranger = -1 if self._script.records else self._script.runs[0].machine
        self._push_alone("the next", Run(release=LAST, tags=("1.31",), machine=stranger))
        self._judge.look_when_settled()
        for machine in sorted({run.machine for run in self._script.runs}):
            if list((self.work / f"{machine}" / "journal").glob("*.json")):
                self._push_alone(f"back on {machine}", Run(release=LAST, tags=(f"1.32-{machine}",), machine=machine))
        self._judge.look_when_settled()
        self._judge.look_for_leftovers(self.work)
        self._push_alone("again", Run(release=AGAIN, machine=stranger))
        self._judge.look_at_the_last(AGAIN, OLD_TAG)

    def _push_alone(self, name: str, run: Run) -> None:
        run = replace(run, start=self._world.now)
        self._begin(name, run)
        self._world.play()
        ended = self._judge.endings[-1]
        if ended.error:
            raise Broken(f"{name}, which nothing happened to, failed: {ended.error!r}")

    def _begin(self, name: str, run: Run) -> None:
        course = Course(name, self._world, run.faults)
        release = ground().release(run.release, run.tags, sends=run.sends)
        self._judge.expect(name, run, course, release)
        self._world.start(run.start, lambda: self._run(name, run, course, release))

    def _run(self, name: str, run: Run, course: Course, release: Release) -> None:
        began = self._world.now
        messages: list[str] = []

        def observe(event: Event) -> None:
            if isinstance(event, Message):
                messages.append(event.text)

        moved: int | None = None
        error: Exception | None = None
        try:
            report = publish_release(release, dict.fromkeys(IMAGES, "built"), self._context(run, course, observe), 0.0)
            moved = report.traffic.tags_moved if report.traffic else 0
        except Exception as failure:
            error = failure
        except Killed:
            pass
        self._played.injected += course.injected
        self._played.calls += len(course.calls)
        self._judge.end(Ended(name, run, course, began, self._world.now, moved, error, tuple(messages)))

    def _context(self, run: Run, course: Course, observe: "Progress | object") -> PublishContext:
        world = self._world
        times = LeaseTimes(monotonic=lambda: world.now, now=lambda: _START + timedelta(seconds=world.now + run.skew))
        return PublishContext(
            registry=course.registry,
            rollback_tags=course.rollback,
            journals=self.work / str(run.machine) / "journal",
            progress=Progress(observe),  # type: ignore[arg-type]
            cancellation=course.group,
            lease_times=times,
            permissions=Permissions(counted=run.tags if run.counted else ()),
        )

    def _act(self, act: Act) -> None:
        repository = HUB.repository(act.image)
        tags = self._world.hub.manifests[repository]
        if act.what == "sweep":
            tags.pop(RECORD_TAG, None)
            return
        reference = repository.at(act.tag)
        if act.what == "delete":
            self._world.change_tag(reference, "somebody", lambda: tags.pop(act.tag, None))
        else:
            index = ground().indexes[FOREIGN, act.image]
            self._world.change_tag(reference, "somebody", lambda: tags.update({act.tag: index}))

    def story(self) -> str:
        """What happened, for who has to find out why."""
        names = ground().names
        lines = [
            f"  {effect.at:9.3f} {effect.by}: {effect.tag} {names.get(effect.before, effect.before)}"  # type: ignore[arg-type]
            f" -> {names.get(effect.after, effect.after)}"  # type: ignore[arg-type]
            for effect in self._world.effects
        ]
        lines += [f"  {ended}" for ended in self._judge.endings]
        return "what happened to tags, and how runs ended:\n" + "\n".join(lines)


_WORK: list[Path] = []


def _work() -> Path:
    """The same directory for all schedules of this process."""
    if not _WORK:
        _WORK.append(fast_directory())
    return _WORK[0] / "machines"
