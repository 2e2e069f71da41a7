"""Which releases a night looks at as a puller does, and what it says of one that is wrong."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from builder.config.settings import Job
from builder.errors import Interrupted, NotReadBack, VerifyError
from builder.pipeline.nightly import NightlyCheck, Verified
from builder.pipeline.push import Pushed
from tests.fakes.registry import FakeRegistry
from tests.samples.hubs import SampleHub, both, entry, pilot_program
from tests.samples.images import AMD64, ARM64
from tests.unit.pipeline.test_releases import STAGE, FakeAdapters
from tests.unit.pipeline.test_several_releases import job, make_report


@dataclass
class Stage:
    """A hub with pilot 1.29.0, debug, that somebody has pushed."""

    work: Path
    hub: SampleHub

    @property
    def registry(self) -> FakeRegistry:
        return self.hub.registry

    def adapters(self) -> FakeAdapters:
        return FakeAdapters(self.work, self.registry)

    def check(
        self, check: NightlyCheck, *, changed: bool = True, version: str = "1.29.0", asked: Job | None = None
    ) -> FakeAdapters:
        asked = asked or job("1.29.0", hub=(str(STAGE),), image=("pilot",), variant=("debug",))
        adapters = self.adapters()
        report = make_report(version, state="built" if changed else "unchanged", moved=changed)
        check(asked, Pushed(request=asked.request, report=report), adapters)
        return adapters


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    hub = SampleHub(STAGE.repository("pilot"))
    hub.tag(hub.registry.manifests[hub.repository][both(hub).tag].descriptor, "1.29.0-debug")
    return Stage(tmp_path, hub)


def break_it(stage: Stage) -> None:
    """The program for amd64 is in the image for arm64."""
    wrong = stage.hub.pilot(ARM64, pilot_program(AMD64) + b"x")
    index = stage.hub.index(entry(stage.hub.pilot(AMD64), AMD64), entry(wrong, ARM64))
    for tag in ("1.29.0", "1.29.0-debug"):
        stage.hub.tag(index, tag)


@pytest.mark.parametrize(
    ("which", "of_changed", "of_others"), [("changed", True, False), ("all", True, True), ("none", False, False)]
)
def test_what_is_looked_at(stage: Stage, which: Verified, of_changed: bool, of_others: bool) -> None:
    check = NightlyCheck(which=which)
    assert bool(stage.check(check, changed=True).view.log) is of_changed
    assert bool(stage.check(check, changed=False).view.log) is of_others


def test_what_is_wrong_is_told(stage: Stage) -> None:
    break_it(stage)
    with pytest.raises(VerifyError, match=r"wrong-architecture: hub\.test/stage/pilot:1\.29\.0") as raised:
        stage.check(NightlyCheck())
    assert "--fix-hint" in raised.value.hint


def test_what_is_right_passes_and_nobody_elses_hub_is_asked(stage: Stage) -> None:
    """The guard of unit tests would see a look at Istio's own images."""
    assert stage.check(NightlyCheck()).view.operations("get_manifest")


def test_a_tag_that_is_missing_is_found(stage: Stage) -> None:
    del stage.registry.manifests[stage.hub.repository]["1.29.0-debug"]
    with pytest.raises(VerifyError, match=r"missing-tag: hub\.test/stage/pilot:1\.29\.0-debug"):
        stage.check(NightlyCheck())


def test_what_names_no_release_is_not_judged(stage: Stage) -> None:
    asked = job("vendor-7", hub=(str(STAGE),), image=("pilot",))
    adapters = stage.check(NightlyCheck(), version="vendor-7", asked=asked)
    assert any("vendor-7 names no release of Istio" in told for told in adapters.messages)


def test_an_interruption_says_that_the_release_is_out(stage: Stage) -> None:
    def interrupt(operation: str, key: str) -> Exception:
        return Interrupted("interrupted")

    asked = job("1.29.0", hub=(str(STAGE),), image=("pilot",), variant=("debug",))
    adapters = stage.adapters()
    adapters.view.fail_on = interrupt
    with pytest.raises(NotReadBack, match=r"interrupted while 1\.29\.0 was verified; it is at the hub"):
        NightlyCheck()(asked, Pushed(request=asked.request, report=make_report("1.29.0")), adapters)
