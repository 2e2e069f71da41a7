"""Puts tasks into lanes: one for each stage and platform, with as many rows as were at work at once. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from builder.report.record import RecordedTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """The tasks of one stage for one platform ("" where they are for all). Those of one row follow one another."""

    stage: str
    platform: str
    rows: tuple[tuple[RecordedTask, ...], ...]

    @property
    def name(self) -> str:
        """`compile linux/arm64`."""
        return f"{self.stage} {self.platform}".rstrip()


def lanes_of(tasks: Iterable[RecordedTask]) -> tuple[Lane, ...]:
    """The lanes in the order in which their stages, and within a stage they themselves, began."""
    ordered = sorted(tasks, key=lambda task: (task.began, task.ended))
    stages = list(dict.fromkeys(task.stage for task in ordered))
    found: dict[tuple[str, str], list[list[RecordedTask]]] = {}
    for task in ordered:
        rows = found.setdefault((task.stage, task.platform), [])
        free = next((row for row in rows if row[-1].ended <= task.began), None)
        if free is None:
            rows.append(free := [])
        free.append(task)
    return tuple(
        Lane(stage=stage, platform=platform, rows=tuple(map(tuple, rows)))
        for (stage, platform), rows in sorted(found.items(), key=lambda item: stages.index(item[0][0]))
    )
