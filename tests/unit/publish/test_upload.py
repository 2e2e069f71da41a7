"""Content is sent once, and may be sent before the rest of a release is there."""

import threading
from pathlib import Path

import pytest

from builder.errors import Interrupted, RegistryError
from builder.oci.layout import Layout, compose_layout
from builder.publish.content import LayoutContent
from builder.publish.publication import Publication
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
