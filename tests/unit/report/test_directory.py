"""The directory of a job's pages: the newest, and a month of those before it."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from builder.cli.record_view import record_text
from builder.report.directory import KEPT_RUNS, digests_before, read_kept, read_text, write_run
from builder.report.record import RunRecord
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HUB, REPORT
from tests.unit.report.test_page import Page


def write(directory: Path, run: RunRecord) -> None:
    kept = read_kept(directory)
    run = replace(run, before=digests_before(kept))
    write_run(directory, run, record_text(run), kept)


def night(number: int) -> RunRecord:
    """A run that went well, of one of many nights."""
    return replace(GOOD_RUN, began=f"2026-{4 + number // 28:02}-{1 + number % 28:02}T03:00:00Z", id=f"{number:08x}")


def names(directory: Path, ending: str) -> list[str]:
    return sorted(path.name for path in directory.glob(f"*{ending}"))


def test_the_newest_run_is_the_index_and_has_a_page_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, GOOD_RUN)
    assert names(tmp_path, "") == sorted(["index.html", "report.json", f"{GOOD_RUN.name}.html", f"{GOOD_RUN.name}.json"])
    assert (tmp_path / "report.json").read_text() == (tmp_path / f"{GOOD_RUN.name}.json").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["id"] == GOOD_RUN.id


def test_runs_before_are_linked_from_it_the_newest_first(tmp_path: Path) -> None:
    for run in (GOOD_RUN, FAILED_RUN, night(1)):
        write(tmp_path, run)
    page = Page((tmp_path / "index.html").read_text())
    assert page.attributes("href")[2:] == [f"{FAILED_RUN.name}.html", f"{GOOD_RUN.name}.html"]
    assert "failed (7): 1 of 6 images could not be built" in page.text
    assert json.loads((tmp_path / "report.json").read_text())["id"] == night(1).id


def test_what_is_older_than_a_month_of_nights_goes(tmp_path: Path) -> None:
    (tmp_path / "notes.html").touch()
    for number in range(KEPT_RUNS + 3):
        write(tmp_path, night(number))
    newest = [night(number).name for number in range(3, KEPT_RUNS + 3)]
    assert names(tmp_path, ".html") == [*(f"{name}.html" for name in newest), "index.html", "notes.html"]
    assert names(tmp_path, ".json") == [*(f"{name}.json" for name in newest), "report.json"]
    # Every page that is linked is there.
    links = [link for link in Page((tmp_path / "index.html").read_text()).attributes("href") if link.endswith(".html")]
    assert len(links) == KEPT_RUNS - 1
    assert all((tmp_path / link).exists() for link in links)


def test_an_image_is_held_beside_the_last_run_that_published_it(tmp_path: Path) -> None:
    before = replace(REPORT, images=(replace(REPORT.images[0], digest=REPORT.images[1].digest),))
    write(tmp_path, replace(GOOD_RUN, releases=(replace(GOOD_RUN.releases[0], report=before),)))
    write(tmp_path, FAILED_RUN)
    write(tmp_path, night(1))
    page = (tmp_path / "index.html").read_text()
    assert f"<code>{REPORT.images[1].digest}</code>" in page
    assert digests_before(read_kept(tmp_path))[f"{HUB}/istioctl:1.29.0"] == str(REPORT.images[0].digest)


def test_what_was_only_built_was_never_at_a_tag(tmp_path: Path) -> None:
    write(tmp_path, replace(GOOD_RUN, releases=(replace(GOOD_RUN.releases[0], report=replace(REPORT, traffic=None)),)))
    assert digests_before(read_kept(tmp_path)) == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"ok": true, "releases": 5}',
        '{"began": []}',
        "[" * 100_000,
        '{"ok": true, "releases": [{"report": [1]}]}',
        '{"ok": true, "releases": [{"report": {"traffic": {}, "images": {"a": 1}}}]}',
        '{"ok": true, "releases": [{"report": {"traffic": {"a": 1}, "images": {"a": 1}}}]}',
    ],
)
def test_what_cannot_be_read_is_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "20260201T030000Z-00000000.json").write_text(text)
    (tmp_path / "other.json").write_text(record_text(GOOD_RUN))
    write(tmp_path, GOOD_RUN)
    assert [entry.run.name for entry in read_kept(tmp_path) if entry.run.began] == [GOOD_RUN.name]


def test_a_file_that_cannot_be_written_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    write(tmp_path, GOOD_RUN)
    before = (tmp_path / "report.json").read_bytes()
    (tmp_path / f"{FAILED_RUN.name}.html").mkdir()
    with pytest.raises(OSError, match=FAILED_RUN.name):
        write(tmp_path, FAILED_RUN)
    assert (tmp_path / "report.json").read_bytes() == before
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".partial")]


def test_a_path_that_is_no_text_is_written_out(tmp_path: Path) -> None:
    write(tmp_path, replace(GOOD_RUN, hubs=("a\udcffb",)))
    assert "a\\udcffb" in (tmp_path / "index.html").read_text()


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_text(tmp_path / "none", 10) == ""
    (tmp_path / "some").write_bytes(b"0123456789\xff")
    assert (read_text(tmp_path / "some", 5), read_text(tmp_path / "some", 100)) == ("01234", "0123456789\ufffd")
