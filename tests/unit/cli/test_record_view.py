"""A run as JSON is what its schema says."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from builder.cli.record_view import record_json
from builder.cli.report_view import report_json
from builder.oci.reference import Hub
from builder.report.record import RunRecord
from tests import ROOT
from tests.samples.hubs import SampleHub, only_one_platform
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HOSTILE_RUN, INPUTS, NIGHT_RUN, REPORT
from tests.unit.cli.test_verify_view import verified

SCHEMAS = ROOT / "docs" / "schemas"


def schema(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((SCHEMAS / name).read_text())
    return document


def validate(name: str, document: dict[str, Any]) -> None:
    """Other schemas stand beside the one that names them."""
    validator = jsonschema_rs.validator_for(schema(name), retriever=lambda uri: schema(uri.rpartition("/")[2]))
    validator.validate(json.loads(json.dumps(document)))


@pytest.mark.parametrize("run", [GOOD_RUN, FAILED_RUN, NIGHT_RUN])
def test_a_run_is_what_its_schema_says(run: RunRecord) -> None:
    jsonschema_rs.meta.validate(schema("run.json"))
    validate("run.json", record_json(run))


def test_so_is_one_that_went_on_after_a_release_had_failed() -> None:
    # What others call their versions and files is any text; only digests and platforms have a form.
    assert HOSTILE_RUN.releases[0].report
    validate("run.json", record_json(HOSTILE_RUN))


def test_so_is_one_of_verify(tmp_path: Path) -> None:
    hub = SampleHub(Hub.parse("docker.io/me").repository("pilot"))
    run = replace(GOOD_RUN, releases=(), verification=verified(hub, tmp_path, only_one_platform(hub)), verified_release="1.29.0")
    document = record_json(run)
    validate("run.json", document)
    assert document["verification"]["release"] == "1.29.0"
    assert document["changed"] is False


@pytest.mark.parametrize(
    "change",
    [{"schema_version": 2}, {"more": 1}, {"id": "x"}, {"tasks": [{}]}, {"verification": {}}, {"error": {}}, {"releases": [{}]}],
)
def test_the_schema_refuses_what_is_not_in_it(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema_rs.ValidationError):
        validate("run.json", {**record_json(GOOD_RUN), **change})


def test_a_report_in_it_is_what_its_own_schema_says() -> None:
    document = record_json(GOOD_RUN)
    document["releases"][0]["report"]["more"] = 1
    with pytest.raises(jsonschema_rs.ValidationError):
        validate("run.json", document)


class TestTheReportOfOneRelease:
    def test_it_is_what_its_schema_says(self) -> None:
        jsonschema_rs.meta.validate(schema("report.json"))
        validate("report.json", report_json(REPORT))
        built = replace(REPORT, traffic=None, images=(replace(REPORT.images[0], layout="out/istioctl-debug"),))
        validate("report.json", report_json(built))

    @pytest.mark.parametrize("change", [{"schema_version": 2}, {"more": 1}, {"images": [{}]}, {"traffic": {}}, {"seconds": "1"}])
    def test_the_schema_refuses_what_is_not_in_it(self, change: dict[str, Any]) -> None:
        with pytest.raises(jsonschema_rs.ValidationError):
            validate("report.json", {**report_json(REPORT), **change})

    def test_reasons_are_told_where_there_are_any(self) -> None:
        first, second, *_ = report_json(REPORT)["images"]
        assert [reason["text"] for reason in first["reasons"]] == ["Go 1.25.8 → 1.25.9"]
        assert "reasons" not in second


def test_a_run_says_what_it_was_made_of_and_how_it_went() -> None:
    document = record_json(FAILED_RUN)
    assert (document["ok"], document["changed"], document["error"]["exit_code"]) == (False, False, 7)
    assert document["error"]["images"][0] == {
        "image": "pilot-debug",
        "platform": "linux/amd64",
        "state": "failed",
        "error": "go build failed: undefined: app.New",
        "hub": "",
    }
    assert document["releases"][0]["inputs"]["bases"] == dict(INPUTS.bases)
    assert document["tasks"][-1]["state"] == "cut off"
