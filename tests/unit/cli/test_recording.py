"""What a command leaves behind of its run, however that ends."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest

from builder.cli.recording import Recording, recorded
from builder.cli.telling import Outlet, open_outlets, tell
from builder.cli.voice import Voice
from builder.config.merged import Given
from builder.config.outputs import NOTHING_MORE, Outputs
from builder.config.settings import Job, make_job
from builder.errors import AccessDenied, BuilderError, Outcome, RequestError
from builder.pipeline.report import ReleaseOutcome
from builder.report.record import RunRecord
from builder.runtime.progress import Progress
from tests.samples.plans import make_sample_plan
from tests.samples.runs import GOOD_RUN, HUB, REPORT
from tests.unit.report.test_metrics import samples, value


def make_run_job(outputs: Outputs) -> Job:
    given = {"hub": Given(words=(str(HUB),), origin="--hub"), "source": Given(words=(".",), origin="--source")}
    return replace(make_job(given, None), outputs=outputs)


def in_a_run(outputs: Outputs, act: Callable[[Recording, Progress], None]) -> None:
    """A run of `push` in which this is done."""
    with (
        click.Context(click.Command("push"), info_name="push", obj=Voice()) as context,
        recorded(context, make_run_job(outputs)) as recording,
    ):
        act(recording, Progress(recording.over(lambda event: None)))


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(report=tmp_path / "made" / "reports", trace=tmp_path / "trace.json", metrics=tmp_path / "job.prom")


def report_of(outputs: Outputs) -> dict[str, object]:
    assert outputs.report
    document: dict[str, object] = json.loads((outputs.report / "report.json").read_text())
    return document


def go_well(recording: Recording, progress: Progress) -> None:
    with progress.task("push", "pilot linux/arm64"):
        pass
    progress.warn("mind this")
    recording.achieved(REPORT)


def fail(recording: Recording, progress: Progress) -> None:
    error = AccessDenied("the hub refused us", hint="Log in.", status=401)
    error.ledger = (Outcome(image="pilot-debug", platform="linux/arm64", state="built"),)
    with progress.task("push", "pilot linux/arm64"):
        raise error


class TestARunThatGoesWell:
    def test_leaves_a_page_a_trace_and_metrics(self, outputs: Outputs) -> None:
        in_a_run(outputs, go_well)
        assert outputs.report
        assert outputs.trace
        assert outputs.metrics
        assert "mind this" in (outputs.report / "index.html").read_text()
        document = report_of(outputs)
        assert (document["ok"], document["command"], document["hubs"]) == (True, "push", [str(HUB)])
        events = json.loads(outputs.trace.read_text())["traceEvents"]
        assert [event["name"] for event in events if event["ph"] == "X"] == ["pilot linux/arm64"]
        assert value(outputs.metrics.read_text(), "last_run_success") == 1

    def test_leaves_nothing_where_nothing_is_wanted(self, tmp_path: Path) -> None:
        in_a_run(NOTHING_MORE, go_well)
        assert list(tmp_path.iterdir()) == []

    def test_takes_all_that_it_is_told_where_nobody_hears_of_it(self) -> None:
        def go_on(recording: Recording, progress: Progress) -> None:
            recording.planned(make_sample_plan())
            go_well(recording, progress)
            recording.concluded(ReleaseOutcome(release="1.29.0", report=REPORT))
            recording.ended(None)

        in_a_run(NOTHING_MORE, go_on)


class TestARunThatFails:
    def test_fails_as_it_would_where_nobody_hears_of_it(self) -> None:
        with pytest.raises(AccessDenied, match="the hub refused us"):
            in_a_run(NOTHING_MORE, fail)

    def test_leaves_the_same_and_fails_as_it_would(self, outputs: Outputs) -> None:
        in_a_run(outputs, go_well)
        with pytest.raises(AccessDenied, match="the hub refused us"):
            in_a_run(outputs, fail)
        assert outputs.report
        assert outputs.metrics
        page = (outputs.report / "index.html").read_text()
        assert "the hub refused us" in page
        assert "Log in." in page
        assert "pilot-debug" in page
        assert report_of(outputs)["ok"] is False
        metrics = outputs.metrics.read_text()
        assert value(metrics, "last_run_success") == 0
        assert value(metrics, "last_success_timestamp_seconds")
        assert samples(metrics, "failures_total") == {"14": 1}

    @pytest.mark.parametrize(
        ("error", "code", "told"),
        [
            (OSError(28, "No space left on device", "/x"), 17, "/x"),
            (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
            (click.exceptions.Abort(), 130, "interrupted"),
            (click.UsageError("no such thing"), 2, "no such thing"),
            (ZeroDivisionError("secret"), 1, "istio-build itself failed: ZeroDivisionError"),
        ],
    )
    def test_whatever_it_fails_with_is_told_as_it_is_at_the_end(
        self, outputs: Outputs, error: Exception, code: int, told: str
    ) -> None:
        def act(recording: Recording, progress: Progress) -> None:
            raise error

        with pytest.raises(type(error)):
            in_a_run(outputs, act)
        found = report_of(outputs)["error"]
        assert isinstance(found, dict)
        assert found["exit_code"] == code
        assert told in found["message"]

    def test_a_reader_that_stops_reading_is_no_failure(self, outputs: Outputs) -> None:
        def act(recording: Recording, progress: Progress) -> None:
            raise BrokenPipeError

        with pytest.raises(BrokenPipeError):
            in_a_run(outputs, act)
        assert report_of(outputs)["ok"] is True


class TestWhatCannotBeWritten:
    @pytest.mark.parametrize(
        ("make", "told"),
        [
            (lambda work: Outputs(report=work / "file"), "--report"),
            (lambda work: Outputs(report=work / "file" / "below"), "--report"),
            (lambda work: Outputs(trace=work / "none" / "trace.json"), "--trace: there is no directory"),
            (lambda work: Outputs(metrics=work), "--metrics .*: that is a directory"),
        ],
    )
    def test_is_told_before_any_work(self, make: Callable[[Path], Outputs], told: str, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        def act(recording: Recording, progress: Progress) -> None:
            pytest.fail("the run began")

        with pytest.raises(RequestError, match=told):
            in_a_run(make(tmp_path), act)

    def test_changes_nothing_about_how_the_run_ends(self, outputs: Outputs, capsys: pytest.CaptureFixture[str]) -> None:
        def act(recording: Recording, progress: Progress) -> None:
            # What could be written at the beginning cannot any more.
            assert outputs.report
            outputs.report.rmdir()
            outputs.report.touch()
            go_well(recording, progress)

        in_a_run(outputs, act)
        assert f"warning: the report ({outputs.report}) could not be told how the run ended" in capsys.readouterr().err
        assert outputs.metrics
        assert value(outputs.metrics.read_text(), "last_run_success") == 1

    def test_what_fails_first_keeps_nobody_else_from_being_told(self) -> None:
        told: list[str] = []

        def refuse(record: RunRecord) -> None:
            raise BuilderError("no")

        outlets = (Outlet(name="a", tell=refuse), Outlet(name="b", tell=lambda record: told.append(record.id)))
        warnings: list[str] = []
        tell(outlets, GOOD_RUN, warnings.append)
        assert (told, warnings) == ([GOOD_RUN.id], ["a could not be told how the run ended: no"])

    def test_an_interruption_then_ends_only_the_telling(self) -> None:
        def interrupt(record: RunRecord) -> None:
            raise KeyboardInterrupt

        warnings: list[str] = []
        tell((Outlet(name="a", tell=interrupt),), GOOD_RUN, warnings.append)
        assert "interrupted" in warnings[0]


class TestSeveralReleases:
    def test_each_has_its_own_inputs_report_or_error(self) -> None:
        plan = make_sample_plan()
        recording = Recording("nightly", ())
        recording.planned(plan)
        recording.concluded(ReleaseOutcome(release="1.30.0", error=BuilderError("no")))
        recording.planned(plan)
        recording.concluded(ReleaseOutcome(release="1.29.0", report=REPORT))
        recording.concluded(ReleaseOutcome(release="1.28.0", error=BuilderError("no such release")))
        recording.planned(plan)
        recording.concluded(ReleaseOutcome(release="1.27.0", report=REPORT, error=BuilderError("wrong")))
        recording.ended(BuilderError("some failed"))
        record = recording.record(None)
        first, second, third, last = record.releases
        assert (first.report, first.inputs and first.inputs.commit, first.error and first.error.message) == (
            None,
            plan.commit,
            "no",
        )
        assert (second.report, second.inputs and second.inputs.commit, second.error) == (REPORT, plan.commit, None)
        assert (third.version, third.inputs, third.error and third.error.message) == ("1.28.0", None, "no such release")
        assert (last.report, last.error and last.error.message) == (REPORT, "wrong")
        assert record.error
        assert record.error.message == "some failed"

    def test_hubs_that_have_it_not_are_how_the_run_ends(self) -> None:
        recording = Recording("push", ())
        recording.achieved(replace(REPORT, failure=BuilderError("1 of 2 hubs")))
        error = recording.record(None).error
        assert error
        assert error.message == "1 of 2 hubs"


def test_what_is_wanted_of_everything_is_opened_in_one_place(outputs: Outputs) -> None:
    names = [outlet.name for outlet in open_outlets(outputs, {})]
    assert names == [f"the report ({outputs.report})", f"the trace ({outputs.trace})", f"the metrics ({outputs.metrics})"]
