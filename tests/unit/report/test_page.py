"""The page of a run: complete, of itself alone, and harmless whatever anybody has written into a run."""

import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from builder.oci.reference import Hub
from builder.report.page import KeptRun, format_duration, run_page
from builder.report.record import RunRecord
from tests.samples.hubs import SampleHub, only_one_platform
from tests.samples.images import make_digest
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HOSTILE, HOSTILE_RUN, HUB, NIGHT_RUN, REPORT, TASKS, make_task
from tests.unit.cli.test_verify_view import verified

KEPT = KeptRun(name="20260228T030007Z-00000000", began="2026-02-28T03:00:07Z", command="push", summary="6 unchanged", ok=True)
# Elements that end at once.
VOID = {"meta", "br"}


class Page(HTMLParser):
    """What a browser makes of a page, and whether each element is closed where it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, str] = {}
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        within = self.open[-1] if self.open else ""
        self.texts[within] = self.texts.get(within, "") + data
        if within != "style":
            self.text += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture
def verify_run(tmp_path: Path) -> RunRecord:
    """A run of `verify` that found a platform missing."""
    hub = SampleHub(Hub.parse("docker.io/me").repository("pilot"))
    found = verified(hub, tmp_path, only_one_platform(hub))
    return replace(GOOD_RUN, command="verify", releases=(), verification=found)


class TestWhatItSays:
    def test_what_is_where(self) -> None:
        text = Page(run_page(GOOD_RUN)).text
        for image in REPORT.images:
            assert all(str(reference) in text for reference in image.references)
            assert str(image.digest) in text
            assert all(str(platform.digest) in text for platform in image.platforms)
        assert "38.9 MB" in text

    def test_what_changed_and_why(self) -> None:
        text = " ".join(Page(run_page(GOOD_RUN)).text.split())
        assert "Go 1.25.8 → 1.25.9; the hub lost linux/arm64" in text
        assert GOOD_RUN.before[f"{REPORT.hub}/istioctl:1.29.0"] in text
        assert "Unchanged: istioctl-distroless, pilot-distroless." in text
        assert "not in an earlier run" in text

    def test_which_tags_lead_elsewhere_now_and_where_they_were(self) -> None:
        text = " ".join(Page(run_page(NIGHT_RUN)).text.split())
        assert "pilot-debug built: commit 328ca463872f → 0123456789ab" in text
        assert "1.29.1 is new" in text
        assert f"1.29, latest were at {make_digest('old pilot')}" in text
        assert f"1.28 was at {make_digest('another')} Unchanged: istioctl-debug." in text
        # What is known of the hub itself needs no earlier run to be held against.
        assert "not in an earlier run" not in " ".join(Page(run_page(replace(NIGHT_RUN, before=GOOD_RUN.before))).text.split())

    def test_of_several_releases_it_says_first_what_became_of_each(self) -> None:
        page = Page(run_page(NIGHT_RUN))
        table = " ".join(page.text.partition("What became of it")[2].partition("What changed")[0].split())
        assert table.startswith(
            "1.29.1changed 1 built 1.28.0changed 2 unchanged, 1 tag moved 1.27.0unchanged "
            "1.26.0failed exit code 4: no such release 1.29.1 at"
        )
        ids = page.attributes("id")
        assert all(link.removeprefix("#") in ids for link in page.attributes("href") if link.startswith("#release"))
        # Where nothing changed, there is little to read.
        assert [name for name, _ in page.elements].count("details") == 2
        assert Page(run_page(GOOD_RUN)).text.count("What became of it") == 0

    def test_a_release_that_failed_before_it_was_planned_is_at_no_hub(self) -> None:
        text = " ".join(Page(run_page(NIGHT_RUN)).text.split())
        assert f"1.27.0 at {HUB}" in text
        assert "1.26.0 at" not in text

    def test_what_was_sent(self) -> None:
        text = " ".join(Page(run_page(GOOD_RUN)).text.split())
        assert "sent231.4 MB blobs uploaded23 blobs mounted8 blobs present12 tags moved9" in text

    def test_what_it_is_made_of(self) -> None:
        text = Page(run_page(GOOD_RUN)).text
        inputs = GOOD_RUN.releases[0].inputs
        assert inputs
        assert inputs.commit in text
        assert all(reference in text for _, reference in (*inputs.bases, *inputs.mirrors))
        assert all(artifact.location in text and artifact.sha256 in text for artifact in inputs.artifacts)

    def test_warnings_and_retries(self) -> None:
        text = Page(run_page(GOOD_RUN)).text
        assert "has changes that are not committed" in text
        assert "1 tried again" in text
        assert "HTTP 503; trying again in 1.4 s" in text
        # A note that is nothing of the kind is not among them.
        assert "go: downloading" not in text

    def test_how_it_failed_and_what_became_of_each_image(self) -> None:
        assert FAILED_RUN.error
        page = Page(run_page(FAILED_RUN))
        assert FAILED_RUN.error.message in page.text
        assert FAILED_RUN.error.hint in page.text
        assert "exit code 7" in page.text
        assert "go build failed: undefined: app.New" in page.text
        assert page.texts["title"].startswith("failed: istio-build push")

    def test_what_a_program_has_moved_in_stays_so(self) -> None:
        """Go's own words have tabs in them."""
        assert FAILED_RUN.error
        error = replace(FAILED_RUN.error, message="403 Forbidden\n\tserver response: no")
        assert "403 Forbidden\n\tserver response: no" in Page(run_page(replace(FAILED_RUN, error=error))).text

    def test_what_verify_found(self, verify_run: RunRecord) -> None:
        text = Page(run_page(verify_run)).text
        assert "missing-platform" in text
        assert "docker.io/me/pilot" in text
        assert "1 image verified, 1 fault" in text

    def test_runs_before_are_linked_on_the_newest_page_alone(self) -> None:
        newest, kept = Page(run_page(GOOD_RUN, [KEPT])), Page(run_page(GOOD_RUN))
        assert newest.attributes("href") == ["report.json", "#earlier", f"{KEPT.name}.html"]
        assert "6 unchanged" in newest.text
        assert kept.attributes("href") == [f"{GOOD_RUN.name}.json", "index.html"]

    def test_nothing_of_a_run_that_told_nothing(self) -> None:
        page = Page(run_page(RunRecord(id="0" * 8, command="push", tool="t", began=GOOD_RUN.began, seconds=0.0, hubs=())))
        assert "nothing to do" in page.text
        assert "svg" not in {name for name, _ in page.elements}


class TestTheTimeline:
    def test_each_task_is_a_bar_within_the_line(self) -> None:
        bars = [attributes for name, attributes in Page(run_page(GOOD_RUN)).elements if attributes.get("class") == "bar"]
        assert len(bars) == len(TASKS)
        for bar in bars:
            left, width = (float(bar[name].removesuffix("%")) for name in ("x", "width"))
            assert left >= 0
            assert left + width <= 100.01

    def test_a_bar_says_what_it_is(self) -> None:
        page = Page(run_page(FAILED_RUN))
        assert "compile istioctl, pilot-discovery linux/amd64: 36.8 s, failed" in page.texts["title"]
        assert "✗ istioctl, pilot-discovery" in page.texts["text"]
        # Without its platform, which the lane has.
        assert "pilot-agent linux/amd64" not in page.texts["text"]

    def test_tasks_that_took_no_time_in_a_run_that_took_none(self) -> None:
        run = replace(GOOD_RUN, seconds=0.0, tasks=(replace(TASKS[0], ended=0.0),))
        assert Page(run_page(run)).attributes("width") == ["0.3%", "100%"]

    @pytest.mark.parametrize(
        ("seconds", "marks"),
        [
            (0.45, "0 0.1 s 0.2 s 0.3 s 0.4 s"),
            (5, "0 1 s 2 s 3 s 4 s 5 s"),
            (94, "0 0:20 0:40 1:00 1:20"),
            (8000, "0 0:30:00 1:00:00 1:30:00 2:00:00"),
        ],
    )
    def test_its_marks_are_few_and_round(self, seconds: float, marks: str) -> None:
        page = run_page(replace(GOOD_RUN, seconds=seconds, tasks=(make_task("push", "x", 0, 0),)))
        axis = page.partition('class="lane axis"')[2].partition("</svg>")[0]
        assert " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", axis)) == marks

    @pytest.mark.parametrize(
        ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 0 s"), (247, "4 min 7 s"), (3725, "1 h 2 min")]
    )
    def test_durations(self, seconds: float, text: str) -> None:
        assert format_duration(seconds) == text


class TestHarm:
    @pytest.mark.parametrize("run", [GOOD_RUN, FAILED_RUN, NIGHT_RUN, HOSTILE_RUN])
    def test_nothing_is_taken_from_elsewhere_and_nothing_runs(self, run: RunRecord) -> None:
        page = Page(run_page(run, [KEPT]))
        assert {name for name, _ in page.elements}.isdisjoint(
            {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
        )
        names = {attribute for _, attributes in page.elements for attribute in attributes}
        assert not {name for name in names if name.startswith("on") or name in ("src", "style", "xlink:href")}
        assert all(
            re.fullmatch(r"#earlier|#release-[0-9]+|[0-9A-Za-z.-]+\.(html|json)", href) for href in page.attributes("href")
        )

    def test_a_browser_may_take_nothing_but_the_style_sheet_that_is_there(self) -> None:
        text = run_page(GOOD_RUN)
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        sum_of_style = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        (policy,) = [
            attributes["content"]
            for _, attributes in Page(text).elements
            if attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policy == f"default-src 'none'; style-src 'sha256-{sum_of_style}'; base-uri 'none'; form-action 'none'"
        assert not re.search(r"url\(|@import|@font-face", style)

    def test_what_others_have_written_is_text_and_nothing_else(self) -> None:
        text = run_page(HOSTILE_RUN, [replace(KEPT, summary=HOSTILE, command=HOSTILE, began=HOSTILE)])
        page = Page(text)
        assert "<script" not in text
        assert "<img" not in text
        assert page.text.count("<script>alert(1)</script>") > 20
        # Templates are not filled in twice.
        assert "{{ 7*7 }}" in page.text
        assert [name for name, _ in page.elements].count("style") == 1

    def test_what_would_turn_or_end_a_line_is_written_out(self) -> None:
        text = run_page(HOSTILE_RUN)
        assert "\u202e" not in text
        assert "\x1b" not in text
        assert "\\u202e" in text

    def test_the_same_run_gives_the_same_page(self) -> None:
        assert run_page(GOOD_RUN, [KEPT]) == run_page(replace(GOOD_RUN), [KEPT])
