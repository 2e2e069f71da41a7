"""Shows what `doctor` found: as a table, as JSON (docs/schemas/doctor.json). Pure."""

from collections.abc import Sequence
from typing import Any

from builder import __version__
from builder.cli.screen import ENDLESS, Screen
from builder.doctor.finding import Checked, Finding, State
from builder.runtime.text import format_table, printable

SCHEMA_VERSION = 1
_INDENT = " " * 9


def doctor_table(checked: Sequence[Checked], screen: Screen = ENDLESS) -> str:
    """A line a check, and beneath it what it means and what mends it; how many there are of each state.

    Where a line has no room, what was found stands below what was looked at, too.
    """
    heads = format_table([(str(one.finding.state), _name(one)) for one in checked]) if checked else []
    width = max(map(len, heads), default=0)
    first_lines = [(one.finding.text.splitlines() or [""])[0] for one in checked]
    has_room = not screen.width or max((width + 2 + len(text) for text in first_lines), default=0) <= screen.width
    lines: list[str] = []
    for head, one in zip(heads, checked, strict=True):
        first, *rest = one.finding.text.splitlines() or [""]
        lines.append(f"{head.ljust(width)}  {printable(first)}".rstrip() if has_room else head.rstrip())
        beneath = (*(() if has_room else (first,)), *rest, *_advice(one.finding))
        lines += [part for line in beneath for part in screen.fold(f"{_INDENT}{printable(line)}")]
    counts = ", ".join(f"{count} {state}" for state in State if (count := _count(checked, state)))
    return "\n".join([*lines, "", counts])


def _advice(finding: Finding) -> list[str]:
    return [*([f"→ {finding.meaning}"] if finding.meaning else ()), *finding.mend.splitlines()]


def doctor_json(checked: Sequence[Checked]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": f"istio-build {__version__}",
        "ok": not _count(checked, State.FAILED),
        "summary": {str(state): _count(checked, state) for state in State},
        "checks": [
            {
                "name": one.name,
                "subject": one.subject,
                "state": str(one.finding.state),
                "text": one.finding.text,
                "meaning": one.finding.meaning,
                "mend": one.finding.mend,
                "seconds": round(one.seconds, 3),
            }
            for one in checked
        ],
    }


def doctor_verdict(checked: Sequence[Checked]) -> str:
    """Which checks failed; "" where none did."""
    return ", ".join(_name(one) for one in checked if one.finding.state is State.FAILED)


def _name(one: Checked) -> str:
    return printable(f"{one.name} {one.subject}".rstrip())


def _count(checked: Sequence[Checked], state: State) -> int:
    return sum(one.finding.state is state for one in checked)
