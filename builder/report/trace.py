"""The tasks of a run as a trace for Perfetto (https://ui.perfetto.dev) and chrome://tracing. Pure.

The format is "Trace Event Format" of Chromium's catapult: a process for each stage, a thread for each row of its lanes, as
complete events of one thread must not overlap.
"""

import json
from typing import Any

from builder.report.lanes import Lane, lanes_of
from builder.report.record import RecordedMessage, RecordedTask, RunRecord

_MICROSECONDS = 1_000_000
# Of what is said: the first process.
_MESSAGES = 1


def run_trace(record: RunRecord) -> str:
    """The trace as JSON; times are microseconds since the run began."""
    lanes = lanes_of(record.tasks)
    numbers = {stage: number for number, stage in enumerate(dict.fromkeys(lane.stage for lane in lanes), start=_MESSAGES + 1)}
    events = _name("process_name", _MESSAGES, 0, "messages")
    events += [_message(message) for message in record.messages]
    for stage, number in numbers.items():
        events += _name("process_name", number, 0, stage)
        events.append(_meta("process_sort_index", number, 0, {"sort_index": number}))
        events += _threads(number, [lane for lane in lanes if lane.stage == stage])
    told = {"command": record.command, "tool": record.tool, "began": record.began, "ended": record.summary}
    return json.dumps({"displayTimeUnit": "ms", "otherData": told, "traceEvents": events}, indent=1)


def _threads(process: int, lanes: list[Lane]) -> list[dict[str, Any]]:
    rows = [(lane, row) for lane in lanes for row in lane.rows]
    events = []
    for thread, (lane, row) in enumerate(rows, start=1):
        events += _name("thread_name", process, thread, lane.platform or "all platforms")
        events.append(_meta("thread_sort_index", process, thread, {"sort_index": thread}))
        events += [_task(process, thread, task) for task in row]
    return events


def _task(process: int, thread: int, task: RecordedTask) -> dict[str, Any]:
    began, ended = round(task.began * _MICROSECONDS), round(task.ended * _MICROSECONDS)
    return {
        "ph": "X",
        "name": task.subject,
        "cat": task.stage,
        "pid": process,
        "tid": thread,
        "ts": began,
        "dur": ended - began,
        "args": {"state": task.state, "outcome": task.outcome},
    }


def _message(message: RecordedMessage) -> dict[str, Any]:
    return {
        "ph": "i",
        "name": message.text,
        "cat": message.level,
        "pid": _MESSAGES,
        "tid": 0,
        "ts": round(message.at * _MICROSECONDS),
        "s": "g",
    }


def _name(what: str, process: int, thread: int, name: str) -> list[dict[str, Any]]:
    return [_meta(what, process, thread, {"name": name})]


def _meta(what: str, process: int, thread: int, values: dict[str, Any]) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": values}
