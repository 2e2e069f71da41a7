"""A run of several releases, for people and for programs; and what is told of it when nobody wants to hear."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.cli.metadata_file import MetadataFile
from builder.cli.run_view import metadata_json, outcome_json, run_json, run_references, run_summary
from builder.cli.voice import Voice
from builder.errors import CompileError, RequestError
from builder.pipeline.report import ReleaseOutcome, RunReport
from tests import ROOT
from tests.samples.images import make_digest
from tests.unit.cli.test_report_view import HUB, REPORT, words

UNCHANGED = replace(
    REPORT,
    version="1.28.0",
    images=tuple(replace(image, state="unchanged") for image in REPORT.images),
    traffic=replace(REPORT.traffic, tags_moved=0) if REPORT.traffic else None,
)
PUSHED = ReleaseOutcome(release="1.29.0", report=REPORT)
SAME = ReleaseOutcome(release="1.28.0", report=UNCHANGED)
FAILED = ReleaseOutcome(release="1.27.0", error=CompileError("no pilot", hint="Mend it."))
RUN = RunReport(releases=(PUSHED, SAME, FAILED, ReleaseOutcome(release="1.26.0")), seconds=13.04)


def test_a_run_in_a_line() -> None:
    assert run_summary(RUN) == (
        "1.29.0 pushed (1 image made, 4 tags moved), 1.28.0 unchanged, 1.27.0 failed (code 7), 1.26.0 skipped; 13.0 s"
    )
    assert run_summary(RunReport(releases=(SAME, replace(SAME, release="1.27.0")), seconds=1.0)) == (
        "nothing changed: 1.28.0, 1.27.0; 1.0 s"
    )
    wrong = replace(SAME, error=CompileError("wrong"))
    assert run_summary(RunReport(releases=(wrong,), seconds=1.0)) == "1.28.0 failed (code 7), though it is at the hub; 1.0 s"


def test_json_has_everything() -> None:
    document = json.loads(json.dumps(run_json(RUN)))
    assert [(each["release"], each["state"]) for each in document["releases"]] == [
        *[("1.29.0", "pushed"), ("1.28.0", "unchanged"), ("1.27.0", "failed"), ("1.26.0", "skipped")]
    ]
    assert document["releases"][2]["error"] == {"message": "no pilot", "hint": "Mend it.", "exit_code": 7}
    assert document["releases"][2]["report"] is None
    assert document["releases"][0]["report"]["version"] == "1.29.0"
    assert (document["changed"], document["seconds"]) == (True, 13.04)


def test_the_page_has_every_field() -> None:
    table = (ROOT / "docs" / "progress.md").read_text().partition("## Several releases")[2].partition("##")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", table, re.MULTILINE))
    assert list(rows) == list(run_json(RUN))
    within = words(re.sub(r"\([^)]*\)", "", rows["releases"]))
    assert within == list(outcome_json(PUSHED))
    assert {"pushed", "unchanged", "failed", "skipped"} <= set(words(rows["releases"]))


def test_references_are_those_of_all_releases_at_the_hub() -> None:
    lines = run_references(RUN).splitlines()
    assert len(lines) == 6
    assert lines[0] == f"{HUB}/istioctl:1.29.0@{make_digest('istioctl')}"


def test_metadata_is_by_version_and_image_as_buildx_names_it() -> None:
    assert metadata_json((REPORT,)) == {
        "1.29.0": {
            "istioctl-debug": {
                "containerimage.digest": str(make_digest("istioctl")),
                "image.name": f"{HUB}/istioctl:1.29.0,{HUB}/istioctl:1.29.0-debug",
            },
            "pilot-debug": {"containerimage.digest": str(make_digest("pilot")), "image.name": f"{HUB}/pilot:1.29.0"},
        }
    }


class TestMetadataFile:
    def test_it_never_tells_of_another_run(self, tmp_path: Path) -> None:
        path = tmp_path / "pushed.json"
        path.write_text("of last night")
        file = MetadataFile(str(path))
        assert json.loads(path.read_text()) == {}
        file.write((REPORT,))
        assert list(json.loads(path.read_text())) == ["1.29.0"]
        file.write((REPORT, UNCHANGED))
        assert list(json.loads(path.read_text())) == ["1.29.0", "1.28.0"]
        assert list(tmp_path.iterdir()) == [path]

    def test_where_none_is_wanted_none_is_written(self) -> None:
        MetadataFile("").write((REPORT,))

    def test_one_that_cannot_be_written_is_told_before_anything_begins(self, tmp_path: Path) -> None:
        with pytest.raises(RequestError, match=r"cannot write .*none/pushed\.json: No such file or directory"):
            MetadataFile(str(tmp_path / "none" / "pushed.json"))


TELLS: dict[str, Callable[[Voice], None]] = {
    "report": lambda voice: voice.report(REPORT, installable=True),
    "release": lambda voice: voice.release(PUSHED),
    "run": lambda voice: voice.run(RUN),
}


class TestVoice:
    @pytest.mark.parametrize("tell", TELLS)
    @pytest.mark.parametrize(
        ("argv", "environment"),
        [
            (["push", "--progress", "quiet"], {}),
            (["push", "--progress=quiet"], {}),
            (["push"], {"ISTIO_BUILD_PROGRESS": "quiet"}),
            (["nightly", "--quiet"], {}),
        ],
    )
    def test_who_wants_to_hear_nothing_hears_nothing(
        self, tell: str, argv: list[str], environment: dict[str, str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        TELLS[tell](Voice(argv, environment))
        assert capsys.readouterr().err == ""

    def test_others_hear_of_each_release_and_of_the_run(self, capsys: pytest.CaptureFixture[str]) -> None:
        voice = Voice(["push"], {})
        voice.release(PUSHED)
        told = capsys.readouterr().err
        assert told.startswith("Istio 1.29.0: pushed (1 image made, 4 tags moved).\n")
        assert f"{HUB}/istioctl:1.29.0" in told
        voice.release(SAME)
        assert capsys.readouterr().err == "Istio 1.28.0: unchanged.\n"
        voice.run(RUN)
        assert capsys.readouterr().err == f"{run_summary(RUN)}\n"

    def test_errors_are_told_to_everybody(self, capsys: pytest.CaptureFixture[str]) -> None:
        Voice(["nightly", "--quiet"], {}).error(CompileError("no pilot"))
        assert "error: no pilot" in capsys.readouterr().err

    def test_programs_get_a_line_for_each(self, capsys: pytest.CaptureFixture[str]) -> None:
        voice = Voice(["push", "--progress", "json"], {})
        voice.release(FAILED)
        voice.run(RUN)
        first, last = (json.loads(line) for line in capsys.readouterr().err.splitlines())
        assert (first["event"], first["release"], first["state"], first["error"]["exit_code"]) == (
            "release",
            "1.27.0",
            "failed",
            7,
        )
        assert (last["event"], last["report"]) == ("result", run_json(RUN))
