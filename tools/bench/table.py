"""The report for people: seconds, then each aim with what was reached; plain or as Markdown."""

from collections.abc import Sequence

from builder.runtime.text import format_table
from tools.bench.results import AIMS, MEGABYTE, Phase, Report

_FIRST = ("builtin", "buildx", "go build", "bake", "docker-builder crane", "docker-builder docker", "imports")


def show_report(report: Report, *, markdown: bool = False) -> str:
    """All tables, one after the other. Aims of phases that were not measured are left out."""
    lay_out = _as_markdown if markdown else format_table
    parts = [[f"{name}: {value}" for name, value in report.machine.items()]]
    if markdown:
        parts = [["Measured on " + ", ".join(f"{name} {value}" for name, value in report.machine.items()) + "."]]
    measured = {phase.name for phase in report.phases} | ({"memory"} if report.memory else set())
    timed = [phase for phase in report.phases if phase.rounds]
    if timed:
        rows = [row for phase in timed for row in _seconds(phase)]
        parts.append(list(lay_out([("PHASE", "WHO", "MEDIAN s", "LEAST s", "MOST s", "× GO BUILD", "ROUNDS"), *rows])))
    if report.memory:
        parts.append(list(lay_out([("ENGINE", "BLOB", "PEAK MEMORY"), *_memory(report)])))
    aims = [aim.row(report) for aim in AIMS if aim.phase in measured]
    if aims:
        parts.append(list(lay_out([("PHASE", "ENGINE", "RESULT", "AIM", "MET"), *aims])))
    if report.absent:
        parts.append(list(report.absent))
    return "\n\n".join("\n".join(part) for part in parts)


def _seconds(phase: Phase) -> list[tuple[str, ...]]:
    rows = []
    for name in sorted(phase.names(), key=lambda name: (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)):
        values = [turn.seconds[name] for turn in phase.rounds if name in turn.seconds]
        ratio = phase.ratio(name, "go build")
        figures = [f"{phase.median(name):.2f}", f"{min(values):.2f}", f"{max(values):.2f}"]
        rows.append((phase.name, name, *figures, "" if ratio is None else f"{ratio:.2f}", str(len(values))))
    return rows


def _memory(report: Report) -> list[tuple[str, ...]]:
    return [
        (engine, size, f"{peak / MEGABYTE:.0f} MB") for engine, sizes in report.memory.items() for size, peak in sizes.items()
    ]


def _as_markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    head, *body = rows
    line = "| " + " | ".join("---" for _ in head) + " |"
    return [_markdown_row([cell.capitalize() for cell in head]), line, *(_markdown_row(row) for row in body)]


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
