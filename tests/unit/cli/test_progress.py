"""What a run tells of itself, and how it is shown: live, as lines, as JSON."""

import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

import pytest

from builder.cli.display import DISPLAYS, open_display
from builder.cli.json_lines import JsonLines
from builder.cli.voice import Voice
from builder.errors import EngineError, Outcome, RegistryError, ReleaseEnd
from builder.runtime.progress import Event, Message, Progress, TaskAdvanced, TaskFinished, TaskStarted
from tests import ROOT

# What programs say that looks like markup of the display.
ODD_TEXTS = ["[bold]", "[/bold]", "a\\[/b]", "x\\", "[red]x[/red]", ":smile:", "é\t", "100%", "{task}", ""]


# What a registry may say to command a terminal: a title, clearing it, a bell, writing from right to left, going back.
COMMANDS = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202e\r\b"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def watched(kind: str, stream: io.StringIO) -> Iterator[Progress]:
    with open_display(kind, stream) as observer:
        yield Progress(observer)


def in_threads(count: int, times: int, act: Callable[[], None]) -> None:
    """Do this so many times in each of so many threads at once."""

    def work() -> None:
        for _ in range(times):
            act()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def shown(kind: str) -> str:
    """What is shown of a small run."""
    stream = io.StringIO()
    with watched(kind, stream) as progress:
        with progress.task("fetch", "envoy linux/arm64") as task:
            task.reach(5, 10)
            task.outcome = "fetched"
        with suppress(RuntimeError), progress.task("compile", "pilot linux/amd64") as task:
            task.detail("go: downloading a v1")
            raise RuntimeError
        progress.note("a note")
        progress.tell_cause(kind="go", text="Go 1 → 2", images=("pilot-debug", "[b]"), before="1", after="2")
        progress.warn("mind this")
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["tty", "plain", "quiet", "json"])
def test_what_others_say_commands_no_terminal(kind: str) -> None:
    stream = io.StringIO()
    with watched(kind, stream) as progress:
        with progress.task("fetch", f"subject {COMMANDS}") as task:
            task.detail(f"detail {COMMANDS}")
            task.outcome = f"outcome {COMMANDS}"
        progress.note(f"note {COMMANDS}")
        progress.warn(f"warning {COMMANDS}\nsecond line\twith columns")
    text = stream.getvalue()
    if kind == "tty":
        assert "]0;owned" in text
        assert "\x1b]0;owned" not in text
        assert "\x1b[2J" not in text
        assert [command for command in "\x07\u009b\u202e\b" if command in text] == []
    else:
        assert [command for command in COMMANDS if command in text and not command.isprintable()] == []
    if kind == "plain":
        assert "\nsecond line\twith columns" in text


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_commands_no_terminal(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    voice = Voice(("--progress=json",) if as_json else ())
    voice.error(RegistryError(f"first {COMMANDS}\n  second", hint=f"hint {COMMANDS}"))
    told = capsys.readouterr().err
    assert [command for command in COMMANDS if command in told and not command.isprintable()] == []
    assert "owned" in told
    assert as_json or "\n  second\n" in told


class TestEvents:
    def run(self) -> tuple[list[Event], Progress]:
        events: list[Event] = []
        progress = Progress(lambda event: events.append(event))
        return events, progress

    def test_what_is_told_is_told_once_but_for_what_is_tried_again(self) -> None:
        events, progress = self.run()
        for _ in range(3):
            progress.warn("no arm64")
            progress.note("no arm64")
            progress.note_retry("refused")
            progress.begin_anew()
        levels = [(event.level, event.retry) for event in events if isinstance(event, Message)]
        assert levels == [("warning", False), ("note", False), ("note", True), ("note", True), ("note", True)]

    def test_a_task_begins_goes_on_and_ends(self) -> None:
        events, progress = self.run()
        with progress.task("push", "pilot") as task:
            task.advance(3, 10)
            task.advance(4, 10)
            task.advance(-7, 10)
            task.reach(10, 10)
            task.detail("tags")
            task.outcome = "2 blobs sent"
        begun, *advanced, ended = events
        assert begun == TaskStarted(task=1, stage="push", subject="pilot")
        assert all(isinstance(event, TaskAdvanced) and event.task == 1 for event in advanced)
        assert [(event.done, event.total, event.detail) for event in advanced if isinstance(event, TaskAdvanced)] == [
            (3, 10, ""),
            (7, 10, ""),
            (0, 10, ""),
            (10, 10, ""),
            (0, 0, "tags"),
        ]
        assert isinstance(ended, TaskFinished)
        assert (ended.outcome, ended.failed) == ("2 blobs sent", False)
        assert ended.seconds >= 0

    def test_a_task_that_raises_has_failed_and_the_error_goes_on(self) -> None:
        events, progress = self.run()
        with pytest.raises(KeyboardInterrupt), progress.task("push", "pilot"):
            raise KeyboardInterrupt
        assert isinstance(events[-1], TaskFinished)
        assert events[-1].failed

    def test_tasks_are_told_apart_though_they_are_alike(self) -> None:
        events, progress = self.run()
        with progress.task("push", "pilot"), progress.task("push", "pilot"):
            pass
        assert [event.task for event in events if isinstance(event, TaskStarted)] == [1, 2]
        assert [event.task for event in events if isinstance(event, TaskFinished)] == [2, 1]

    def test_bytes_of_many_threads_add_up(self) -> None:
        events, progress = self.run()
        with progress.task("push", "pilot") as task:
            in_threads(8, 200, lambda: task.advance(1))
        assert max(event.done for event in events if isinstance(event, TaskAdvanced)) == 1600

    def test_messages_have_a_level(self) -> None:
        events, progress = self.run()
        progress.note("a")
        progress.warn("b")
        assert events == [Message(level="note", text="a"), Message(level="warning", text="b")]


class TestStageSeconds:
    def seconds(self, monkeypatch: pytest.MonkeyPatch, *steps: tuple[float, str, str]) -> dict[str, float]:
        """The seconds of stages whose tasks begin and end at these times: (time, "begin" or "end", task's name)."""
        now = 0.0
        monkeypatch.setattr("builder.runtime.progress.time.monotonic", lambda: now)
        progress = Progress(lambda event: None)
        open_tasks: dict[str, Any] = {}
        for time, what, name in steps:
            now = time
            if what == "begin":
                open_tasks[name] = progress.task(name.partition(" ")[0], name)
                open_tasks[name].__enter__()
            else:
                open_tasks.pop(name).__exit__(None, None, None)
        assert open_tasks == {}
        return dict(progress.stage_seconds())

    def test_tasks_side_by_side_count_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.seconds(
            monkeypatch,
            (0, "begin", "compile a"),
            (1, "begin", "compile b"),
            (3, "end", "compile a"),
            (5, "end", "compile b"),
        )
        assert found == {"compile": 5}

    def test_one_within_another_adds_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.seconds(
            monkeypatch,
            (0, "begin", "push a"),
            (1, "begin", "push b"),
            (2, "end", "push b"),
            (4, "end", "push a"),
            (6, "begin", "push c"),
            (7, "end", "push c"),
        )
        assert found == {"push": 5}

    def test_stages_that_overlap_have_each_their_own_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found = self.seconds(
            monkeypatch,
            (0, "begin", "fetch a"),
            (1, "begin", "compile a"),
            (4, "end", "fetch a"),
            (6, "end", "compile a"),
        )
        assert found == {"fetch": 4, "compile": 5}
        # In the order in which they began, not in that of their names or ends.
        assert list(found) == ["fetch", "compile"]

    def test_nothing_done_took_no_time(self) -> None:
        assert Progress(lambda event: None).stage_seconds() == ()


class TestPlainLines:
    def test_one_line_where_a_task_begins_and_one_where_it_ends(self) -> None:
        lines = shown("plain").splitlines()
        assert lines[0] == "fetch     envoy linux/arm64 ..."
        assert lines[1] == "fetch     envoy linux/arm64: fetched, 0.0 s"
        assert lines[2] == "compile   pilot linux/amd64 ..."
        assert lines[3] == "compile   pilot linux/amd64: failed after 0.0 s"
        assert lines[4:] == ["a note", "why: Go 1 → 2: pilot-debug, [b]", "warning: mind this"]

    def test_quiet_shows_warnings_alone(self) -> None:
        assert shown("quiet") == "warning: mind this\n"

    def test_auto_is_plain_where_nobody_watches(self) -> None:
        assert shown("auto") == shown("plain")


class TestJsonLines:
    def test_each_line_is_an_event(self) -> None:
        events = [json.loads(line) for line in shown("json").splitlines()]
        assert [event["event"] for event in events] == [
            "task_started",
            "task_progress",
            "task_finished",
            "task_started",
            "task_progress",
            "task_finished",
            "note",
            "reason",
            "warning",
        ]
        time = datetime.fromisoformat(events[1].pop("time"))
        assert abs((datetime.now(UTC) - time).total_seconds()) < 60
        assert events[1] == {
            "v": 1,
            "event": "task_progress",
            "task": 1,
            "stage": "fetch",
            "subject": "envoy linux/arm64",
            "done": 5,
            "total": 10,
            "detail": "",
        }
        assert events[5]["failed"] is True
        reason = {name: value for name, value in events[7].items() if name not in ("v", "time")}
        assert reason == {
            "event": "reason",
            "kind": "go",
            "text": "Go 1 → 2",
            "images": ["pilot-debug", "[b]"],
            "before": "1",
            "after": "2",
        }
        assert (events[8]["event"], events[8]["text"]) == ("warning", "mind this")

    def test_how_far_a_task_is_comes_five_times_a_second_at_most_and_then_as_it_was_last(self) -> None:
        stream = io.StringIO()
        now = 0.0
        progress = Progress(JsonLines(stream, lambda: now))
        with progress.task("push", "pilot") as pilot, progress.task("push", "proxyv2") as proxy:
            for step in range(70):
                now = step / 64
                pilot.advance(256, 17_920)
                if step == 10:
                    proxy.reach(1, 2)
        events = [json.loads(line) for line in stream.getvalue().splitlines()]
        told = [event for event in events if event.get("task") == 1]
        # At once, then after 0.2 s each, which is 13 steps; and before the end what came last.
        assert [event["done"] for event in told[1:-1]] == [256 * (step + 1) for step in (0, 13, 26, 39, 52, 65, 69)]
        assert told[-1]["event"] == "task_finished"
        # What one task tells holds back nothing of another's.
        assert [event["done"] for event in events if event.get("task") == 2 and event["event"] == "task_progress"] == [1]

    def test_what_was_held_back_comes_before_the_end_of_its_task_even_where_that_fails(self) -> None:
        stream = io.StringIO()
        progress = Progress(JsonLines(stream, lambda: 0.0))
        with suppress(RuntimeError), progress.task("push", "pilot") as task:
            for done in (1, 5, 3):
                task.reach(done, 9)
            raise RuntimeError
        events = [json.loads(line) for line in stream.getvalue().splitlines()]
        assert [(event["event"], event.get("done"), event.get("total")) for event in events] == [
            ("task_started", None, None),
            ("task_progress", 1, 9),
            ("task_progress", 3, 9),
            ("task_finished", None, None),
        ]

    @pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", '"', "\u2028"])
    def test_an_event_is_one_line_whatever_it_says(self, text: str) -> None:
        stream = io.StringIO()
        with watched("json", stream) as progress:
            progress.note(text)
        [line] = stream.getvalue().splitlines()
        assert json.loads(line)["text"] == text

    def test_lines_of_many_threads_do_not_mix(self) -> None:
        stream = io.StringIO()
        with watched("json", stream) as progress:
            in_threads(8, 50, lambda: progress.note_retry("x" * 200))
        assert [json.loads(line)["text"] for line in stream.getvalue().splitlines()] == ["x" * 200] * 400


class TestLive:
    @pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
    def test_shows_tasks_as_they_end(self, stream: io.StringIO) -> None:
        with watched("tty", stream) as progress:
            with progress.task("push", "pilot") as task:
                task.advance(5, 10)
                task.outcome = "2 blobs sent"
            progress.warn("mind this")
        text = stream.getvalue()
        assert "pilot" in text
        assert "2 blobs sent" in text
        assert "warning: mind this" in text

    def test_says_what_failed(self) -> None:
        stream = io.StringIO()
        with watched("tty", stream) as progress, pytest.raises(RuntimeError), progress.task("compile", "pilot"):
            raise RuntimeError
        assert "failed" in stream.getvalue()

    @pytest.mark.parametrize("text", ODD_TEXTS)
    def test_nothing_that_a_program_says_can_end_it(self, text: str) -> None:
        stream = Terminal()
        with watched("tty", stream) as progress:
            with progress.task("compile", text) as task:
                task.detail(text)
                task.reach(1, 0)
                task.reach(1, 2)
                task.outcome = text
            progress.note(text)
        assert stream.getvalue()

    def test_shows_what_programs_say_as_they_say_it(self) -> None:
        stream = io.StringIO()
        with watched("tty", stream) as progress:
            progress.note("[a] \\[/b] :smile:")
        assert "[a] \\[/b] :smile:" in stream.getvalue()

    def test_auto_is_live_on_a_terminal(self) -> None:
        stream = Terminal()
        with watched("auto", stream) as progress, progress.task("push", "pilot"):
            pass
        assert "\x1b[" in stream.getvalue()


@pytest.mark.parametrize("kind", DISPLAYS)
def test_every_display_shows_every_event_from_any_thread(kind: str) -> None:
    stream = io.StringIO()
    with watched(kind, stream) as progress:

        def work(number: int) -> None:
            with progress.task("push", f"image {number}") as task:
                task.detail("x")
                task.advance(1, 2)
                task.advance(1, 2)
            progress.warn(f"image {number} is there")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(f"image {number} is there" in stream.getvalue() for number in range(6))


def test_the_page_has_each_event_with_its_fields() -> None:
    page = (ROOT / "docs" / "progress.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", page, re.MULTILINE))
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.result({})
    error = EngineError("broken", hint="mend it")
    error.ledger = (Outcome(image="pilot-debug", platform="linux/arm64", state="failed", error="broken"),)
    error.releases = (ReleaseEnd(release="1.29.0", state="failed", exit_code=6, error="broken"),)
    lines.error(error)
    told = [json.loads(line) for line in (shown("json") + stream.getvalue()).splitlines()]
    common = {"v", "time", "event"}
    assert {event["event"]: set(event) - common for event in told} == {
        name: set(re.findall(r"`([a-z_]+)`", rows[name])) for name in {event["event"] for event in told}
    }
    assert len({event["event"] for event in told}) == 8


def live_at(width: int, monkeypatch: pytest.MonkeyPatch, **variables: str) -> str:
    """What a terminal of this width is sent of tasks with long names, while they run."""
    for name, value in {"COLUMNS": str(width), "TERM": "xterm", **variables}.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    with watched("tty", stream) as progress, progress.task("assemble", "proxyv2-distroless linux/arm64, linux/amd64") as task:
        task.reach(500_000_000, 1_000_000_000)
        with progress.task("compile", "istioctl linux/arm64") as compiling:
            compiling.detail(f"go: downloading {'long/' * 40} v1.2.3")
            # It is drawn some ten times a second.
            end = monotonic() + 10
            while "go: downloading" not in stream.getvalue() and monotonic() < end:
                sleep(0.01)
    return stream.getvalue()


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_a_terminal_of_any_width_shows_stage_and_time_of_what_runs(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", live_at(width, monkeypatch))
    running = [row.rstrip() for row in re.split(r"[\r\n]+", shown) if "istioctl" in row or "proxyv2" in row]
    assert len(running) >= 2
    for row in running:
        assert re.fullmatch(r". (assemble|compile )  ?\S.* \d:\d\d:\d\d", row), row
        assert len(row) <= width
    assert "500.0 MB of 1.0 GB" in shown
    assert "go: downloading" in shown


def test_a_live_display_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    colour = r"\x1b\[(?:\d+;)*(?:3|4|9)\d(?:;\d+)*m"
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert re.search(colour, live_at(60, monkeypatch))
    assert not re.search(colour, live_at(60, monkeypatch, NO_COLOR="1"))


@pytest.mark.parametrize(("value", "code"), [("", "\x1b[31m"), ("1", "")])
def test_an_error_is_red_unless_colours_are_not_wanted(value: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    Voice((), {"NO_COLOR": value}).error(EngineError("no engine"))
    assert stream.getvalue() == f"{code}\x1b[1merror: \x1b[0mno engine\n"
