"""Content is sent once, and may be sent before the rest of a release is there."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import Interrupted, RegistryError
from builder.oci.layout import Layout, compose_layout
from builder.oci.reference import Repository
from builder.publish.content import LayoutContent
from builder.publish.publication import Publication, Traffic
from builder.publish.upload import Uploads
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Event, Progress, TaskFinished
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64, ARM64
from tests.unit.publish.test_publication import HUB, make_part

PILOT = HUB.repository("pilot")


@pytest.fixture
def parts(tmp_path: Path) -> dict[str, Layout]:
    return {platform.architecture: make_part(tmp_path / platform.slug, str(platform), platform) for platform in (AMD64, ARM64)}


def compose(parts: dict[str, Layout], into: Path) -> Publication:
    layout = compose_layout({AMD64: parts["amd64"], ARM64: parts["arm64"]}, into, {}, {})
    return Publication(key="pilot", index=layout.index(), references=(PILOT.at("1.29.0"),), content=LayoutContent(layout))


def send_ahead(uploads: Uploads, part: Layout, platform: str = "linux/amd64") -> None:
    uploads.send_ahead((PILOT,), platform, part.index(), LayoutContent(part))


def test_what_was_sent_ahead_is_not_sent_again(parts: dict[str, Layout], tmp_path: Path) -> None:
    registry = FakeRegistry()
    events: list[Event] = []

    def observe(event: Event) -> None:
        events.append(event)

    with Uploads(registry, Progress(observe), Cancellation().group()) as uploads:
        send_ahead(uploads, parts["amd64"])
        publication = compose(parts, tmp_path / "whole")
        traffic = uploads.publish([publication])
    pushed = [key for operation, key in registry.log if operation == "push_blob"]
    assert len(pushed) == len(set(pushed)) == traffic.uploaded == 4
    assert traffic.bytes_sent == sum(
        blob.size
        for child in publication.index.children()
        for manifest in [parts[child.platform.architecture].index() if child.platform else publication.index]
        for blob in (manifest.config(), *manifest.layers())
    )
    assert sorted(event.subject for event in events if isinstance(event, TaskFinished)) == [str(PILOT), f"{PILOT} linux/amd64"]


def test_it_is_at_the_registry_before_the_rest_is_made(parts: dict[str, Layout], tmp_path: Path) -> None:
    registry = FakeRegistry()
    arrived = threading.Event()

    def watch(operation: str, key: str) -> Exception | None:
        if operation == "push_blob":
            arrived.set()
        return None

    registry.fail_on = watch
    with Uploads(registry, Progress(lambda event: None), Cancellation().group()) as uploads:
        send_ahead(uploads, parts["amd64"])
        assert arrived.wait(10)
        # Nothing leads there yet.
        assert not registry.operations("put_manifest")
        uploads.publish([compose(parts, tmp_path / "whole")])
    assert len(registry.operations("put_manifest")) == 3


def test_what_was_sent_ahead_of_an_image_that_was_never_finished_is_waited_for(parts: dict[str, Layout]) -> None:
    registry = FakeRegistry()
    published = threading.Event()

    def be_slow(operation: str, key: str) -> Exception | None:
        if operation == "push_blob":
            assert not published.wait(0.2)
        return None

    registry.fail_on = be_slow
    with Uploads(registry, Progress(lambda event: None), Cancellation().group()) as uploads:
        send_ahead(uploads, parts["amd64"])
        traffic = uploads.publish([])
        published.set()
    assert traffic.uploaded == 2


def test_a_registry_that_refuses_ends_the_group_at_once(parts: dict[str, Layout], tmp_path: Path) -> None:
    registry = FakeRegistry()
    registry.fail_on = lambda operation, key: RegistryError("no room", status=507) if operation == "push_blob" else None
    group = Cancellation().group()

    def build() -> None:
        with Uploads(registry, Progress(lambda event: None), group) as uploads:
            send_ahead(uploads, parts["amd64"])
            # As a build beside it would: it is ended, and the failure is the registry's.
            group.wait(30)

    with pytest.raises(Interrupted):
        build()
    assert isinstance(group.failure, RegistryError)


def test_nothing_is_on_its_way_when_the_build_has_failed(parts: dict[str, Layout]) -> None:
    registry = FakeRegistry()

    def build() -> None:
        with Uploads(registry, Progress(lambda event: None), Cancellation().group()) as uploads:
            send_ahead(uploads, parts["amd64"])
            raise ValueError("the compiler says no")

    with pytest.raises(ValueError, match="the compiler says no"):
        build()
    sent = list(registry.log)
    assert len(sent) <= 2
    assert sent == registry.log


def outcomes_of(registry: FakeRegistry, publications: list[Publication]) -> Traffic:
    with Uploads(registry, Progress(lambda event: None), Cancellation().group()) as uploads:
        return uploads.publish(publications)


def aim_at(publication: Publication, *repositories: Repository) -> Publication:
    return replace(publication, references=tuple(repository.at("1.29.0") for repository in repositories))


def test_a_registry_is_sent_each_blob_once_however_many_repositories_want_it(parts: dict[str, Layout], tmp_path: Path) -> None:
    """Two hubs on one registry, and two images that share layers."""
    registry = FakeRegistry()
    # Whoever does not wait for the first finds that nobody has it yet.
    registry.fail_on = lambda operation, key: time.sleep(0.05) if operation == "push_blob" else None
    publication = compose(parts, tmp_path / "whole")
    repositories = [Repository("hub.test", f"{hub}/{image}") for hub in ("one", "two") for image in ("pilot", "pilot-too")]
    traffic = outcomes_of(registry, [aim_at(publication, *repositories)])
    assert (traffic.uploaded, traffic.mounted) == (4, 12)
    for repository in repositories:
        assert registry.tags(repository) == {}
        assert len(registry.blobs[repository]) == 4


def test_another_registry_is_sent_it_too(parts: dict[str, Layout], tmp_path: Path) -> None:
    registry = FakeRegistry()
    elsewhere = Repository("other.test", "istio/pilot")
    traffic = outcomes_of(registry, [aim_at(compose(parts, tmp_path / "whole"), PILOT, elsewhere)])
    assert (traffic.uploaded, traffic.mounted) == (8, 0)


def test_who_waits_for_a_blob_that_cannot_be_sent_ends_with_it(parts: dict[str, Layout], tmp_path: Path) -> None:
    registry = FakeRegistry()
    other = Repository(PILOT.registry, "other/pilot")

    def refuse(operation: str, key: str) -> Exception | None:
        time.sleep(0.02)
        return RegistryError("no room", status=507) if operation == "push_blob" else None

    registry.fail_on = refuse
    with pytest.raises(RegistryError, match="no room"):
        outcomes_of(registry, [aim_at(compose(parts, tmp_path / "whole"), PILOT, other)])
    assert registry.operations("put_manifest") == []


def test_manifests_that_are_there_are_not_sent_again(parts: dict[str, Layout], tmp_path: Path) -> None:
    registry = FakeRegistry()
    publication = compose(parts, tmp_path / "whole")
    outcomes_of(registry, [publication])
    assert registry.operations("has_manifest") == []
    assert len(registry.operations("put_manifest")) == 3
    outcomes_of(registry, [publication])
    assert len(registry.operations("has_manifest")) == 3
    assert len(registry.operations("put_manifest")) == 3


def test_one_that_was_lost_there_is(parts: dict[str, Layout], tmp_path: Path) -> None:
    registry = FakeRegistry()
    publication = compose(parts, tmp_path / "whole")
    outcomes_of(registry, [publication])
    lost = parts["arm64"].index().digest
    del registry.manifests[PILOT][str(lost)]
    outcomes_of(registry, [publication])
    assert registry.operations("put_manifest")[3:] == [str(PILOT.at(lost))]
