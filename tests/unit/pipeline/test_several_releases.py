"""A run of several releases: what fails for one, what ends all, and which of them sets which tag."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from builder.config.merged import Given
from builder.config.settings import Job, make_job
from builder.errors import (
    BaseImageError,
    BuilderError,
    CompileError,
    Interrupted,
    NotReadBack,
    ReleaseEnd,
    RequestError,
    VerifyError,
)
from builder.oci.reference import Digest
from builder.pipeline.moving_tags import share_tags
from builder.pipeline.push import Pushed, PushWishes
from builder.pipeline.releases import ReleaseRun, failure_of, push_releases
from builder.pipeline.report import ImageReport, ReleaseOutcome, Report, RunReport
from builder.pipeline.wiring import Adapters
from builder.publish.guards import CAREFUL
from builder.publish.publication import Traffic
from builder.runtime.cancellation import Cancellation


def job(*releases: str, **words: tuple[str, ...]) -> Job:
    given = {name: Given(words=value, origin=f"--{name}") for name, value in words.items()}
    named = {"hub": Given(words=("hub.test/istio",), origin="--hub"), "istio": Given(words=releases, origin="--istio")}
    return make_job({**named, **given}, None)


def make_report(release: str, *, state: str = "built", moved: int = 1) -> Report:
    image = ImageReport(key="pilot-debug", references=(), digest=Digest.of(release.encode()), platforms=(), state=state)
    traffic = Traffic(tags_moved=moved)
    return Report(version=release, builder_version="1", hub="h", images=(image,), traffic=traffic, stages=(), seconds=1.0)


@dataclass
class Site:
    """A machine and hubs, of which each release is pushed as told: an error is raised, anything else is its report's state."""

    work: Path
    ends: dict[str, Exception | str] = field(default_factory=dict)
    wrong: dict[str, BuilderError] = field(default_factory=dict)
    pushed: list[str] = field(default_factory=list)
    used: list[Adapters] = field(default_factory=list)
    told: list[list[str]] = field(default_factory=list)

    def push(self, job: Job, adapters: Adapters, wishes: PushWishes, started: float) -> Pushed:
        release = job.source.release
        self.pushed.append(release)
        self.used.append(adapters)
        end = self.ends.get(release, "built")
        if isinstance(end, Exception):
            raise end
        return Pushed(request=job.request, report=make_report(release, state=end, moved=end == "built"))

    def check(self, job: Job, pushed: Pushed, adapters: Adapters) -> None:
        if job.source.release in self.wrong:
            raise self.wrong[job.source.release]

    def tell(self, outcomes: Sequence[ReleaseOutcome]) -> None:
        self.told.append([f"{outcome.release} {outcome.state}" for outcome in outcomes])

    def run(self, *releases: str, fail_fast: bool = False) -> RunReport:
        wishes = PushWishes(permissions=CAREFUL, fail_fast=fail_fast)
        self.adapters = Adapters({"ISTIO_BUILD_CACHE": str(self.work)}, Cancellation(), lambda event: None)
        run = ReleaseRun(wishes=wishes, check=self.check, tell=self.tell, push=self.push)
        return push_releases(job(*releases), self.adapters, run, 0.0)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def states(report: RunReport) -> list[tuple[str, str]]:
    return [(outcome.release, outcome.state) for outcome in report.releases]


def test_all_are_pushed_the_newest_first_and_each_is_told_when_it_has_ended(site: Site) -> None:
    site.ends["1.29.0"] = "unchanged"
    report = site.run("1.28.0", "1.30.0", "1.29.0")
    assert states(report) == [("1.30.0", "pushed"), ("1.29.0", "unchanged"), ("1.28.0", "pushed")]
    assert [told[-1] for told in site.told] == ["1.30.0 pushed", "1.29.0 unchanged", "1.28.0 pushed"]
    assert report.changed
    assert failure_of(report, may_be_several=True) is None


def test_where_nothing_changed_the_run_says_so(site: Site) -> None:
    site.ends = dict.fromkeys(("1.30.0", "1.29.0"), "unchanged")
    assert not site.run("1.30.0", "1.29.0").changed


def test_a_tag_that_moved_is_a_change_though_nothing_was_built() -> None:
    assert make_report("1.29.0", state="unchanged", moved=1).changed
    assert not make_report("1.29.0", state="unchanged", moved=0).changed
    # Another machine was quicker.
    assert not make_report("1.29.0", state="mirrored", moved=0).changed


def test_one_that_fails_does_not_stop_the_others_and_is_told_with_its_own_code(site: Site) -> None:
    site.ends["1.29.0"] = CompileError("no pilot", hint="Mend it.")
    report = site.run("1.30.0", "1.29.0", "1.28.0")
    assert states(report) == [("1.30.0", "pushed"), ("1.29.0", "failed"), ("1.28.0", "pushed")]
    failure = failure_of(report, may_be_several=True)
    assert failure is not None
    assert (failure.exit_code, failure.hint) == (28, "Mend it.")
    assert failure.message == "1 of 3 releases failed:\n1.29.0: no pilot\nno tag has moved of: 1.29.0\nat the hub: 1.30.0, 1.28.0"
    assert failure.releases == (
        ReleaseEnd(release="1.30.0", state="pushed"),
        ReleaseEnd(release="1.29.0", state="failed", exit_code=7, error="no pilot", hint="Mend it."),
        ReleaseEnd(release="1.28.0", state="pushed"),
    )


def test_what_several_releases_fail_with_is_told_once(site: Site) -> None:
    site.ends |= {"1.30.0": BuilderError("no hub"), "1.29.0": CompileError("no pilot"), "1.28.0": BuilderError("no hub")}
    failure = failure_of(site.run("1.28.0", "1.29.0", "1.30.0"), may_be_several=True)
    assert failure
    assert (
        failure.message
        == "3 of 3 releases failed:\n1.30.0, 1.28.0: no hub\n1.29.0: no pilot\nno tag has moved of: 1.30.0, 1.29.0, 1.28.0"
    )
    assert [end.error for end in failure.releases] == ["no hub", "no pilot", "no hub"]


def test_what_to_do_is_told_with_the_releases_that_it_is_for(site: Site) -> None:
    """One may lack a base image and another an Envoy."""
    site.ends = {
        "1.30.0": CompileError("no pilot", hint="Mend it."),
        "1.29.0": BaseImageError("no base", hint="Copy it."),
        "1.28.0": CompileError("no agent", hint="Mend it."),
        "1.27.0": VerifyError("some tags have moved"),
    }
    failure = failure_of(site.run("1.30.0", "1.29.0", "1.28.0", "1.27.0"), may_be_several=True)
    assert failure is not None
    assert failure.hint == "1.30.0, 1.28.0: Mend it.\n1.29.0: Copy it."
    # Of the last it is not so, and it says itself what is.
    assert "no tag has moved of: 1.30.0, 1.29.0, 1.28.0\n" in f"{failure.message}\n"


def test_of_one_release_its_own_error_is_the_runs(site: Site) -> None:
    site.ends["1.29.0"] = CompileError("no pilot")
    assert failure_of(site.run("1.29.0"), may_be_several=False) is site.ends["1.29.0"]


def test_what_the_system_says_is_that_releases_failure(site: Site) -> None:
    site.ends["1.30.0"] = OSError(errno.ENOSPC, "No space left on device", "/cache/x")
    site.ends["1.29.0"] = PermissionError(errno.EACCES, "Permission denied", "/cache/y")
    report = site.run("1.30.0", "1.29.0", "1.28.0")
    assert [outcome.error.exit_code if outcome.error else 0 for outcome in report.releases] == [17, 1, 0]
    assert "/cache/y: Permission denied" in str(report.releases[1].error)


def test_with_fail_fast_the_first_that_fails_is_the_last(site: Site) -> None:
    site.ends["1.29.0"] = CompileError("no pilot")
    report = site.run("1.30.0", "1.29.0", "1.28.0", fail_fast=True)
    assert states(report) == [("1.30.0", "pushed"), ("1.29.0", "failed"), ("1.28.0", "skipped")]
    assert site.pushed == ["1.30.0", "1.29.0"]
    failure = failure_of(report, may_be_several=True)
    assert failure is not None
    assert failure.message.endswith("not begun (--fail-fast): 1.28.0")


def test_one_that_is_found_wrong_has_failed_though_it_is_at_the_hub(site: Site) -> None:
    site.wrong["1.30.0"] = CompileError("wrong")
    report = site.run("1.30.0", "1.29.0")
    assert states(report) == [("1.30.0", "failed"), ("1.29.0", "pushed")]
    assert [each.version for each in report.reports] == ["1.30.0", "1.29.0"]


@pytest.mark.parametrize(
    "error", [Interrupted("interrupted; no tag has moved"), NotReadBack("interrupted when all 6 tags were at this release")]
)
def test_an_interruption_ends_all_and_says_what_was_done(site: Site, error: BuilderError) -> None:
    said = error.message
    site.ends = {"1.29.0": error, "1.30.0": CompileError("no pilot")}
    with pytest.raises(type(error)) as raised:
        site.run("1.31.0", "1.30.0", "1.29.0", "1.28.0")
    assert raised.value.message == f"1.29.0: {said}\nbefore it: 1.31.0 pushed, 1.30.0 failed"
    assert [(end.release, end.exit_code) for end in raised.value.releases] == [("1.31.0", 0), ("1.30.0", 7)]
    assert site.pushed == ["1.31.0", "1.30.0", "1.29.0"]


def test_an_interruption_of_the_first_says_no_more_than_it_did(site: Site) -> None:
    site.ends["1.31.0"] = Interrupted("interrupted; no tag has moved")
    with pytest.raises(Interrupted, match=r"^interrupted; no tag has moved$"):
        site.run("1.31.0", "1.30.0")


class TestAdapters:
    def test_all_releases_share_them(self, site: Site) -> None:
        site.ends["1.29.0"] = CompileError("no pilot")
        site.run("1.30.0", "1.29.0", "1.28.0")
        assert {id(used) for used in site.used} == {id(site.adapters)}

    def test_after_a_failure_that_ended_all_that_they_wait_for_there_are_others(self, tmp_path: Path) -> None:
        cancellation = Cancellation()
        first = Adapters({"ISTIO_BUILD_CACHE": str(tmp_path)}, cancellation, lambda event: None, insecure_registries=("h",))
        first.go_offline(frozenset({"hub.test"}))
        assert first.for_next() is first
        first.cancellation.fail(CompileError("no pilot"))
        second = first.for_next()
        assert second is not first
        second.pause(0)
        assert (second.progress, second.started) == (first.progress, first.started)
        assert second.workspace.root == first.workspace.root
        assert type(second.registry) is type(first.registry)
        # An interruption ends them as it ended the first.
        cancellation.set()
        with pytest.raises(Interrupted):
            second.pause(0)


def shared(*releases: str, tags: tuple[str, ...] = (), moving: tuple[str, ...] = ()) -> dict[str, tuple[str, ...]]:
    asked = job(*releases, tag=tags, moving_tags=moving)
    jobs = [replace(asked, source=replace(asked.source, release=release, wishes=())) for release in releases]
    return {each.source.release: each.request.moving_tags for each in share_tags(jobs)}


class TestMovingTags:
    def test_each_goes_to_the_newest_that_would_set_it(self) -> None:
        assert shared("1.30.1", "1.29.5", "1.29.4", moving=("{{ line }}", "latest", "{{ line }}-corp")) == {
            "1.30.1": ("1.30", "latest", "1.30-corp"),
            "1.29.5": ("1.29", "1.29-corp"),
            "1.29.4": (),
        }

    def test_a_candidate_and_what_is_no_version_set_none(self) -> None:
        assert shared("1.31.0-rc.0", "1.30.1", "vendor-7", moving=("latest", "{{ line }}")) == {
            "1.31.0-rc.0": (),
            "1.30.1": ("latest", "1.30"),
            "vendor-7": (),
        }

    def test_a_release_of_ones_own_counts_as_the_release(self) -> None:
        assert shared("1.30.1-corp.1", moving=("latest",)) == {"1.30.1-corp.1": ("latest",)}

    def test_what_is_its_own_tag_already_is_not_set_twice(self) -> None:
        assert shared("1.30.1", tags=("1.30.1", "1.30"), moving=("{{ line }}", "latest")) == {"1.30.1": ("latest",)}

    @pytest.mark.parametrize("tags", [("corp",), ("{{ line }}",), ("{{ release }}", "{{ date }}"), ("{{ line }}-r{{ n }}",)])
    def test_a_tag_is_that_of_one_release(self, tags: tuple[str, ...]) -> None:
        with pytest.raises(RequestError, match=r"would be that of 1\.29\.5 and of 1\.29\.4") as raised:
            shared("1.29.5", "1.29.4", tags=tags)
        assert "{{ release }}" in raised.value.hint

    def test_different_tags_of_different_releases_are_fine(self) -> None:
        assert shared("1.30.1", "1.29.5", tags=("{{ line }}-corp", "{{ release }}", "c-{{ commit }}")) == {
            "1.30.1": (),
            "1.29.5": (),
        }
        assert shared("1.30.1", tags=("corp",)) == {"1.30.1": ()}
        assert shared("1.30.1", "1.29.5", tags=("{{ release }}-r{{ n }}",)) == {"1.30.1": (), "1.29.5": ()}

    @pytest.mark.parametrize("tag", ["{{ commit }}", "{{ date }}", "{{ line }}-r{{ n }}"])
    def test_which_release_gets_it_must_not_depend_on_what_is_not_known(self, tag: str) -> None:
        with pytest.raises(RequestError) as raised:
            job("1.29.0", moving_tags=(tag,))
        assert raised.value.hint == "Placeholders are {{ release }}, {{ line }}."
