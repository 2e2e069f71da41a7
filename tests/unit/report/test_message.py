"""What those are told who are notified."""

from dataclasses import replace

import pytest

from builder.pipeline.report import MovedTag
from builder.report.message import is_due, page_url, short_message
from tests.samples.images import make_digest
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HOSTILE_RUN, HUB, NIGHT_RUN, REPORT

SAME = replace(
    GOOD_RUN, releases=(replace(GOOD_RUN.releases[0], report=replace(REPORT, images=(REPORT.images[1],), traffic=None)),)
)


@pytest.mark.parametrize(
    ("when", "due"),
    [("change", (True, False, True)), ("failure", (False, False, True)), ("always", (True, True, True))],
)
def test_who_is_told_of_what(when: str, due: tuple[bool, ...]) -> None:
    assert tuple(is_due(run, when) for run in (GOOD_RUN, SAME, FAILED_RUN)) == due


def test_what_changed_and_where_the_report_is() -> None:
    message = short_message(GOOD_RUN, "https://reports.corp.example/x.html")
    assert message.title == f"istio-build push ({HUB}): 3 built, 1 mirrored, 2 unchanged"
    lines = message.body.splitlines()
    assert lines[0] == f"1.29.0 at {HUB}, 2 unchanged:"
    assert lines[1] == "- istioctl-debug built: Go 1.25.8 → 1.25.9"
    assert lines[-2:] == [
        "1 warning; the first: istio has changes that are not committed; the version stamp says so.",
        "Report: https://reports.corp.example/x.html",
    ]


def test_what_failed_and_what_to_do() -> None:
    message = short_message(FAILED_RUN, "")
    assert message.title.startswith(f"istio-build push ({HUB}): failed (7): 1 of 6 images")
    assert "undefined: app.NewRootCommand" in message.body
    assert message.body.splitlines()[-1].startswith("What to do: The compiler's own words")


def test_of_several_releases_it_says_which_failed_and_which_tags_lead_elsewhere_now() -> None:
    message = short_message(NIGHT_RUN, "")
    assert message.title == f"istio-build nightly ({HUB}): failed (28): 1 of 4 releases failed: 1.26.0"
    assert message.body.splitlines() == [
        "1 of 4 releases failed:",
        "1.26.0: no such release",
        "What to do: Look.",
        f"1.29.1 at {HUB}:",
        "- pilot-debug built: commit 328ca463872f → 0123456789ab",
        "tags moved: 1.29, latest",
        "new tags: 1.29.1",
        f"1.28.0 at {HUB}, 2 unchanged:",
        f"- pilot-debug unchanged: 1.28 was at sha256:{make_digest('another').short}",
        f"1.27.0 at {HUB}, 1 unchanged",
    ]


def test_what_to_do_is_a_line_for_each_release() -> None:
    assert NIGHT_RUN.error
    run = replace(NIGHT_RUN, error=replace(NIGHT_RUN.error, hint="1.26.0: Look.\n1.25.0: Wait."))
    assert short_message(run, "").body.splitlines()[2:4] == ["What to do: 1.26.0: Look.", "1.25.0: Wait."]


def test_a_tag_that_was_not_there_is_told_too() -> None:
    image = replace(REPORT.images[1], moved=(MovedTag(reference=REPORT.images[1].references[0], before=None),))
    run = replace(GOOD_RUN, releases=(replace(GOOD_RUN.releases[0], report=replace(REPORT, images=(image,))),), messages=())
    assert short_message(run, "").body.splitlines()[1:] == ["- istioctl-distroless unchanged: 1.29.0-distroless was missing"]
    both = replace(image, moved=tuple(MovedTag(reference=each, before=None) for each in REPORT.images[0].references))
    run = replace(run, releases=(replace(run.releases[0], report=replace(REPORT, images=(both,))),))
    assert short_message(run, "").body.endswith("- istioctl-distroless unchanged: 1.29.0, 1.29.0-debug were missing")


def test_it_stays_short_whatever_there_is_to_say() -> None:
    assert FAILED_RUN.error
    error = replace(FAILED_RUN.error, message="\n".join(["x" * 5000] * 500), hint="y" * 5000)
    images = REPORT.images * 50
    run = replace(GOOD_RUN, error=error, releases=(replace(GOOD_RUN.releases[0], report=replace(REPORT, images=images)),))
    message = short_message(run, "")
    assert len(message.title) < 350
    assert len(message.body) < 6000
    assert "… and 190 more" in message.body


def test_nothing_that_a_terminal_or_a_reader_would_obey_is_in_it() -> None:
    message = short_message(HOSTILE_RUN, "")
    assert "\x1b" not in message.title + message.body
    assert "\u202e" not in message.title + message.body
    assert "\n" not in message.title


@pytest.mark.parametrize(
    ("url", "has_page", "link"),
    [
        ("https://corp.example/r", True, f"https://corp.example/r/{GOOD_RUN.name}.html"),
        ("https://corp.example/r/", True, f"https://corp.example/r/{GOOD_RUN.name}.html"),
        ("https://corp.example/r", False, "https://corp.example/r"),
        ("", True, ""),
    ],
)
def test_the_page_that_is_linked_is_the_run_s_own(url: str, has_page: bool, link: str) -> None:
    assert page_url(GOOD_RUN, url, has_page=has_page) == link


def test_a_password_in_the_address_of_reports_stays_here() -> None:
    assert "secret" not in short_message(GOOD_RUN, "https://me:secret@corp.example/r").body
