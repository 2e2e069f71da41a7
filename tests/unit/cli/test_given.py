"""What stands on the command line or in variables, as the words of settings."""

import pytest

from builder.cli.options import collect_given
from builder.cli.program import cli
from builder.config.settings import make_job


def test_rules_and_placeholders_come_whole_through_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of several words is cut at spaces, which both of them may have."""
    monkeypatch.setenv("ISTIO_BUILD_ISTIO", "1.26 to 1.28, latest")
    monkeypatch.setenv("ISTIO_BUILD_TAG", "{{ release }} {{ line }}-{{ date }}")
    monkeypatch.setenv("ISTIO_BUILD_MOVING_TAGS", "{{ line }},latest")
    monkeypatch.setenv("ISTIO_BUILD_HUB", "hub.test/istio")
    job = make_job(collect_given(cli.commands["nightly"].make_context("nightly", [])), None)
    assert [wish.text for wish in job.source.wishes] == ["1.26 to 1.28", "latest"]
    assert job.request.tags == ("{{ release }}", "{{ line }}-{{ date }}")
    assert job.moving_tags == ("{{ line }}", "latest")


def test_flags_say_the_same() -> None:
    words = ("--hub", "hub.test/istio", "--istio", "1.26 to 1.28,latest", "--istio", "1.24.6", "--tag", "{{ release }}-corp")
    job = make_job(collect_given(cli.commands["push"].make_context("push", list(words))), None)
    assert [wish.text for wish in job.source.wishes] == ["1.26 to 1.28", "latest", "1.24.6"]
    assert job.request.tags == ("{{ release }}-corp",)
