"""Shows a run's events on stderr: live on a terminal, as plain lines in a log, as JSON lines for programs."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from builder.cli.json_lines import JsonLines
from builder.cli.screen import Screen
from builder.runtime.progress import CauseTold, Event, Message, Observer, TaskAdvanced, TaskFinished, TaskStarted
from builder.runtime.text import format_size, printable_lines

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# Narrower terminals have no room for bars.
_WIDE = 100

DISPLAYS = ("auto", "tty", "plain", "json", "quiet")


@contextmanager
def open_display(kind: str, stream: TextIO | None = None) -> Iterator[Observer]:
    """The display of this kind while the block runs; `auto` is live on a terminal and plain lines elsewhere."""
    stream = stream or sys.stderr
    if kind == "auto":
        kind = "tty" if stream.isatty() else "plain"
    if kind == "tty":
        with _live(stream) as observer:
            yield observer
    elif kind == "json":
        yield JsonLines(stream)
    else:
        yield _PlainLines(stream, only_warnings=kind == "quiet")


class _PlainLines:
    """One line when a task begins and one when it ends; no line for what happens between."""

    def __init__(self, stream: TextIO, *, only_warnings: bool) -> None:
        self._stream = stream
        self._only_warnings = only_warnings
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        match event:
            case Message(level="warning", text=text):
                self._print(f"warning: {text}")
            case _ if self._only_warnings:
                return
            case Message(text=text):
                self._print(text)
            case CauseTold():
                self._print(event.line)
            case TaskStarted():
                self._print(f"{event.stage:<8}  {event.subject} ...")
            case TaskFinished():
                self._print(f"{event.stage:<8}  {event.subject}: {_describe_end(event)}")
            case _:
                return

    def _print(self, text: str) -> None:
        with self._lock:
            print(printable_lines(text), file=self._stream, flush=True)


@contextmanager
def _live(stream: TextIO) -> Iterator[Observer]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column

    console = Console(file=stream)

    def text(form: str, column: Column, style: str = "none") -> TextColumn:
        # No markup: what programs say may look like it, and would end the display where it is wrong.
        return TextColumn(form, style=style, markup=False, table_column=column)

    # The stage and the time always have their room; what is made, and how far it is, share what is left.
    columns = (
        SpinnerColumn(finished_text=" ", table_column=Column(width=1)),
        text("{task.fields[stage]}", Column(width=8, no_wrap=True), "bold"),
        text("{task.description}", Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        *([BarColumn(bar_width=20, table_column=Column(width=20))] if console.width >= _WIDE else []),
        text("{task.fields[state]}", Column(ratio=1, no_wrap=True, overflow="ellipsis"), "dim"),
        TimeElapsedColumn(table_column=Column(width=7, no_wrap=True)),
    )
    with Progress(*columns, console=console, redirect_stdout=False, expand=True) as progress:
        yield _Live(progress)


class _Live:
    """A line a task, with a bar while bytes move."""

    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._rows: dict[int, TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._show(event)

    def _show(self, event: Event) -> None:
        match event:
            case Message(level=level, text=text):
                self._say(f"warning: {text}" if level == "warning" else text)
            case CauseTold():
                self._say(event.line)
            case TaskStarted():
                subject = printable_lines(event.subject)
                self._rows[event.task] = self._progress.add_task(subject, total=None, stage=event.stage, state="")
            case TaskAdvanced(total=0, detail=detail):
                state = printable_lines(detail) if detail else format_size(event.done)
                self._progress.update(self._rows[event.task], state=state)
            case TaskAdvanced(done=done, total=total):
                state = f"{format_size(done)} of {format_size(total)}"
                self._progress.update(self._rows[event.task], completed=done, total=total, state=state)
            case TaskFinished():
                row = self._rows[event.task]
                self._progress.update(row, completed=1, total=1, state=printable_lines(event.outcome) or "done")
                self._progress.stop_task(row)
                if event.failed:
                    self._progress.update(row, state="failed")

    def _say(self, text: str) -> None:
        """Above the rows. Rich would break words that are to be copied, such as references; whose edges they go over is ours."""
        console = self._progress.console
        screen = Screen(console.width)
        lines = [part for line in printable_lines(text).split("\n") for part in screen.fold(line)]
        console.print("\n".join(lines), markup=False, emoji=False, highlight=False, soft_wrap=True)


def _describe_end(event: TaskFinished) -> str:
    if event.failed:
        return f"failed after {event.seconds:.1f} s"
    outcome = f"{event.outcome}, " if event.outcome else ""
    return f"{outcome}{event.seconds:.1f} s"
