"""A run as one HTML page that needs nothing else: no script, no font, no picture, nothing of another place. Pure.

What it says comes from registries, programs and servers. All of it is escaped, and a Content-Security-Policy lets a browser take
nothing but the one style sheet that stands in the page, which it names by its sum.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from builder.report.lanes import Lane, lanes_of
from builder.report.record import RecordedTask, RunRecord
from builder.runtime.text import counted, format_size, printable_lines

_STYLE = "page.css"
# Between two marks of the time line, in seconds: the first with which there are few enough of them.
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200)
_MOST_MARKS = 6
# Per cent of the time line: what is shorter is still to be seen, and what is shorter than this has no name in it.
_THINNEST = 0.3
_ROOM_FOR_NAME = 7.0
_COLOURS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRun:
    """An earlier run whose page is still there: the name of its files without their ending, and how it ended."""

    name: str
    began: str
    command: str
    summary: str
    ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A task on the time line; `left` and `width` are per cent of it."""

    task: RecordedTask
    left: float
    width: float

    @property
    def label(self) -> str:
        """What stands in it: the subject without its platform and registry, "" where there is no room."""
        name = self.task.subject.removesuffix(self.task.platform).strip().rpartition("/")[2]
        return name if self.width >= _ROOM_FOR_NAME else ""


def run_page(record: RunRecord, earlier: Sequence[KeptRun] | None = None) -> str:
    """The page of a run. With `earlier` it is the one that leads to the others, and lists them; the newest first."""
    environment = _environment()
    source = environment.loader.get_source(environment, _STYLE)[0] if environment.loader else ""
    style = f"\n{source}"
    sum_of_style = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    lanes = lanes_of(record.tasks)
    stages = list(dict.fromkeys(lane.stage for lane in lanes))
    values: dict[str, Any] = {
        "run": record,
        "style": style,
        "style_sum": sum_of_style,
        "earlier": earlier,
        "lanes": [(lane, stages.index(lane.stage) % _COLOURS, _bars(lane, record)) for lane in lanes],
        "marks": _marks(_length(record)),
    }
    return environment.get_template("page.html.j2").render(values)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("builder.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"shown": _shown, "size": format_size, "duration": format_duration, "counted": counted}
    return environment


def format_duration(seconds: float) -> str:
    """`3.2 s`, `4 min 7 s`, `1 h 2 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _format_mark(seconds: float, length: float) -> str:
    """`20 s`, or `1:20` on a line of a minute or more, `1:00:00` on one of an hour."""
    if length < 60:
        return f"{seconds:g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if length >= 3600 else f"{minutes}:{rest:02}"


def _shown(text: object) -> str:
    """A text of others line by line, with what turns the direction of writing, and the like, written out."""
    return printable_lines("\n".join(str(text).splitlines()))


def _length(record: RunRecord) -> float:
    """How many seconds the time line is long."""
    return max([record.seconds, 0.001, *(task.ended for task in record.tasks)])


def _bars(lane: Lane, record: RunRecord) -> list[list[Bar]]:
    length = _length(record)
    return [[_bar(task, length) for task in row] for row in lane.rows]


def _bar(task: RecordedTask, length: float) -> Bar:
    width = max(_THINNEST, 100 * (task.ended - task.began) / length)
    left = min(100 * task.began / length, 100 - width)
    return Bar(task=task, left=round(max(0.0, left), 2), width=round(min(width, 100.0), 2))


def _marks(length: float) -> list[tuple[str, float]]:
    """The marks of the time line: what they say, and where they are (per cent of it); the beginning is left out."""
    step = next((step for step in _STEPS if length / step <= _MOST_MARKS), length)
    count = int(length / step)
    return [
        (_format_mark(round(number * step, 3), length), round(100 * number * step / length, 2)) for number in range(1, count + 1)
    ]
