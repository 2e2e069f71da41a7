"""From what `--istio` was given to a job for each release: the repository is asked once, or not at all."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from builder.config.merged import Given
from builder.config.settings import DEFAULT_GIT_URL, Job, make_job
from builder.errors import LockError, RequestError, SourceError
from builder.pipeline.find_releases import find_one_release, find_releases
from builder.pipeline.wiring import Adapters
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Event, Message
from tests.fakes.releases import FakeReleases

TAGS = ("1.28.9", "1.28.10", "1.29.9", "1.30.3", "1.30.4", "1.31.0", "1.31.0-rc.0")


class Machine(Adapters):
    """The adapters of a run on the 28th of November 2026, with a git that knows one repository."""

    def __init__(self, work: Path) -> None:
        self.told: list[str] = []
        super().__init__({"ISTIO_BUILD_CACHE": str(work)}, Cancellation(), self._observe)
        self.started = datetime(2026, 11, 28, 23, 59, tzinfo=UTC)
        self.releases = FakeReleases({DEFAULT_GIT_URL: TAGS})
        self.__dict__["git"] = self.releases

    def _observe(self, event: Event) -> None:
        if isinstance(event, Message):
            self.told.append(event.text)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "cache")


def job(*releases: str, **words: str) -> Job:
    given = {name: Given(words=(word,), origin=f"--{name}") for name, word in words.items()}
    if releases:
        given["istio"] = Given(words=releases, origin="--istio")
    return make_job({"hub": Given(words=("hub.test/istio",), origin="--hub"), **given}, None)


def tags(jobs: tuple[Job, ...]) -> list[str]:
    return [each.source.release for each in jobs]


def test_a_job_for_each_release_and_one_question_for_all(machine: Machine) -> None:
    jobs = find_releases(job("1.28", "1.30+", "latest"), machine)
    assert tags(jobs) == ["1.31.0", "1.30.4", "1.28.10"]
    assert {each.source.url for each in jobs} == {DEFAULT_GIT_URL}
    assert {each.source.wishes for each in jobs} == {()}
    assert machine.releases.asked == [DEFAULT_GIT_URL]


def test_what_is_named_exactly_is_not_asked_for(machine: Machine) -> None:
    assert tags(find_releases(job("1.29.0"), machine)) == ["1.29.0"]
    assert tags(find_releases(job("1.29.0", "v1.30.1", "1.29.0"), machine)) == ["1.30.1", "1.29.0"]
    assert machine.releases.asked == []


def test_a_directory_is_one_job_as_it_is(machine: Machine) -> None:
    asked = job(source="istio")
    assert find_releases(asked, machine) == (asked,)
    assert machine.releases.asked == []


def test_supported_goes_by_the_day_of_the_run_and_says_by_what(machine: Machine) -> None:
    """1.29 ended on October 15; no end is known of 1.30 and 1.31."""
    assert tags(find_releases(job("supported"), machine)) == ["1.31.0", "1.30.4"]
    assert any("Which lines are supported" in told and "https://istio.io/" in told for told in machine.told)
    machine.started = datetime(2026, 10, 15, tzinfo=UTC)
    assert tags(find_releases(job("supported"), machine)) == ["1.31.0", "1.30.4", "1.29.9"]


def test_of_a_directory_as_git_url_the_path_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git runs in another directory than ours."""
    monkeypatch.chdir(tmp_path)
    assert job("1.29", git_url="../istio").source.url == str(tmp_path / "../istio")
    for url in ("https://git.example/istio", "git@git.example:istio.git", "file:///src/istio", "/src/istio"):
        assert job("1.29", git_url=url).source.url == url


def test_one_release_is_one(machine: Machine) -> None:
    assert find_one_release(job("1.30"), machine).source.release == "1.30.4"
    with pytest.raises(RequestError, match=r"this is of one release, and 2 are asked for: 1\.31\.0, 1\.30\.4"):
        find_one_release(job("1.30+"), machine)


def test_a_repository_that_cannot_be_asked_is_told(machine: Machine) -> None:
    with pytest.raises(SourceError, match="not found"):
        find_releases(job("latest", git_url="https://git.example/other"), machine)


class TestLocked:
    @pytest.fixture
    def lock(self, tmp_path: Path) -> str:
        """A lock of 1.30.3, of which only the source matters here."""
        source: dict[str, object] = {"release": "1.30.3", "version": "1.30", "commit": "c" * 40, "tree": "d" * 40}
        source |= {"description": "1.30.3", "committed_at": 1}
        document = {"version": 1, "istio_build": "0", "recipes": f"sha256:{'0' * 64}", "source": source}
        (tmp_path / "lock").write_text(json.dumps(document))
        return str(tmp_path / "lock")

    @pytest.mark.parametrize("rule", ["1.30", "latest"])
    def test_the_lock_says_which_release_a_rule_means(self, machine: Machine, lock: str, rule: str) -> None:
        assert tags(find_releases(job(rule, lock=lock, locked="true"), machine)) == ["1.30.3"]
        assert machine.releases.asked == []

    def test_a_lock_of_another_line_is_refused(self, machine: Machine, lock: str) -> None:
        with pytest.raises(LockError, match=r"source\.release: the lock has '1\.30\.3', and --istio 1\.31 is asked for"):
            find_releases(job("1.31", lock=lock, locked="true"), machine)

    @pytest.mark.parametrize("rules", [("supported",), ("1.30+",), ("1.30", "1.31")])
    def test_a_lock_binds_one_release(self, machine: Machine, lock: str, rules: tuple[str, ...]) -> None:
        with pytest.raises(RequestError, match="of the one release that the lock binds"):
            find_releases(job(*rules, lock=lock, locked="true"), machine)
