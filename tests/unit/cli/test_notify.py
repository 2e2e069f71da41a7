"""Notifications reach whom they are for, and say to nobody else who that is."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from builder.cli.notify import open_services
from builder.cli.telling import open_outlets, tell
from builder.config.outputs import Outputs
from builder.errors import RequestError
from builder.report.record import RecordedError, RunRecord
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HOSTILE_RUN

SECRET = "s3cr3t-w0rd"


@dataclass
class Receiver:
    """A web server that takes what it is sent; `status` is what it answers."""

    address: str
    status: int = 200
    received: list[dict[str, Any]] = field(default_factory=list)

    @property
    def outputs(self) -> Outputs:
        return Outputs(notify=(f"json://me:{SECRET}@{self.address}/hook",), notify_on="always")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(found.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        found.address = f"127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()
        thread.join()


def tell_of(run: RunRecord, outputs: Outputs) -> list[str]:
    """Tell of a run; gives the warnings."""
    warnings: list[str] = []
    tell(open_outlets(outputs, {}), run, warnings.append)
    return warnings


def test_a_webhook_gets_what_failed_and_what_to_do(receiver: Receiver) -> None:
    assert tell_of(FAILED_RUN, receiver.outputs) == []
    (told,) = receiver.received
    assert told["type"] == "failure"
    assert told["title"].startswith("istio-build push")
    assert "undefined: app.NewRootCommand" in told["message"]
    assert "What to do: " in told["message"]


def test_what_changed_and_where_the_page_is(receiver: Receiver, tmp_path: Path) -> None:
    outputs = Outputs(
        notify=receiver.outputs.notify, notify_on="change", report=tmp_path, report_url="https://reports.corp.example/"
    )
    assert tell_of(GOOD_RUN, outputs) == []
    (told,) = receiver.received
    assert told["type"] == "success"
    assert "- pilot-debug built: Go 1.25.8 → 1.25.9; the hub lost linux/arm64" in told["message"]
    link = told["message"].splitlines()[-1].removeprefix("Report: https://reports.corp.example/")
    assert (tmp_path / link).is_file()


def test_nobody_is_told_of_what_they_do_not_want_to_know(receiver: Receiver) -> None:
    assert tell_of(GOOD_RUN, Outputs(notify=receiver.outputs.notify, notify_on="failure")) == []
    assert receiver.received == []


def test_whoever_interrupts_a_run_is_not_told_of_it(receiver: Receiver) -> None:
    error = RecordedError(message="interrupted", hint="", exit_code=130)
    run = RunRecord(id="0" * 8, command="push", tool="t", began=GOOD_RUN.began, seconds=1, hubs=(), error=error)
    assert tell_of(run, receiver.outputs) == []
    assert receiver.received == []


def test_what_others_have_written_arrives_as_text(receiver: Receiver) -> None:
    assert tell_of(HOSTILE_RUN, receiver.outputs) == []
    assert "<script>" in receiver.received[0]["message"]


def test_one_that_fails_is_a_warning_without_its_address(
    receiver: Receiver, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    receiver.status = 500
    silent = Outputs(notify=(f"json://me:{SECRET}@127.0.0.1:9/{SECRET}", *receiver.outputs.notify), notify_on="always")
    warnings = tell_of(GOOD_RUN, silent)
    assert [warning.partition(":")[0] for warning in warnings] == [
        "address 1 of --notify could not be told how the run ended",
        "address 2 of --notify could not be told how the run ended",
    ]
    assert len(receiver.received) == 1
    shown = capsys.readouterr()
    for text in (*warnings, shown.out, shown.err, caplog.text):
        assert SECRET not in text
        assert receiver.address not in text


def test_no_address_is_shown_with_the_settings(receiver: Receiver) -> None:
    assert SECRET not in repr(receiver.outputs) + str(receiver.outputs)


@pytest.mark.parametrize("address", [f"nosuch://{SECRET}", SECRET, f"json://me:{SECRET}@", f"slack://{SECRET}"])
def test_an_address_that_nobody_knows_is_told_before_any_work_and_not_shown(address: str) -> None:
    with pytest.raises(RequestError) as caught:
        open_services(("json://127.0.0.1/", address), {})
    assert caught.value.message.startswith("address 2 of --notify is none that apprise knows")
    assert SECRET not in caught.value.message + caught.value.hint


class TestVariables:
    def test_an_address_may_be_in_one(self, receiver: Receiver) -> None:
        outputs = Outputs(notify=("$HOOK", "${HOOK}"), notify_on="always")
        tell(open_outlets(outputs, {"HOOK": receiver.outputs.notify[0]}), GOOD_RUN, pytest.fail)
        assert len(receiver.received) == 2
        assert outputs.variables == {"HOOK"}

    @pytest.mark.parametrize("environment", [{}, {"HOOK": ""}])
    def test_one_that_is_not_set_is_told_before_any_work(self, environment: dict[str, str]) -> None:
        with pytest.raises(RequestError, match="address 1 of --notify is in the variable HOOK, which is not set"):
            open_services(("$HOOK",), environment)
