"""What `--progress json` prints: one JSON object a line, from the first to the last; docs/progress.md describes each."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, TextIO

from builder.errors import BuilderError
from builder.runtime.progress import CauseTold, Event, Message, TaskAdvanced, TaskFinished, TaskStarted

# Of the form of the lines. It changes where a program that reads them has to.
VERSION = 1
# Between two `task_progress` of one task: an upload tells of every 256 kB, and nobody reads hundreds of lines a second.
_PROGRESS_SECONDS = 0.2


class JsonLines:
    """Writes events to a stream. Called from many threads.

    How far a task is, it writes some five times a second at most, and what it held back last before the task's end.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        # By task: when a line of it was written last, and what has come since then.
        self._written: dict[int, float] = {}
        self._held: dict[int, TaskAdvanced] = {}

    def __call__(self, event: Event) -> None:
        with self._lock:
            for due in self._due(event):
                self._print(*describe(due))

    def result(self, report: dict[str, Any]) -> None:
        """The run has ended well, with this report as JSON values."""
        self.write("result", {"report": report})

    def error(self, error: BuilderError) -> None:
        """The run has failed."""
        self.write("error", error_fields(error))

    def write(self, name: str, fields: dict[str, Any]) -> None:
        """One line."""
        with self._lock:
            self._print(name, fields)

    def _due(self, event: Event) -> tuple[Event, ...]:
        """What is to be written now that this event has come."""
        match event:
            case TaskAdvanced():
                now = self._clock()
                if event.task in self._written and now - self._written[event.task] < _PROGRESS_SECONDS:
                    self._held[event.task] = event
                    return ()
                self._written[event.task] = now
                self._held.pop(event.task, None)
            case TaskFinished():
                self._written.pop(event.task, None)
                held = self._held.pop(event.task, None)
                return (held, event) if held else (event,)
        return (event,)

    def _print(self, name: str, fields: dict[str, Any]) -> None:
        print(json_line(name, fields), file=self._stream, flush=True)


def json_line(name: str, fields: dict[str, Any]) -> str:
    """An event as JSON, stamped with the time in UTC."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"v": VERSION, "time": now, "event": name, **fields})


def error_fields(error: BuilderError) -> dict[str, Any]:
    """What an `error` says; `images` and `releases` tell what became of each, where some were made."""
    fields: dict[str, Any] = {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}
    if error.ledger:
        fields["images"] = [asdict(outcome) for outcome in error.ledger]
    if error.releases:
        fields["releases"] = [asdict(end) for end in error.releases]
    return fields


def describe(event: Event) -> tuple[str, dict[str, Any]]:
    """An event's name and fields, as docs/progress.md has them."""
    match event:
        case Message(level="note"):
            return "note", {"text": event.text, "retry": event.retry}
        case Message():
            return event.level, {"text": event.text}
        case CauseTold():
            return "reason", asdict(event)
        case TaskStarted():
            return "task_started", {"task": event.task, "stage": event.stage, "subject": event.subject}
        case TaskAdvanced():
            more: dict[str, Any] = {"done": event.done, "total": event.total, "detail": event.detail}
            return "task_progress", {"task": event.task, "stage": event.stage, "subject": event.subject, **more}
        case TaskFinished():
            more = {"seconds": round(event.seconds, 3), "outcome": event.outcome, "failed": event.failed}
            return "task_finished", {"task": event.task, "stage": event.stage, "subject": event.subject, **more}
