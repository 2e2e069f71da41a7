"""Schedules as hypothesis makes them up: what it finds to be wrong, it makes as small as it can."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.faults.ground import IMAGES, NEW_TAG, OLD_TAG, RELEASES
from tests.faults.play import Played, play
from tests.faults.script import KINDS, TIMED, Act, Fault, Run, Script

# A push that waits for nobody makes 40 to 75 calls; those for records and tags are most often among these.
_CALLS = 75
_OF_TAGS = (16, 48)
_SECONDS = (0.3, 1.5, 4.0, 30.0, 90.0)
_STARTS = (0.0, 0.0, 0.0, 0.05, 0.2, 0.6, 1.0, 1.2, 1.5, 2.5, 4.0, 40.0, 100.0)
# Clocks that are less than ten minutes apart cost nobody a lease.
_SKEWS = (0.0, 0.0, -280.0, 280.0)
_TAGS = ((OLD_TAG,), (OLD_TAG, NEW_TAG), (NEW_TAG,))


_calls = st.one_of(st.integers(*_OF_TAGS), st.integers(*_OF_TAGS), st.integers(0, _CALLS))


@st.composite
def _faults(draw: st.DrawFn) -> Fault:
    kind = draw(st.sampled_from(tuple(KINDS)))
    seconds = draw(st.sampled_from(_SECONDS)) if kind in TIMED else 0.0
    return Fault(call=draw(_calls), kind=kind, seconds=seconds)


@st.composite
def _runs(draw: st.DrawFn) -> Run:
    return Run(
        release=draw(st.sampled_from(RELEASES)),
        tags=draw(st.sampled_from(_TAGS)),
        machine=draw(st.integers(0, 2)),
        start=draw(st.sampled_from(_STARTS)),
        skew=draw(st.sampled_from(_SKEWS)),
        sends=draw(st.sampled_from((False, False, True))),
        faults=tuple(draw(st.lists(_faults(), max_size=3, unique_by=lambda fault: fault.call))),
    )


@st.composite
def _acts(draw: st.DrawFn, runs: Sequence[Run]) -> Act:
    """At some time, after some call, or a few calls before something goes wrong with a run."""
    what = draw(st.sampled_from(("move", "move", "move", "delete", "sweep")))
    image, tag = draw(st.sampled_from(IMAGES)), draw(st.sampled_from((OLD_TAG, OLD_TAG, NEW_TAG)))
    soon = [(number, fault.call) for number, run in enumerate(runs) for fault in run.faults]
    when = draw(st.sampled_from(("time", "call", "fault", "fault") if soon else ("time", "call")))
    if when == "time":
        return Act(what=what, image=image, tag=tag, at=round(draw(st.floats(0.0, 6.0)), 3))
    if when == "call":
        return Act(what=what, image=image, tag=tag, run=draw(st.integers(0, 1)), call=draw(_calls))
    number, call = draw(st.sampled_from(soon))
    return Act(what=what, image=image, tag=tag, run=number, call=max(0, call - draw(st.integers(0, 5))))


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Any schedule of which something is promised."""
    # Where no record is taken, nothing keeps machines apart, so all is of one.
    records = draw(st.sampled_from((True, True, True, True, False)))
    runs = draw(st.lists(_runs(), min_size=1, max_size=3))
    if not records:
        runs = [replace(run, machine=0) for run in runs]
    return Script(
        runs=tuple(runs),
        acts=tuple(draw(st.lists(_acts(runs), max_size=2))),
        seed=draw(st.integers(0, 999)),
        spread=draw(st.sampled_from((0.0, 0.02, 0.2))),
        deletes=draw(st.sampled_from((True, True, True, False))),
        checks=draw(st.booleans()),
        records=records,
    )


@st.composite
def races(draw: st.DrawFn) -> Script:
    """Two pushes to the same tags that start together on two machines, of which one or both are killed while tags move."""
    runs = [
        Run(
            release=release,
            tags=(OLD_TAG, NEW_TAG),
            machine=machine,
            start=draw(st.sampled_from((0.0, 0.01, 0.03))),
            faults=tuple(Fault(call=call, kind="kill") for call in draw(st.lists(st.integers(26, 46), max_size=1))),
        )
        for machine, release in enumerate(RELEASES[:2])
    ]
    return Script(runs=tuple(runs), seed=draw(st.integers(0, 999)), spread=draw(st.sampled_from((0.0, 0.02, 0.05))))


@st.composite
def numbers(draw: st.DrawFn) -> Script:
    """Pushes from several machines, of different content, that have chosen the same number."""
    runs = draw(st.lists(_runs(), min_size=2, max_size=3))
    return replace(
        draw(scripts()),
        runs=tuple(replace(run, tags=(NEW_TAG,), machine=number, counted=True) for number, run in enumerate(runs)),
        acts=(),
        records=True,
    )


@dataclass
class Tally:
    """What has been played so far."""

    schedules: int = 0
    calls: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    windows: list[float] = field(default_factory=list)

    def add(self, played: Played) -> None:
        """One more."""
        self.schedules += 1
        self.calls += played.calls
        self.injected += played.injected
        self.windows += played.windows
        for ended in played.endings:
            kind = "a report" if ended.moved is not None else type(ended.error).__name__ if ended.error else "killed"
            self.endings[kind] += 1

    def merge(self, other: "Tally") -> None:
        """What another one has played, too."""
        self.schedules += other.schedules
        self.calls += other.calls
        self.injected += other.injected
        self.endings += other.endings
        self.windows += other.windows

    def __str__(self) -> str:
        faults = ", ".join(f"{count} {kind}" for kind, count in self.injected.most_common())
        endings = ", ".join(f"{count} {kind}" for kind, count in self.endings.most_common())
        lost = f"{len(self.windows)} tags overwritten that had been moved between the look and a request that nothing happened to"
        longest = f"; the longest such moment was {max(self.windows) * 1000:.0f} ms" if self.windows else ""
        return (
            f"  {self.schedules} schedules, {self.calls} calls to the registry\n"
            f"  {sum(self.injected.values())} faults: {faults}\n  runs ended with: {endings}\n  {lost}{longest}"
        )


def search(
    count: int,
    number: int,
    tally: Tally | None = None,
    *,
    shrink: bool = True,
    made: Callable[[], st.SearchStrategy[Script]] = scripts,
) -> Tally:
    """Play so many schedules, made from this number. Raises Broken where something does not hold, for the smallest found
    with `shrink`."""
    tally = Tally() if tally is None else tally

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        report_multiple_bugs=False,
    )
    @given(made())
    def one(script: Script) -> None:
        tally.add(play(script))

    one()
    return tally
