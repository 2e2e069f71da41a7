"""Tags move all together or not at all: proven by failing every single request once, and by killing the run."""

import base64
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from builder.errors import BuilderError, Interrupted, JournalError, PlatformLoss, PublishError, RegistryError, VerifyError
from builder.oci.layout import Layout, compose_layout
from builder.oci.manifest import CONFIG, MANIFEST, Descriptor, Manifest
from builder.oci.reference import RECORD_TAG, Digest, Hub, ImageReference, Platform
from builder.publish.content import LayoutContent
from builder.publish.guards import CAREFUL, Permissions
from builder.publish.journal import Journal
from builder.publish.lease import HubLease
from builder.publish.lease_times import LeaseTimes
from builder.publish.publication import Publication, Traffic
from builder.publish.shared_journal import SharedJournal
from builder.publish.tags import TagMover
from builder.publish.upload import Uploads
from builder.publish.verify import verify_content, verify_tags
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Event, Message, Progress
from tests.fakes.registry import FakeRegistry

HUB = Hub.parse("hub.test/istio")
PLATFORMS = (Platform("linux", "amd64"), Platform("linux", "arm64"))
IMAGES = ("istioctl", "pilot", "proxyv2")
OLD_TAGS = ("1.29", "1.29-debug")


class Clock:
    """The time on one machine, which goes on only while somebody waits. `skew` is by how much its calendar is wrong."""

    def __init__(self, skew: float = 0.0) -> None:
        self.seconds = 0.0
        self.skew = skew

    def wait(self, seconds: float) -> None:
        self.seconds += seconds

    def times(self) -> LeaseTimes:
        start = datetime(2026, 1, 1, tzinfo=UTC)
        return LeaseTimes(monotonic=lambda: self.seconds, now=lambda: start + timedelta(seconds=self.seconds + self.skew))


class Killed(BaseException):
    """The process ends here: nothing after it runs, as with SIGKILL."""


@dataclass
class Release:
    """A set of images to publish, and all that publishing needs."""

    work: Path
    cache: Path
    publications: tuple[Publication, ...]
    registry: FakeRegistry
    messages: list[str] = field(default_factory=list)
    pause: Callable[[float], None] = lambda seconds: None
    permissions: Permissions = CAREFUL
    source_tag: str = ""
    clock: Clock = field(default_factory=Clock)

    def publish(self, undoing: FakeRegistry | None = None) -> Traffic:
        with Uploads(self.registry, Progress(self._observe), Cancellation().group()) as uploads:
            traffic = uploads.publish(self.publications)
        return dataclasses.replace(traffic, tags_moved=self.mover(undoing=undoing).move(self.publications))

    def mover(
        self, seen: Mapping[ImageReference, Manifest | None] = MappingProxyType({}), undoing: FakeRegistry | None = None
    ) -> TagMover:
        """What moves its tags, which were `seen` a moment ago."""
        repositories = [reference.repository for entry in self.publications for reference in entry.references]
        progress = Progress(self._observe)
        lease = HubLease(self.registry, undoing or self.registry, progress, self._wait, self.clock.times())
        local = Journal(self.cache / "journal", repositories)
        return TagMover(
            images=self.registry,
            tags=self.registry,
            rollback_tags=undoing or self.registry,
            journal=SharedJournal(local, lease, self.registry, repositories),
            progress=progress,
            pause=self._wait,
            permissions=self.permissions,
            source_tag=self.source_tag,
            seen=seen,
        )

    def elsewhere(self, skew: float = 0.0) -> "Release":
        """The same release on another machine, which has a cache and a clock of its own and sees the same hub."""
        registry, clock = _view(self.registry), Clock(skew)
        return dataclasses.replace(self, cache=self.work / "other machine", registry=registry, messages=[], clock=clock)

    def records(self) -> list[str]:
        """The images of which the hub has the record of a run."""
        return [image for image in IMAGES if self.registry.record(HUB.repository(image))]

    def journals(self) -> list[Path]:
        """The journals that are left."""
        return list((self.cache / "journal").glob("*.json"))

    def tags(self) -> dict[str, Digest]:
        """Every tag at the hub and what it points at."""
        return {f"{image}:{tag}": digest for image in IMAGES for tag, digest in self.registry.tags(HUB.repository(image)).items()}

    def wanted(self) -> dict[str, Digest]:
        """Every tag as it is to be."""
        return {
            f"{entry.key}:{reference.tag}": entry.index.digest for entry in self.publications for reference in entry.references
        }

    def _wait(self, seconds: float) -> None:
        self.clock.wait(seconds)
        self.pause(seconds)

    def _observe(self, event: Event) -> None:
        if isinstance(event, Message):
            self.messages.append(event.text)


def make_release(
    work: Path,
    content: str,
    registry: FakeRegistry,
    tags: tuple[str, ...] = OLD_TAGS,
    platforms: tuple[Platform, ...] = PLATFORMS,
) -> Release:
    publications = tuple(
        Publication(
            key=image,
            index=(layout := make_layout(work / content / image, f"{image} {content}", platforms)).index(),
            references=tuple(HUB.repository(image).at(tag) for tag in tags),
            content=LayoutContent(layout),
        )
        for image in IMAGES
    )
    return Release(work, work, publications, registry)


def make_layout(root: Path, content: str, platforms: tuple[Platform, ...] = PLATFORMS) -> Layout:
    """A layout with one layer a platform; what publishing sends need not be a real image."""
    parts = {platform: make_part(root / platform.slug, f"{content} {platform}", platform) for platform in platforms}
    return compose_layout(parts, root / "whole", {}, {})


def make_part(root: Path, content: str, platform: Platform) -> Layout:
    layout = Layout(root)
    (root / "blobs" / "sha256").mkdir(parents=True)

    def store(media_type: str, data: bytes) -> Descriptor:
        descriptor = Descriptor(media_type=media_type, digest=Digest.of(data), size=len(data))
        layout.blob(descriptor.digest).write_bytes(data)
        return descriptor

    config = store(CONFIG, json.dumps({"os": "linux", "architecture": platform.architecture, "c": content}).encode())
    layer = store("application/vnd.oci.image.layer.v1.tar", content.encode())
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_json(), "layers": [layer.to_json()]}
    manifest = store(MANIFEST, json.dumps(document).encode())
    (root / "index.json").write_text(json.dumps({"manifests": [manifest.to_json()]}))
    return layout


@pytest.fixture
def old(tmp_path: Path) -> Release:
    """A release that is at the hub."""
    release = make_release(tmp_path, "old", FakeRegistry())
    release.publish()
    return release


@pytest.fixture
def new(old: Release) -> Release:
    """The next release, for the same tags."""
    return make_release(old.work, "new", old.registry)


class TestOrder:
    def test_everything_is_there_before_the_first_tag_moves(self, new: Release) -> None:
        start = len(new.registry.log)
        new.publish()
        log = new.registry.log[start:]
        puts = [operation for operation, key in log if operation == "put_manifest" or moves_tag(operation, key)]
        assert puts.count("put_tag") == 6
        assert puts[-6:] == ["put_tag"] * 6
        # Who else comes has to see it before anything moves, and all of it.
        records = [number for number, (operation, key) in enumerate(log) if key.endswith(RECORD_TAG) and operation == "put_tag"]
        assert len(records) == 2 * 3
        assert max(records) < min(number for number, (operation, key) in enumerate(log) if moves_tag(operation, key))
        for image in IMAGES:
            mine = [operation for operation, key in log if f"/{image}@sha256:" in key and operation != "get_manifest"]
            assert mine == ["push_blob"] * 4 + ["put_manifest"] * 3

    def test_tags_end_where_they_should_and_verify_agrees(self, new: Release) -> None:
        traffic = new.publish()
        assert new.tags() == new.wanted()
        assert traffic.tags_moved == 6
        assert traffic.uploaded == 12
        assert len(verify_content(new.publications, new.registry)) == 3
        verify_tags(new.publications, new.registry)

    def test_publishing_again_sends_and_moves_nothing(self, new: Release) -> None:
        new.publish()
        again = new.publish()
        assert (again.uploaded, again.bytes_sent, again.tags_moved, again.present) == (0, 0, 0, 12)

    def test_base_layers_are_mounted_from_the_base_in_the_same_registry(self, tmp_path: Path) -> None:
        registry = FakeRegistry()
        release = make_release(tmp_path, "mounted", registry)
        base = Hub.parse("hub.test/bases").repository("base")
        for entry in release.publications:
            assert isinstance(entry.content, LayoutContent)
            for path in (entry.content.layout.root / "blobs" / "sha256").iterdir():
                registry.blobs[base][Digest(f"sha256:{path.name}")] = path.read_bytes()
        release.publications = tuple(
            dataclasses.replace(entry, content=LayoutContent(entry.content.layout, (base,)))
            for entry in release.publications
            if isinstance(entry.content, LayoutContent)
        )
        assert release.publish().mounted == 12


class TestAllOrNothing:
    def test_whichever_request_fails_no_tag_has_moved(self, tmp_path: Path) -> None:
        """Every request of a whole publication is made to fail once, in a hub of its own."""
        counted = make_release(tmp_path / "count", "old", FakeRegistry())
        counted.publish()
        requests = make_release(tmp_path / "count", "new", counted.registry)
        start = len(counted.registry.log)
        undoing = _view(counted.registry)
        requests.publish(undoing)
        total = len(counted.registry.log) - start
        # Each image: 4 blobs, 2 manifests and their index, 2 tags read, and 2 looked at once more and moved. Its record: looked
        # at, looked at and written, looked at again, written with the moves, and looked at before each of the 2.
        assert total == 3 * (4 + 3 + 2 + 4) + 3 * (1 + 2 + 1 + 1 + 2)
        # And at the end it is looked at and removed.
        assert [operation for operation, _ in undoing.log] == ["get_manifest", "delete_tag"] * 3
        for number in range(total):
            self._fail_request(tmp_path / str(number), number)

    def _fail_request(self, work: Path, number: int) -> None:
        old = make_release(work, "old", FakeRegistry())
        old.publish()
        before = old.tags()
        new = make_release(work, "new", old.registry)
        count = iter(range(10**6))
        undoing = _view(new.registry)
        new.registry.fail_on = lambda operation, key: RegistryError("injected", status=500) if next(count) == number else None
        with pytest.raises(BuilderError, match="injected"):
            new.publish(undoing)
        assert new.tags() == before, f"after request {number} failed"
        new.registry.fail_on = lambda operation, key: None
        new.publish()
        assert new.tags() == new.wanted()

    def test_a_lost_answer_to_a_moved_tag_is_undone_too(self, new: Release) -> None:
        """The registry moved the tag, but we never heard of it."""
        before = new.tags()
        undoing = _view(new.registry)
        new.registry.fail_after = _fail_tag("pilot:1.29-debug")
        with pytest.raises(PublishError, match="every tag is where it was before"):
            new.publish(undoing)
        assert new.tags() == before

    def test_new_tags_are_removed_again(self, tmp_path: Path) -> None:
        release = make_release(tmp_path, "first", FakeRegistry())
        undoing = _view(release.registry)
        release.registry.fail_on = _fail_tag("proxyv2:1.29-debug")
        with pytest.raises(PublishError, match="every tag is where it was before"):
            release.publish(undoing)
        assert release.tags() == {}

    def test_new_tags_that_cannot_be_removed_are_named(self, tmp_path: Path) -> None:
        release = make_release(tmp_path, "first", FakeRegistry(can_delete_tags=False))
        undoing = _view(release.registry)
        release.registry.fail_on = _fail_tag("pilot:1.29")
        with pytest.raises(PublishError, match="cannot delete tags") as raised:
            release.publish(undoing)
        assert "hub.test/istio/istioctl:1.29 " in raised.value.message
        assert "Run the same command again" in raised.value.hint
        release.registry.fail_on = lambda operation, key: None
        release.publish()
        assert release.tags() == release.wanted()

    def test_a_tag_that_may_not_be_moved_is_no_tag_that_was(self, new: Release) -> None:
        """Immutable tags: the registry refuses the move, and refuses it again when it would be undone."""
        before = new.tags()
        new.registry.fail_on = _fail_tag("pilot:1.29", status=403)
        with pytest.raises(PublishError, match="every tag is where it was before"):
            new.publish()
        assert new.tags() == before
        assert new.journals() == []

    def test_ctrl_c_between_two_tags_puts_all_back(self, new: Release) -> None:
        before = new.tags()

        def interrupt_after_three(seconds: float) -> None:
            if sum(moves_tag(*call) for call in new.registry.log) == 3:
                raise Interrupted("interrupted")

        new.pause = interrupt_after_three
        # The old release's own six tags were the last puts so far.
        new.registry.log.clear()
        with pytest.raises(Interrupted, match="every tag is where it was before"):
            new.publish()
        assert new.tags() == before


class TestAfterACrash:
    @pytest.mark.parametrize("moved", range(1, 6))
    def test_the_same_run_again_finishes_the_work(self, new: Release, moved: int) -> None:
        _kill_after(new, moved)
        new.publish()
        assert new.tags() == new.wanted()
        assert any("cut off" in message for message in new.messages)

    @pytest.mark.parametrize("moved", range(1, 6))
    def test_a_failing_run_after_it_restores_the_last_whole_release(self, old: Release, new: Release, moved: int) -> None:
        before = old.tags()
        _kill_after(new, moved)
        assert new.tags() != before
        undoing = _view(new.registry)
        new.registry.fail_on = _fail_tag("proxyv2:1.29-debug")
        with pytest.raises(PublishError):
            new.publish(undoing)
        assert new.tags() == before

    def test_a_run_for_other_tags_puts_back_what_the_killed_one_moved(self, old: Release, new: Release) -> None:
        before = old.tags()
        _kill_after(new, 3)
        other = make_release(new.work, "other", new.registry, tags=("1.30",))
        other.publish()
        assert {name: digest for name, digest in new.tags().items() if ":1.29" in name} == before
        assert all(new.tags()[f"{image}:1.30"] for image in IMAGES)

    def test_a_newer_release_of_another_machine_is_not_rolled_back(self, new: Release) -> None:
        _kill_after(new, 3)
        newer = make_release(new.work / "elsewhere", "newer", new.registry)
        newer.publish()
        make_release(new.work, "other", new.registry, tags=("1.30",)).publish()
        assert {name: digest for name, digest in new.tags().items() if ":1.29" in name} == newer.wanted()

    def test_some_images_alone_find_what_the_whole_set_left(self, old: Release, new: Release) -> None:
        before = old.tags()
        _kill_after(new, 5)
        pilot = make_release(new.work, "pilot", new.registry)
        pilot.publications = pilot.publications[1:2]
        pilot.publish()
        now = new.tags()
        assert {name: digest for name, digest in now.items() if not name.startswith("pilot")} == {
            name: digest for name, digest in before.items() if not name.startswith("pilot")
        }
        assert all(now[f"pilot:{tag}"] == pilot.publications[0].index.digest for tag in OLD_TAGS)

    def test_nothing_is_left_over_after_a_run_that_went_well(self, new: Release) -> None:
        new.publish()
        assert new.journals() == []


class TestVerify:
    def test_a_tag_that_somebody_moved_meanwhile_is_told(self, old: Release, new: Release) -> None:
        new.publish()
        pilot = HUB.repository("pilot")
        new.registry.manifests[pilot]["1.29"] = old.publications[1].index
        with pytest.raises(VerifyError, match=r"all tags had moved, but 5 of 6 .*\n.*pilot:1.29 is sha256:\w+, not sha256:"):
            verify_tags(new.publications, new.registry)

    def test_a_platform_that_a_clean_up_removed_is_told(self, new: Release) -> None:
        new.publish()
        pilot = HUB.repository("pilot")
        arm64 = new.publications[1].index.children()[1]
        del new.registry.manifests[pilot][str(arm64.digest)]
        with pytest.raises(VerifyError, match=f"linux/arm64: its manifest {arm64.digest} is missing"):
            verify_content(new.publications, new.registry)

    def test_a_lost_layer_is_told(self, new: Release) -> None:
        new.publish()
        entry = new.publications[0]
        assert entry.content is not None
        layer = entry.content.manifest(entry.index.children()[0]).layers()[0]
        del new.registry.blobs[HUB.repository("istioctl")][layer.digest]
        with pytest.raises(VerifyError, match=f"linux/amd64: layer {layer.digest} is missing"):
            verify_content(new.publications, new.registry)


def moves_tag(operation: str, key: str) -> bool:
    """Whether this call moves the tag of an image, and not a record."""
    return operation == "put_tag" and not key.endswith(f":{RECORD_TAG}")


def _kill_after(release: Release, moved: int) -> None:
    """Publish, and end as if killed right after this many tags have moved."""
    tags: list[str] = []

    def hook(operation: str, key: str) -> Exception | None:
        if moves_tag(operation, key):
            tags.append(key)
            if len(tags) == moved:
                raise Killed
        return None

    release.registry.fail_after = hook
    with pytest.raises(Killed):
        release.publish()
    release.registry.fail_after = lambda operation, key: None


def _fail_tag(name: str, status: int = 500) -> Callable[[str, str], Exception | None]:
    """Fail the request that moves this tag."""
    return lambda operation, key: (
        RegistryError("injected", status=status) if (operation, key) == ("put_tag", f"{HUB}/{name}") else None
    )


def _view(registry: FakeRegistry) -> FakeRegistry:
    """The same content through a client on which no fault is injected: what undoing uses."""
    view = FakeRegistry(can_delete_tags=registry.can_delete_tags)
    view.manifests, view.blobs = registry.manifests, registry.blobs
    return view


class TestOthersAtWork:
    """Several machines, each with a cache of its own, at one hub."""

    def test_undoing_leaves_what_another_run_has_finished_meanwhile(self, new: Release) -> None:
        """We fail at a tag while another machine's release goes through: it must stay whole."""
        other = make_release(new.work / "theirs", "theirs", _view(new.registry)).elsewhere()

        def fail_late(operation: str, key: str) -> Exception | None:
            if (operation, key) == ("put_tag", f"{HUB}/proxyv2:1.29-debug"):
                other.publish()
                return RegistryError("injected", status=403)
            return None

        undoing = _view(new.registry)
        new.registry.fail_on = fail_late
        with pytest.raises(PublishError, match="every tag that this run had moved is back") as raised:
            new.publish(undoing)
        assert new.tags() == other.wanted()
        assert "left alone, as somebody else has moved them meanwhile:\n" in raised.value.message
        assert f"\n  {HUB}/proxyv2:1.29\n" in raised.value.message
        assert new.journals() == []

    def test_a_tag_that_somebody_moved_since_we_looked_is_not_overwritten(self, old: Release, new: Release) -> None:
        before = old.tags()
        theirs = make_release(new.work / "theirs", "theirs", new.registry).publications[1].index

        def move_theirs(operation: str, key: str) -> Exception | None:
            if (operation, key) == ("put_tag", f"{HUB}/istioctl:1.29"):
                new.registry.manifests[HUB.repository("pilot")]["1.29"] = theirs
            return None

        new.registry.fail_on = move_theirs
        with pytest.raises(PublishError, match=f"somebody else has moved {HUB}/pilot:1.29 meanwhile: it is {theirs.digest}"):
            new.publish()
        assert new.tags() == {**before, "pilot:1.29": theirs.digest}

    def test_the_same_release_from_two_machines_is_not_taken_back_from_either(self, new: Release) -> None:
        """We fail half-way, another machine has meanwhile put the very same release there: it is whole, and stays."""
        other = new.elsewhere()

        def fail_late(operation: str, key: str) -> Exception | None:
            if (operation, key) == ("put_tag", f"{HUB}/pilot:1.29-debug"):
                other.publish()
                return RegistryError("injected", status=500)
            return None

        undoing = _view(new.registry)
        new.registry.fail_on = fail_late
        new.publish(undoing)
        assert new.tags() == new.wanted()
        assert any("All tags are where they should be" in message for message in new.messages)

    def test_a_killed_run_that_another_machine_finished_is_not_rolled_back(self, new: Release) -> None:
        _kill_after(new, 4)
        new.elsewhere().publish()
        make_release(new.work, "next", new.registry, tags=("1.30",)).publish()
        assert {name: digest for name, digest in new.tags().items() if ":1.29" in name} == new.wanted()

    def test_a_run_killed_after_its_last_tag_is_not_rolled_back(self, new: Release) -> None:
        _kill_after(new, 6)
        assert new.journals()
        make_release(new.work, "next", new.registry, tags=("1.30",)).publish()
        assert {name: digest for name, digest in new.tags().items() if ":1.29" in name} == new.wanted()
        assert new.journals() == []

    @pytest.mark.parametrize("gone", [False, True], ids=["moved", "deleted"])
    def test_a_journal_of_tags_that_somebody_moved_since_is_told_and_left(self, old: Release, new: Release, gone: bool) -> None:
        _kill_after(new, 4)
        pilot = new.registry.manifests[HUB.repository("pilot")]
        theirs = make_release(new.work / "theirs", "theirs", new.registry).publications[1].index
        if gone:
            del pilot["1.29"]
        else:
            pilot["1.29"] = theirs
        before = new.tags()
        other = make_release(new.work, "next", new.registry, tags=("1.30",))
        other.publish()
        assert {name: digest for name, digest in new.tags().items() if ":1.29" in name} == before
        [message] = [message for message in other.messages if "cut off" in message]
        assert f"{HUB}/pilot:1.29 is {'gone' if gone else theirs.digest}" in message

    @pytest.mark.parametrize("failing", ["istioctl:1.29-debug", "proxyv2:1.29-debug"])
    def test_another_release_that_fails_after_a_killed_one_restores_the_last_whole_one(
        self, old: Release, new: Release, failing: str
    ) -> None:
        before = old.tags()
        _kill_after(new, 4)
        other = make_release(new.work, "other", new.registry)
        undoing = _view(new.registry)
        other.registry.fail_on = _fail_tag(failing)
        with pytest.raises(PublishError, match="every tag is where it was before"):
            other.publish(undoing)
        assert other.tags() == before

    @pytest.mark.parametrize("status", [0, 408, 500, 502, 504])
    def test_a_request_without_an_answer_keeps_the_journal(self, old: Release, new: Release, status: int) -> None:
        """It may still arrive when all else has been put back, and then only the journal tells; a gateway knows no better."""
        before = old.tags()
        undoing = _view(new.registry)

        def lose(operation: str, key: str) -> Exception | None:
            return (
                RegistryError("it did not answer", status=status)
                if (operation, key) == ("put_tag", f"{HUB}/pilot:1.29")
                else None
            )

        new.registry.fail_on = lose
        with pytest.raises(PublishError, match=r"the last request, for .*pilot:1\.29, got no answer and may still arrive"):
            new.publish(undoing)
        assert new.tags() == before
        new.registry.manifests[HUB.repository("pilot")]["1.29"] = new.publications[1].index
        new.registry.fail_on = lambda operation, key: None
        make_release(new.work, "next", new.registry, tags=("1.30",)).publish()
        assert {name: digest for name, digest in new.tags().items() if ":1.29" in name} == before


class TestPlatformsAreKept:
    @pytest.fixture
    def narrow(self, old: Release) -> Release:
        """The same tags for one platform alone."""
        return make_release(old.work, "narrow", old.registry, platforms=PLATFORMS[1:])

    def test_a_push_that_would_lose_a_platform_moves_nothing(self, old: Release, narrow: Release) -> None:
        before = old.tags()
        with pytest.raises(PlatformLoss, match="take platforms away") as raised:
            narrow.publish()
        assert f"{HUB}/pilot:1.29 has linux/amd64, linux/arm64; it would have linux/arm64" in raised.value.message
        assert "--replace" in raised.value.hint
        assert narrow.tags() == before

    def test_it_may_when_it_is_told_to(self, narrow: Release) -> None:
        narrow.permissions = Permissions(replace=True)
        narrow.publish()
        assert narrow.tags() == narrow.wanted()

    def test_more_platforms_are_no_loss(self, tmp_path: Path) -> None:
        registry = FakeRegistry()
        make_release(tmp_path, "narrow", registry, platforms=PLATFORMS[1:]).publish()
        wide = make_release(tmp_path, "wide", registry)
        wide.publish()
        assert wide.tags() == wide.wanted()

    def test_a_single_image_at_the_tag_is_for_a_platform_too(self, old: Release, narrow: Release) -> None:
        amd64 = old.publications[1].index.children()[0]
        pilot = old.registry.manifests[HUB.repository("pilot")]
        pilot["1.29"] = pilot["1.29-debug"] = pilot[str(amd64.digest)]
        narrow.publications = narrow.publications[1:2]
        with pytest.raises(PlatformLoss, match=r"pilot:1\.29 has linux/amd64; it would have linux/arm64"):
            narrow.publish()

    def test_a_single_image_that_cannot_be_read_is_not_taken_for_none(self, old: Release, narrow: Release) -> None:
        amd64 = old.publications[1].index.children()[0]
        pilot = old.registry.manifests[HUB.repository("pilot")]
        pilot["1.29"] = pilot["1.29-debug"] = pilot[str(amd64.digest)]
        before = old.registry.tags(HUB.repository("pilot"))
        narrow.publications = narrow.publications[1:2]
        narrow.registry.fail_on = lambda operation, key: RegistryError("timed out") if operation == "get_blob" else None
        with pytest.raises(RegistryError, match="timed out"):
            narrow.publish()
        assert old.registry.tags(HUB.repository("pilot")) == before

    def test_an_index_that_does_not_say_its_platforms_is_looked_into(self, old: Release, narrow: Release) -> None:
        pilot = old.registry.manifests[HUB.repository("pilot")]
        document = json.loads(pilot["1.29"].content)
        for child in document["manifests"]:
            del child["platform"]
        pilot["1.29"] = dataclasses.replace(pilot["1.29"], content=json.dumps(document).encode())
        narrow.publications = narrow.publications[1:2]
        with pytest.raises(PlatformLoss, match=r"pilot:1\.29 has linux/amd64, linux/arm64; it would have linux/arm64"):
            narrow.publish()


class TestTheJournal:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda text: "",
            lambda text: text[: len(text) // 2],
            lambda text: "[" * 60_000,
            lambda text: "[]",
            lambda text: "{}",
            lambda text: text.replace('"version": 2', '"version": 3'),
            lambda text: text.replace('"after": "sha256:', '"after": "sha256:x'),
            lambda text: _flip_manifest(text),
            lambda text: json.dumps({**json.loads(text), "tags": []}),
            lambda text: text.replace("index.v1+json", "index.v2+json"),
            lambda text: _other_digest(text),
        ],
        ids=[
            *("empty", "cut off", "deep", "a list", "no tags", "newer", "bad digest", "another manifest"),
            *("no entries", "another type", "another digest"),
        ],
    )
    def test_a_damaged_one_is_named_and_kept(self, new: Release, spoil: Callable[[str], str]) -> None:
        _kill_after(new, 3)
        before = new.tags()
        [journal] = new.journals()
        journal.write_text(spoil(journal.read_text()))
        content = journal.read_bytes()
        with pytest.raises(JournalError) as raised:
            new.publish()
        assert str(journal) in raised.value.message
        assert journal.read_bytes() == content
        assert new.tags() == before

    def test_one_of_before_there_was_a_version_is_read(self, old: Release, new: Release) -> None:
        before = old.tags()
        _kill_after(new, 3)
        [journal] = new.journals()
        document = json.loads(journal.read_text())
        del document["version"], document["sum"], document["run"]
        for entry in document["tags"]:
            del entry["before"]["digest"]
        journal.write_text(json.dumps(document))
        make_release(new.work, "next", new.registry, tags=("1.30",)).publish()
        assert {name: digest for name, digest in new.tags().items() if ":1.29" in name} == before


def _other_digest(text: str) -> str:
    """A journal in which a tag was to go elsewhere than was noted."""
    document = json.loads(text)
    document["tags"][0]["after"] = str(Digest.of(b"other"))
    return json.dumps(document)


class TestSeveralHubs:
    """A release is whole, or not, at all its hubs."""

    OTHER = Hub.parse("other.test/istio")

    def at_both(self, release: Release) -> Release:
        """The release with the same tags at a second hub, which the registry serves as well."""
        publications = tuple(
            dataclasses.replace(
                entry,
                references=(*entry.references, *(self.OTHER.repository(entry.key).at(ref.tag) for ref in entry.references)),
            )
            for entry in release.publications
        )
        return dataclasses.replace(release, publications=publications, messages=[])

    def tags(self, release: Release) -> dict[str, Digest]:
        return {
            f"{hub}/{image}:{tag}": digest
            for hub in (HUB, self.OTHER)
            for image in IMAGES
            for tag, digest in release.registry.tags(hub.repository(image)).items()
        }

    @pytest.fixture
    def before(self, tmp_path: Path) -> Release:
        release = self.at_both(make_release(tmp_path, "old", FakeRegistry()))
        release.publish()
        return release

    @pytest.mark.parametrize("moved", [1, 2, 3, 4, 7, 10, 11])
    def test_a_run_at_one_of_them_puts_back_both(self, before: Release, moved: int) -> None:
        tags = self.tags(before)
        _kill_after(self.at_both(make_release(before.work, "new", before.registry)), moved)
        make_release(before.work, "next", before.registry, tags=("1.30",)).publish()
        assert {name: digest for name, digest in self.tags(before).items() if ":1.30" not in name} == tags

    def test_a_finished_release_stays_at_both(self, before: Release) -> None:
        new = self.at_both(make_release(before.work, "new", before.registry))
        _kill_after(new, 12)
        tags = self.tags(new)
        # Killed while it removed its journals: one is left.
        sorted(new.journals())[0].unlink()
        self.at_both(make_release(before.work, "next", before.registry, tags=("1.30",))).publish()
        assert {name: digest for name, digest in self.tags(new).items() if ":1.30" not in name} == tags
        assert new.journals() == []


class TestWhateverGoesWrong:
    def test_an_error_that_is_none_of_ours_stops_no_undoing(self, new: Release) -> None:
        before = new.tags()
        undoing = _view(new.registry)
        count = iter(range(10**6))
        # As when no thread can be started: the first look after the failure.
        undoing.fail_on = lambda operation, key: RuntimeError("can't start new thread") if next(count) == 0 else None
        new.registry.fail_on = _fail_tag("proxyv2:1.29")
        with pytest.raises(PublishError, match="every tag is where it was before"):
            new.publish(undoing)
        assert new.tags() == before

    def test_a_journal_that_cannot_be_removed_is_told(self, new: Release) -> None:
        repositories = [reference.repository for entry in new.publications for reference in entry.references]
        journal = Journal(new.cache / "journal", repositories)
        # A directory in its place, which is what a file cannot be removed by.
        [path] = [journal._path(hub) for hub in journal._hubs]
        path.mkdir(parents=True)
        assert journal.finish() == (path,)


def _flip_manifest(text: str) -> str:
    """A journal in which what a tag was before is another manifest than was noted."""
    document = json.loads(text)
    before = document["tags"][0]["before"]
    before["content"] = base64.b64encode(base64.b64decode(before["content"]).replace(b"arm64", b"arm65")).decode()
    return json.dumps(document)


def test_a_tag_that_was_seen_a_moment_ago_is_not_asked_for_again(tmp_path: Path) -> None:
    """Where nothing has to move. Before one is moved, it is asked for in any case."""
    registry = FakeRegistry()
    release = make_release(tmp_path, "first", registry)
    release.publish()
    seen = {reference: entry.index for entry in release.publications for reference in entry.references}
    registry.log.clear()
    assert release.mover(seen).move(release.publications) == 0
    # But whether a run has died there.
    assert sorted(registry.operations("get_manifest")) == [f"{HUB}/{image}:{RECORD_TAG}" for image in IMAGES]
    make_release(tmp_path, "another", registry).publish()
    mine = make_release(tmp_path, "mine", registry)
    with Uploads(registry, Progress(mine._observe), Cancellation().group()) as uploads:
        uploads.publish(mine.publications)
    with pytest.raises(PublishError, match="somebody else has moved"):
        mine.mover(seen).move(mine.publications)
