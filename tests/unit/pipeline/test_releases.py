"""Going back and promoting, from the hubs' memory to the report, on registries in memory: all tags or none, at every failure."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.config.merged import Given
from builder.config.settings import Job, make_job
from builder.errors import (
    AccessDenied,
    BuilderError,
    Interrupted,
    NotReadBack,
    PlatformLoss,
    RegistryError,
    RequestError,
    VerifyError,
)
from builder.oci.reference import HISTORY_TAG, Digest, Hub, Platform
from builder.pipeline.history import image_names, plan_rollback, read_past, read_timeline, roll_back
from builder.pipeline.promote import parse_source, promote_release
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.report import Report
from builder.pipeline.run import publish_release
from builder.pipeline.wiring import Adapters
from builder.publish.guards import CAREFUL
from builder.publish.lease_times import LeaseTimes
from builder.publish.publication import Release as PublishedRelease
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Event, Message
from tests.fakes.registry import FakeRegistry
from tests.samples.hubs import SampleHub, both, entry, pilot_program
from tests.samples.images import AMD64, ARM64
from tests.unit.publish.test_publication import HUB, make_release

STAGE = Hub.parse("hub.test/stage")


class FakeAdapters(Adapters):
    """The adapters of a run that sees a registry in memory; `view` fails as told, and what puts tags back does not."""

    def __init__(self, work: Path, registry: FakeRegistry) -> None:
        self.messages: list[str] = []
        self._whole = registry
        self.view = _view(registry)
        super().__init__({"ISTIO_BUILD_CACHE": str(work / "cache")}, Cancellation(), self._observe)
        self.__dict__["registry"] = self.view

    def publish_context(self, *arguments: Any, **named: Any) -> PublishContext:  # noqa: ANN401 - as those of the method
        """Nobody else is at this registry, so there is nothing to wait for."""
        return replace(super().publish_context(*arguments, **named), lease_times=LeaseTimes(settle=0.0, poll=0.01))

    def _make_rollback_registry(self) -> FakeRegistry:  # type: ignore[override]
        return _view(self._whole)

    def _observe(self, event: Event) -> None:
        if isinstance(event, Message):
            self.messages.append(event.text)


def _view(registry: FakeRegistry) -> FakeRegistry:
    """The same content through a client of its own."""
    view = FakeRegistry()
    view.manifests, view.blobs = registry.manifests, registry.blobs
    return view


def job(**words: str) -> Job:
    given = {name: Given(words=tuple(value.split(",")), origin=f"--{name}") for name, value in words.items()}
    if "istio" not in given:
        given["source"] = Given(words=(".",), origin="no source")
    return make_job(given, None, needs_hub=False)


class Site:
    """A hub with three images of two tags each; every run is of a machine that knows nothing but the hub."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.registry = FakeRegistry()
        self.pushes = 0

    def push(self, content: str) -> dict[str, Digest]:
        self.pushes += 1
        release = make_release(self.work / str(self.pushes), content, self.registry)
        adapters = FakeAdapters(self.work, self.registry)
        made = PublishedRelease(version="1.29", hub=str(HUB), publications=release.publications)
        states = {each.key: "built" for each in release.publications}
        publish_release(made, states, adapters.publish_context(CAREFUL), 0.0)
        return release.wanted()

    def tags(self) -> dict[str, Digest]:
        return {
            f"{image}:{tag}": digest
            for image in ("istioctl", "pilot", "proxyv2")
            for tag, digest in self.registry.tags(HUB.repository(image)).items()
            if tag != HISTORY_TAG
        }

    def adapters(self) -> FakeAdapters:
        return FakeAdapters(self.work, self.registry)

    def roll_back(self, adapters: FakeAdapters, to: str = "", **words: str) -> Report:
        planned = plan_rollback(job(hub=str(HUB), tag="1.29", **words), to, adapters)
        return roll_back(planned, adapters, 0.0, replace=False)

    def told(self, **words: str) -> list[tuple[str, Mapping[str, Digest]]]:
        """What the hub remembers, newest first."""
        asked = job(hub=str(HUB), **words)
        names, only = image_names(asked)
        timeline = read_timeline(asked.request.hubs, names, self.adapters(), only=only)
        return [
            (release.happening.by, {str(ref).rpartition("/")[2]: digest for ref, digest in release.references.items()})
            for release in timeline.releases
        ]


MakeSite = Callable[[str], tuple[Site, dict[str, Digest], dict[str, Digest]]]


@pytest.fixture
def make_site(tmp_path: Path) -> MakeSite:
    def make(name: str) -> tuple[Site, dict[str, Digest], dict[str, Digest]]:
        site = Site(tmp_path / name)
        return site, site.push("one"), site.push("two")

    return make


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def fail_at(adapters: FakeAdapters, number: int) -> None:
    """Have this call to the registry, counted from 0, fail."""
    count, lock = iter(range(10**6)), threading.Lock()

    def hook(operation: str, key: str) -> Exception | None:
        with lock:
            return RegistryError("injected", status=500) if next(count) == number else None

    adapters.view.fail_on = hook


class TestHistory:
    def test_releases_are_told_newest_first(self, site: Site) -> None:
        first, second = site.push("one"), site.push("two")
        assert site.told() == [("push", second), ("push", first)]
        assert [set(tags) for _, tags in site.told(image="pilot")] == [{"pilot:1.29", "pilot:1.29-debug"}] * 2

    def test_a_push_that_moves_nothing_writes_nothing(self, site: Site) -> None:
        site.push("one")
        before = site.registry.manifests[HUB.repository("pilot")][HISTORY_TAG]
        site.push("one")
        assert site.registry.manifests[HUB.repository("pilot")][HISTORY_TAG] is before

    def test_images_that_no_recipe_knows_are_found_beside_the_others(self, site: Site) -> None:
        site.push("one")
        adapters = site.adapters()
        timeline = read_timeline((HUB,), ("pilot",), adapters, only=False)
        assert {repository.path for repository, _ in timeline.releases[0].images} == {
            f"istio/{image}" for image in ("istioctl", "pilot", "proxyv2")
        }

    def test_what_cannot_be_read_is_noted_and_what_is_gone_is_seen(self, site: Site) -> None:
        first = site.push("one")
        site.push("two")
        pilot, proxy = HUB.repository("pilot"), HUB.repository("proxyv2")
        del site.registry.manifests[proxy][HISTORY_TAG]
        del site.registry.manifests[pilot][str(first["pilot:1.29"])]
        adapters = site.adapters()
        past = read_past(read_timeline((HUB,), ("pilot",), adapters, only=False), adapters)
        assert past.timeline.notes == ("hub.test/istio/proxyv2 has no history, although images of releases are in it",)
        assert past.gone == {(pilot, first["pilot:1.29"])}
        site.registry.manifests[pilot][HISTORY_TAG] = site.registry.manifests[pilot]["1.29"]
        notes = read_timeline((HUB,), ("pilot",), adapters, only=True).notes
        assert len(notes) == 1
        assert "its history cannot be read, and is left as it is" in notes[0]

    def test_a_release_is_one_even_where_its_history_cannot_be_written_for_an_interruption(self, site: Site) -> None:
        release = make_release(site.work, "one", site.registry)
        adapters = site.adapters()

        def interrupt(operation: str, key: str) -> None:
            if operation == "put_tag" and HISTORY_TAG in key:
                adapters.cancellation.fail(RegistryError("any"))
                raise Interrupted("interrupted")

        adapters.view.fail_after = interrupt
        made = PublishedRelease(version="1.29", hub=str(HUB), publications=release.publications)
        with pytest.raises(NotReadBack, match="all 6 tags were at this release"):
            publish_release(
                made, dict.fromkeys(("istioctl", "pilot", "proxyv2"), "built"), adapters.publish_context(CAREFUL), 0.0
            )
        assert site.tags() == release.wanted()

    def test_what_is_refused_is_taken_for_not_there_unless_all_is(self, site: Site) -> None:
        adapters = site.adapters()
        adapters.view.fail_on = lambda operation, key: AccessDenied("denied", status=401) if "istio/pilot:" in key else None
        assert read_timeline((HUB,), ("pilot", "istioctl"), adapters, only=False).releases == ()
        with pytest.raises(AccessDenied):
            read_timeline((HUB,), ("pilot",), adapters, only=False)


class TestRollback:
    def test_all_tags_go_back_and_it_is_remembered(self, site: Site) -> None:
        first, second = site.push("one"), site.push("two")
        report = site.roll_back(site.adapters())
        assert site.tags() == first
        assert report.traffic
        assert (report.traffic.tags_moved, report.traffic.bytes_sent) == (6, 0)
        assert [tags for _, tags in site.told()] == [first, second, first]
        by = site.told()[0][0]
        assert re.fullmatch(r"rollback [0-9a-f]{12}", by)
        site.roll_back(site.adapters(), str(second["pilot:1.29"]))
        assert site.tags() == second

    def test_from_the_first_push_on_where_the_hub_had_a_release(self, site: Site) -> None:
        old = make_release(site.work, "old", site.registry)
        old.publish()
        site.push("one")
        site.roll_back(site.adapters())
        assert site.tags() == old.wanted()

    def test_of_one_image_only(self, site: Site) -> None:
        first, second = site.push("one"), site.push("two")
        site.roll_back(site.adapters(), image="pilot")
        assert site.tags() == {**second, **{tag: digest for tag, digest in first.items() if tag.startswith("pilot:")}}

    @pytest.mark.parametrize("what", ["index", "layer"])
    def test_what_is_not_whole_any_more_is_found_before_any_tag_moves(self, site: Site, what: str) -> None:
        first, second = site.push("one"), site.push("two")
        pilot = HUB.repository("pilot")
        index = site.registry.manifests[pilot][str(first["pilot:1.29"])]
        if what == "index":
            del site.registry.manifests[pilot][str(index.digest)]
        else:
            child = site.registry.manifests[pilot][str(index.children()[0].digest)]
            del site.registry.blobs[pilot][child.layers()[0].digest]
        with pytest.raises(VerifyError, match="no tag has moved"):
            site.roll_back(site.adapters())
        assert site.tags() == second

    def test_it_loses_no_platform_unless_told(self, site: Site) -> None:
        make_release(site.work, "one", site.registry, platforms=(AMD64,)).publish()
        second = site.push("two")
        with pytest.raises(PlatformLoss):
            site.roll_back(site.adapters())
        assert site.tags() == second

    def test_a_hub_that_remembers_nothing_says_so(self, site: Site) -> None:
        make_release(site.work, "one", site.registry).publish()
        with pytest.raises(RequestError, match=r"remembers no release with the tag 1\.29"):
            site.roll_back(site.adapters())

    def test_whatever_request_fails_all_tags_are_back_or_none(self, make_site: MakeSite) -> None:
        counted, _, _ = make_site("count")
        adapters = counted.adapters()
        counted.roll_back(adapters)
        total = len(adapters.view.log)
        outcomes = set()
        for number in range(total):
            site, first, second = make_site(str(number))
            adapters = site.adapters()
            fail_at(adapters, number)
            try:
                site.roll_back(adapters)
                wanted, outcome = first, "told" if any("does not say so" in text for text in adapters.messages) else "fine"
            except BuilderError as error:
                moved = "all tags have moved" in error.message
                wanted, outcome = (first, "not read back") if moved else (second, "none moved")
            assert site.tags() == wanted, f"call {number} of {total}"
            outcomes.add(outcome)
        assert {"told", "not read back", "none moved"} <= outcomes


class Stage:
    """A pilot with both variants at one hub, as a release has it."""

    def __init__(self, work: Path, registry: FakeRegistry | None = None) -> None:
        self.work = work
        self.hub = SampleHub(STAGE.repository("pilot"), registry)
        self.registry = self.hub.registry
        both(self.hub)
        debug = self.hub.registry.manifests[self.hub.repository]["1.29.0"].descriptor
        self.hub.tag(debug, "1.29.0-debug")
        other = [entry(self.hub.pilot(platform, pilot_program(platform) + b"lean"), platform) for platform in (AMD64, ARM64)]
        self.hub.tag(self.hub.index(*other), "1.29.0-distroless")

    def promote(self, source: str, adapters: FakeAdapters | None = None, **words: str) -> tuple[Report, FakeAdapters]:
        adapters = adapters or FakeAdapters(self.work, self.registry)
        asked = job(image="pilot", **words)
        where, destination = parse_source(source, asked)
        return promote_release(asked, where, destination, adapters, 0.0, replace=False), adapters

    def tags(self, hub: Hub) -> dict[str, Digest]:
        found = self.registry.tags(hub.repository("pilot"))
        return {tag: digest for tag, digest in found.items() if tag != HISTORY_TAG}


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


class TestPromote:
    def test_to_another_hub_of_the_registry_nothing_is_sent(self, stage: Stage) -> None:
        there = Hub.parse("hub.test/production")
        report, adapters = stage.promote(f"{STAGE}:1.29.0", hub=str(there))
        assert stage.tags(there) == stage.tags(STAGE)
        assert report.traffic
        assert (report.traffic.bytes_sent, report.traffic.uploaded) == (0, 0)
        assert report.traffic.mounted > 0
        assert {image.state for image in report.images} == {"promoted"}
        sent = [key for key in adapters.view.operations("pull_blob") if "production" in key]
        assert sent == []

    def test_to_another_registry_it_is_copied_with_other_tags_and_remembered(self, stage: Stage) -> None:
        there = Hub.parse("production.test")
        report, adapters = stage.promote(f"{STAGE}:1.29.0", hub=str(there), tag="prod,latest")
        here = stage.tags(STAGE)
        assert stage.tags(there) == {
            f"{new}{variant}": here[f"1.29.0{variant}"] for new in ("prod", "latest") for variant in ("", "-debug", "-distroless")
        }
        assert report.traffic
        assert report.traffic.uploaded > 0
        timeline = read_timeline((there,), ("pilot",), adapters, only=True)
        assert [release.happening.by for release in timeline.releases] == [f"promote {STAGE}:1.29.0"]
        # From there it goes on under its new name: which release it is nobody has to say.
        again = Hub.parse("third.test/x")
        stage.promote(f"{there}:prod", hub=str(again), istio="1.29.0")
        assert set(stage.tags(again)) == {"prod", "prod-debug", "prod-distroless"}

    def test_to_another_tag_of_its_hub(self, stage: Stage) -> None:
        report, adapters = stage.promote(str(STAGE), tag="1.29.0,prod")
        tags = stage.tags(STAGE)
        assert tags["prod-distroless"] == tags["1.29.0-distroless"]
        assert tags["prod"] == tags["1.29.0"]
        assert adapters.view.operations("push_blob") == []
        assert len(report.images) == 2

    def test_what_is_wrong_at_the_source_goes_nowhere(self, stage: Stage) -> None:
        wrong = [entry(stage.hub.pilot(AMD64), AMD64), entry(stage.hub.pilot(ARM64, pilot_program(AMD64)), ARM64)]
        stage.hub.tag(stage.hub.index(*wrong), "1.29.0-distroless")
        with pytest.raises(
            VerifyError, match=r"nothing was promoted:\n  .*wrong-architecture: hub\.test/stage/pilot:1\.29\.0-distroless"
        ):
            stage.promote(f"{STAGE}:1.29.0", hub="hub.test/production")
        assert stage.tags(Hub.parse("hub.test/production")) == {}

    def test_a_release_that_lacks_a_tag_goes_nowhere(self, stage: Stage) -> None:
        del stage.registry.manifests[stage.hub.repository]["1.29.0-distroless"]
        with pytest.raises(VerifyError, match="missing-tag"):
            stage.promote(f"{STAGE}:1.29.0", hub="hub.test/production")
        report, _ = stage.promote(f"{STAGE}:1.29.0", hub="hub.test/production", variant="debug")
        assert [image.key for image in report.images] == ["pilot-debug"]

    def test_a_tag_there_loses_no_platform(self, stage: Stage) -> None:
        there = SampleHub(Hub.parse("hub.test/production").repository("pilot"), stage.registry)
        images = [entry(there.pilot(platform), platform) for platform in (AMD64, ARM64)]
        more = entry(there.pilot(AMD64, b"\x7fELF none"), Platform("linux", "s390x"))
        there.tag(there.index(*images, more), "1.29.0")
        with pytest.raises(PlatformLoss, match="s390x"):
            stage.promote(f"{STAGE}:1.29.0", hub="hub.test/production")

    def test_without_a_release_that_anybody_knows_it_is_asked_for(self, stage: Stage) -> None:
        with pytest.raises(RequestError, match="remembers no release with the tag prod"):
            stage.promote(f"{STAGE}:prod", hub="hub.test/production")

    def test_whatever_request_fails_all_tags_move_or_none(self, tmp_path: Path) -> None:
        there = Hub.parse("production.test/x")
        counted = Stage(tmp_path / "count")
        _, adapters = counted.promote(f"{STAGE}:1.29.0", hub=str(there))
        for number in range(len(adapters.view.log)):
            stage = Stage(tmp_path / str(number))
            adapters = FakeAdapters(stage.work, stage.registry)
            fail_at(adapters, number)
            try:
                stage.promote(f"{STAGE}:1.29.0", adapters, hub=str(there))
                moved = True
            except BuilderError as error:
                moved = "all tags have moved" in error.message
            assert stage.tags(there) == (stage.tags(STAGE) if moved else {}), f"call {number}"


class TestSource:
    @pytest.mark.parametrize(
        ("source", "words", "tag", "tags", "hubs"),
        [
            ("docker.io/me:1.29.0", {"hub": "ghcr.io/me"}, "1.29.0", ("1.29.0",), ("ghcr.io/me",)),
            ("localhost:5000/me:1.29.0", {"hub": "ghcr.io/me", "tag": "a,b"}, "1.29.0", ("a", "b"), ("ghcr.io/me",)),
            ("docker.io/me", {"hub": "ghcr.io/me", "tag": "1.29.0"}, "1.29.0", ("1.29.0",), ("ghcr.io/me",)),
            ("docker.io/me/", {"tag": "1.29.0,prod"}, "1.29.0", ("prod",), ("docker.io/me",)),
            ("localhost:5000:1.29.0", {"tag": "prod"}, "1.29.0", ("prod",), ("localhost:5000",)),
            ("localhost:5000", {"tag": "1.29.0,prod"}, "1.29.0", ("prod",), ("localhost:5000",)),
        ],
    )
    def test_where_from_and_where_to(
        self, source: str, words: Mapping[str, str], tag: str, tags: tuple[str, ...], hubs: tuple[str, ...]
    ) -> None:
        where, destination = parse_source(source, job(**words))
        assert (where.tag, destination.tags, tuple(map(str, destination.hubs))) == (tag, tags, hubs)

    @pytest.mark.parametrize(
        ("source", "words", "told"),
        [
            ("docker.io/me", {}, "which release"),
            ("docker.io/me:1.29.0", {}, "become what it is"),
            ("docker.io/me:1.29.0", {"hub": "docker.io/me"}, "become what it is"),
            ("docker.io/me:istio-build-history", {"hub": "ghcr.io/me"}, "reserved"),
            ("me/x:1", {"hub": "ghcr.io/me"}, "does not start with a registry"),
        ],
    )
    def test_what_cannot_be_is_told(self, source: str, words: Mapping[str, str], told: str) -> None:
        with pytest.raises(RequestError, match=told):
            parse_source(source, job(**words))
