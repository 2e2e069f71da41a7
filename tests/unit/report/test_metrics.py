"""The metrics of a run are what Prometheus reads, and keep what earlier runs have told."""

from dataclasses import replace
from datetime import datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from builder.report.metrics import run_metrics
from builder.report.record import RunRecord
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HOSTILE, HOSTILE_RUN, HUB

ENDED = datetime.fromisoformat("2026-03-01T03:00:07Z").timestamp() + 94


def samples(text: str, name: str) -> dict[str, float]:
    """The values of one metric, by the label that is not of every one."""
    return {
        "".join(value for label, value in sample.labels.items() if label not in ("command", "hub")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == f"istio_build_{name}"
    }


def value(text: str, name: str) -> float | None:
    """The value of a metric that has no label but those of every one, None where it is not there."""
    return samples(text, name).get("")


class TestOneRun:
    def test_what_a_good_run_tells(self) -> None:
        text = run_metrics(GOOD_RUN)
        assert value(text, "last_run_success") == 1
        assert value(text, "last_run_timestamp_seconds") == value(text, "last_success_timestamp_seconds") == ENDED
        assert value(text, "last_run_duration_seconds") == 94
        assert samples(text, "last_run_images") == {"built": 3, "mirrored": 1, "unchanged": 2}
        assert value(text, "last_run_sent_bytes") == 231_400_000
        assert samples(text, "last_run_blobs") == {"uploaded": 23, "mounted": 8, "present": 12}
        assert value(text, "last_run_tags_moved") == 9
        assert value(text, "last_run_retries") == value(text, "last_run_warnings") == 1
        assert samples(text, "last_run_stage_duration_seconds")["compile"] == pytest.approx(75.1)

    def test_every_sample_says_which_job_it_is_of(self) -> None:
        for family in text_string_to_metric_families(run_metrics(GOOD_RUN)):
            for sample in family.samples:
                assert (sample.labels["command"], sample.labels["hub"]) == ("push", str(HUB))

    @pytest.mark.parametrize("run", [GOOD_RUN, FAILED_RUN, HOSTILE_RUN])
    def test_each_metric_has_a_meaning_and_a_type_and_a_name_as_prometheus_wants_it(self, run: RunRecord) -> None:
        text = run_metrics(run)
        families = list(text_string_to_metric_families(text))
        assert len(families) > 5
        for family in families:
            assert family.documentation.endswith(".")
            assert family.type in ("gauge", "counter")
            told = [sample.name for sample in family.samples]
            assert all(name.endswith("_total") for name in told) == (family.type == "counter")
        lines = [line for line in text.split("\n") if line.startswith("# ")]
        assert len(lines) == len(set(lines)) == 2 * len(families)
        assert text.endswith("\n")

    def test_what_stands_in_labels_is_escaped(self) -> None:
        odd = f'a"b\\c\nd {HOSTILE}'
        text = run_metrics(replace(GOOD_RUN, hubs=(odd,)))
        assert {sample.labels["hub"] for family in text_string_to_metric_families(text) for sample in family.samples} == {odd}


class TestRunsBefore:
    def test_a_failure_keeps_when_a_run_last_succeeded(self) -> None:
        text = run_metrics(FAILED_RUN, run_metrics(GOOD_RUN))
        assert value(text, "last_run_success") == 0
        assert value(text, "last_success_timestamp_seconds") == ENDED
        assert value(text, "last_run_timestamp_seconds") == pytest.approx(ENDED + 24 * 3600 - 2 - 94 + 41.7)

    def test_where_none_has_succeeded_nothing_is_said_of_when(self) -> None:
        assert value(run_metrics(FAILED_RUN), "last_success_timestamp_seconds") is None
        assert value(run_metrics(FAILED_RUN), "last_run_sent_bytes") is None

    def test_runs_and_failures_are_counted(self) -> None:
        assert FAILED_RUN.error
        refused = replace(FAILED_RUN, error=replace(FAILED_RUN.error, exit_code=14))
        text = ""
        for run in (GOOD_RUN, FAILED_RUN, refused, FAILED_RUN, GOOD_RUN):
            text = run_metrics(run, text)
        assert value(text, "runs_total") == 5
        assert samples(text, "failures_total") == {"7": 2, "14": 1}

    @pytest.mark.parametrize(
        "earlier",
        [
            "istio_build_runs_total{} 1e999\n",
            "istio_build_runs_total{} NaN\n",
            f"istio_build_runs_total{{}} {'9' * 400}\n",
            "istio_build_runs_total{hub=\n",
            "\x00\ufffd",
            '# HELP istio_build_runs_total istio_build_runs_total{} 7\nother_runs_total{} 7\n"',
        ],
    )
    def test_what_is_none_of_ours_counts_for_nothing(self, earlier: str) -> None:
        assert value(run_metrics(GOOD_RUN, earlier), "runs_total") == 1

    def test_no_label_passes_for_a_code(self) -> None:
        text = run_metrics(replace(FAILED_RUN, hubs=('exit_code="5"',)))
        assert samples(run_metrics(FAILED_RUN, text), "failures_total") == {"7": 2}
