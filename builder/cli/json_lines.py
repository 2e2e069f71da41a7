"""What `--progress json` prints: one JSON object a line, from the first to the last; docs/progress.md describes each."""

import json
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

from builder.errors import BuilderError
from builder.runtime.progress import Event, Message, TaskAdvanced, TaskFinished, TaskStarted

# Of the form of the lines. It changes where a program that reads them has to.
VERSION = 1


class JsonLines:
    """Writes events to a stream. Called from many threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        name, fields = describe(event)
        self.write(name, fields)

    def result(self, report: dict[str, Any]) -> None:
        """The run has ended well, with this report as JSON values."""
        self.write("result", {"report": report})

    def error(self, error: BuilderError) -> None:
        """The run has failed."""
        self.write("error", error_fields(error))

    def write(self, name: str, fields: dict[str, Any]) -> None:
        """One line."""
        line = json_line(name, fields)
        with self._lock:
            print(line, file=self._stream, flush=True)


def json_line(name: str, fields: dict[str, Any]) -> str:
    """An event as JSON, stamped with the time in UTC."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"v": VERSION, "time": now, "event": name, **fields})


def error_fields(error: BuilderError) -> dict[str, Any]:
    """What an `error` says."""
    return {"message": error.message, "hint": error.hint, "exit_code": error.exit_code}


def describe(event: Event) -> tuple[str, dict[str, Any]]:
    """An event's name and fields, as docs/progress.md has them."""
    match event:
        case Message():
            return event.level, {"text": event.text}
        case TaskStarted():
            return "task_started", {"task": event.task, "stage": event.stage, "subject": event.subject}
        case TaskAdvanced():
            more: dict[str, Any] = {"done": event.done, "total": event.total, "detail": event.detail}
            return "task_progress", {"task": event.task, "stage": event.stage, "subject": event.subject, **more}
        case TaskFinished():
            more = {"seconds": round(event.seconds, 3), "outcome": event.outcome, "failed": event.failed}
            return "task_finished", {"task": event.task, "stage": event.stage, "subject": event.subject, **more}
