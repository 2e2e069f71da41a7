"""What the doctor found, for people and for programs."""

import json

import jsonschema_rs

from builder.cli.doctor_view import doctor_json, doctor_table, doctor_verdict
from builder.doctor.finding import Checked, failed, ok, skipped, warning
from tests import ROOT

FOUND = (
    Checked(name="git", subject="", finding=ok("git 2.39.5"), seconds=0.01),
    Checked(name="disk", subject="/x", finding=warning("1.0 GB free", "a first build may not fit", "`prune`"), seconds=0.02),
    Checked(name="push", subject="r.test/x", finding=failed("403\x1b[31m", "no tag can move", "`docker login`"), seconds=1.23456),
    Checked(name="source", subject="", finding=skipped("none was given"), seconds=0.0),
)


def test_the_table_says_what_it_means_and_what_mends_it() -> None:
    assert doctor_table(FOUND).splitlines() == [
        "ok       git            git 2.39.5",
        "warning  disk /x        1.0 GB free",
        "         → a first build may not fit",
        "         `prune`",
        "failed   push r.test/x  403\\x1b[31m",
        "         → no tag can move",
        "         `docker login`",
        "skipped  source         none was given",
        "",
        "1 ok, 1 warning, 1 failed, 1 skipped",
    ]


def test_only_what_failed_is_the_verdict() -> None:
    assert doctor_verdict(FOUND) == "push r.test/x"
    assert doctor_verdict(FOUND[:2]) == ""


def test_json_is_as_its_schema_says() -> None:
    document = doctor_json(FOUND)
    jsonschema_rs.validate(json.loads((ROOT / "docs" / "schemas" / "doctor.json").read_text()), document)
    assert (document["ok"], document["summary"]) == (False, {"ok": 1, "warning": 1, "failed": 1, "skipped": 1})
    assert document["checks"][2]["seconds"] == 1.235
    assert doctor_json(FOUND[:2])["ok"]
