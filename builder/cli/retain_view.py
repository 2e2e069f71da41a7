"""Which old tags go, for people (a table) and for machines (JSON)."""

from typing import Any

from builder.cli.screen import ENDLESS, Screen
from builder.pipeline.retain import Retained
from builder.publish.retention import Verdict
from builder.runtime.text import counted, printable


def retain_table(retained: Retained, screen: Screen = ENDLESS, *, done: bool) -> str:
    """A row for each tag that a pattern names, what goes first; then what it comes to."""
    ordered = sorted(retained.verdicts, key=lambda verdict: (not verdict.goes, verdict.tag.reference))
    rows = [("TAG", "DIGEST", "SINCE", "", "WHY")]
    rows += [
        (str(verdict.tag.reference), _digest(verdict), _time(verdict), _state(verdict, retained, done=done), verdict.reason)
        for verdict in ordered
    ]
    lines = screen.table(rows) if ordered else ["No tag is named by these patterns."]
    going = sum(verdict.goes for verdict in ordered)
    if done:
        end = f"{counted(len(retained.gone), 'tag')} gone, {len(ordered) - len(retained.gone)} left"
    else:
        end = f"{counted(going, 'tag')} would go, {len(ordered) - going} would stay"
    lines += ["", *screen.fold(f"{end}; {counted(retained.others, 'other tag')} that no pattern names.")]
    if going and not done:
        lines.append("Nothing was changed: --yes takes them away.")
    return "\n".join(printable(line) for line in lines)


def retain_json(retained: Retained, *, done: bool) -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "done": done,
        "tags": [
            {
                "reference": str(verdict.tag.reference),
                "release": verdict.release,
                "digest": str(verdict.tag.digest) if verdict.tag.digest else None,
                "time": _time(verdict) or None,
                "state": _state(verdict, retained, done=done),
                "reason": verdict.reason,
            }
            for verdict in retained.verdicts
        ],
        "other_tags": retained.others,
        "notes": list(retained.notes),
    }


def _state(verdict: Verdict, retained: Retained, *, done: bool) -> str:
    if verdict.tag.reference in retained.left:
        return "moved"
    if not verdict.goes:
        return "stays"
    return "gone" if done else "goes"


def _digest(verdict: Verdict) -> str:
    return verdict.tag.digest.short if verdict.tag.digest else ""


def _time(verdict: Verdict) -> str:
    return verdict.tag.time.strftime("%Y-%m-%dT%H:%M:%SZ") if verdict.tag.time else ""
