"""The trace of a run is what Perfetto and Chrome read."""

import json
from collections import defaultdict
from itertools import pairwise
from typing import Any

import pytest

from builder.report.record import RunRecord
from builder.report.trace import run_trace
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HOSTILE_RUN, TASKS


def events(run: RunRecord, phase: str) -> list[dict[str, Any]]:
    """The events of one kind: X for tasks, M for names, i for messages."""
    return [event for event in json.loads(run_trace(run))["traceEvents"] if event["ph"] == phase]


@pytest.mark.parametrize("run", [GOOD_RUN, FAILED_RUN, HOSTILE_RUN])
def test_events_have_what_the_format_asks_of_them(run: RunRecord) -> None:
    document = json.loads(run_trace(run))
    assert set(document) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert document["displayTimeUnit"] == "ms"
    more = {"X": {"ts", "dur", "cat"}, "M": set(), "i": {"ts", "cat", "s"}}
    for event in document["traceEvents"]:
        assert more[event["ph"]] | {"name", "pid", "tid"} <= set(event)
        assert all(isinstance(event[name], int) and event[name] >= 0 for name in ("pid", "tid", "ts", "dur") if name in event)
        assert event["ph"] != "i" or event["s"] in ("g", "p", "t")


def test_each_task_is_there_with_its_times_in_microseconds() -> None:
    told = {(event["cat"], event["name"]): (event["ts"], event["dur"], event["args"]) for event in events(GOOD_RUN, "X")}
    assert len(told) == len(TASKS)
    assert told["look", "6 images at the hub"] == (2_400_000, 700_000, {"state": "done", "outcome": "2 unchanged"})


def test_events_of_one_thread_do_not_overlap() -> None:
    threads: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for event in events(GOOD_RUN, "X"):
        threads[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in threads.values():
        assert all(before[1] <= after[0] for before, after in pairwise(sorted(spans)))


def test_processes_are_stages_and_threads_platforms() -> None:
    named = {(event["name"], event["pid"], event["tid"]): event["args"] for event in events(GOOD_RUN, "M")}
    stages = {pid: args["name"] for (name, pid, _), args in named.items() if name == "process_name"}
    assert list(stages.values()) == ["messages", "resolve", "look", "fetch", "compile", "assemble", "push", "verify", "tag"]
    for event in events(GOOD_RUN, "X"):
        assert stages[event["pid"]] == event["cat"]
        thread = named["thread_name", event["pid"], event["tid"]]["name"]
        assert event["name"].endswith(thread) or thread == "all platforms"


def test_what_was_said_is_told_where_it_was_said() -> None:
    (_, warning, retry) = events(GOOD_RUN, "i")
    assert (warning["ts"], warning["cat"]) == (2_400_000, "warning")
    assert "trying again" in retry["name"]
