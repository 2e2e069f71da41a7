"""What was measured, as values and as JSON, and what it comes to: medians, ratios, and the aims beside them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ENGINES = ("builtin", "buildx")
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Round:
    """One round: everybody's turn, in this order. Figures by name."""

    order: tuple[str, ...]
    seconds: Mapping[str, float]
    requests: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase with all its rounds."""

    name: str
    rounds: tuple[Round, ...]

    def names(self) -> tuple[str, ...]:
        """All that have seconds in it."""
        return tuple(dict.fromkeys(name for turn in self.rounds for name in turn.seconds))

    def median(self, name: str) -> float | None:
        """Seconds; None where it was not measured."""
        values = [turn.seconds[name] for turn in self.rounds if name in turn.seconds]
        return statistics.median(values) if values else None

    def ratio(self, name: str, over: str) -> float | None:
        """The median of the ratios of each round: a slow minute of the machine slows both."""
        both = [turn.seconds for turn in self.rounds if name in turn.seconds and over in turn.seconds]
        return statistics.median(turn[name] / turn[over] for turn in both) if both else None

    def requests(self, name: str) -> float | None:
        """The median of the requests."""
        values = [turn.requests[name] for turn in self.rounds if name in turn.requests]
        return statistics.median(values) if values else None


@dataclass(frozen=True, slots=True)
class Report:
    """A whole run of the benchmark. `absent` says which contestants this source does not have, and why."""

    machine: Mapping[str, str]
    phases: tuple[Phase, ...]
    memory: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    def phase(self, name: str) -> Phase | None:
        """The phase of this name, if it was measured."""
        return next((phase for phase in self.phases if phase.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Every single figure."""
        return asdict(self)


def read_report(document: Mapping[str, Any]) -> Report:
    """The report that `to_json` gave."""
    phases = tuple(
        Phase(phase["name"], tuple(Round(tuple(r["order"]), r["seconds"], r["requests"]) for r in phase["rounds"]))
        for phase in document["phases"]
    )
    return Report(document["machine"], phases, document["memory"], tuple(document["absent"]))


@dataclass(frozen=True, slots=True)
class Aim:
    """What a figure is held against. `over` names what it is a ratio to; `better of` are the two modes of docker-builder."""

    phase: str
    engine: str
    measure: str
    over: str
    limit: float

    def value(self, report: Report) -> float | None:
        """The figure; None where the run has not measured it."""
        if self.measure == "memory":
            return max(report.memory.get(self.engine, {}).values(), default=None)
        phase = report.phase(self.phase)
        if phase is None:
            return None
        if self.measure == "requests":
            return phase.requests(self.engine)
        if self.measure == "increment":
            ratio = phase.ratio(f"{self.engine}, both", f"{self.engine}, amd64")
            return None if ratio is None else ratio - 1
        over = better_mode(phase) if self.over == BETTER_MODE else self.over
        return phase.ratio(self.engine, over) if over else None

    def show(self, value: float) -> str:
        """The figure for people."""
        if self.measure == "memory":
            return f"{value / MEGABYTE:.0f} MB"
        if self.measure == "requests":
            return f"{value:.0f} requests"
        if self.measure == "increment":
            return f"{value:+.0%}"
        return f"{value:.2f} × {self.over}"

    def row(self, report: Report) -> tuple[str, ...]:
        """Phase, engine, result, aim, and whether it is met."""
        value = self.value(report)
        shown, met = ("not measured", "") if value is None else (self.show(value), "yes" if value <= self.limit else "NO")
        return (self.phase, self.engine, shown, f"≤ {self.show(self.limit)}", met)


BETTER_MODE = "docker-builder's better mode"


def better_mode(phase: Phase) -> str | None:
    """The faster mode of docker-builder in this phase."""
    modes = {name: phase.median(name) for name in ("docker-builder crane", "docker-builder docker")}
    measured = {name: seconds for name, seconds in modes.items() if seconds is not None}
    return min(measured, key=lambda name: measured[name]) if measured else None


def _ratios(phase: str, over: str, *limits: float) -> tuple[Aim, ...]:
    return tuple(Aim(phase, engine, "ratio", over, limit) for engine, limit in zip(ENGINES, limits, strict=True))


AIMS: Sequence[Aim] = (
    *_ratios("changed", "go build", 1.00, 1.20),
    *_ratios("unchanged", BETTER_MODE, 0.05, 0.05),
    *_ratios("unchanged", "imports", 3.0, 3.0),
    *(Aim("unchanged", engine, "requests", "", 40) for engine in ENGINES),
    *_ratios("relink", "go build", 1.00, 1.20),
    *_ratios("package", "docker-builder crane", 0.40, 1.00),
    *_ratios("cold", "go build", 0.92, 0.95),
    Aim("second", "builtin", "increment", "", 0.25),
    Aim("second", "buildx", "increment", "", 0.35),
    *(Aim("memory", engine, "memory", "", 150 * MEGABYTE) for engine in ENGINES),
)
