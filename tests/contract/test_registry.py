"""The contract of `ports.Registry`: the fake that other tests lean on, the demo's registry, and real ones of several makers."""

import functools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from builder.errors import PublishError, RegistryError
from builder.oci.manifest import CONFIG, INDEX, MANIFEST, Descriptor, FoundBlob, Manifest, compose_index
from builder.oci.reference import Digest, Platform, Repository
from builder.ports import Registry, UploadOutcome
from builder.publish.hub_record import HubRecord, Lease, NotedMove, read_record, record_reference, write_record
from builder.publish.lease import HubLease
from builder.publish.lease_times import LeaseTimes
from builder.registry.client import HttpRegistry
from builder.runtime.progress import Progress
from builder.runtime.retry import RetryPolicy
from tests.fakes.registry import FakeRegistry
from tests.real.registry import MAKERS, Maker, registry_program, running_registry
from tools.registry import serving

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture(scope="module")
def real_registries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Gives the address of one of this maker, which is started when it is first asked for."""
    with ExitStack() as running:

        @functools.cache
        def start(maker: str) -> str:
            program = registry_program(f"tests/contract/test_registry.py[{maker}]", maker)
            return running.enter_context(running_registry(program, tmp_path_factory.mktemp(maker), maker=maker))

        yield start


@dataclass(frozen=True)
class Subject:
    """A registry under test, a repository of the test's own in it, and where its maker's reading of the specification differs."""

    registry: Registry
    repository: Repository
    maker: Maker

    @property
    def from_elsewhere(self) -> UploadOutcome:
        """How a blob comes to be here that another repository has."""
        return UploadOutcome.PRESENT if self.maker.shares_blobs else UploadOutcome.MOUNTED


@pytest.fixture(scope="module")
def demo_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("demo-registry")) as host:
        yield host


# What is told of a real one's maker, of those that are ours: the fake and the demo's.
OURS = {
    "fake": Maker(find=str, command=lambda *_: (), lacking=""),
    "demo": Maker(find=str, command=lambda *_: (), lacking="", lists_referrers=False),
}


@pytest.fixture(params=[*OURS, *MAKERS])
def subject(request: pytest.FixtureRequest, real_registries: Callable[[str], str]) -> Subject:
    name = "".join(char if char.isalnum() else "-" for char in request.node.originalname.lower()).strip("-")
    if request.param == "fake":
        return Subject(FakeRegistry(), Repository("hub.test", f"contract/{name}"), OURS["fake"])
    host = str(request.getfixturevalue("demo_registry")) if request.param == "demo" else real_registries(request.param)
    registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(attempts=1, sleep=time.sleep))
    return Subject(registry, Repository(host, f"contract/{name}"), {**OURS, **MAKERS}[request.param])


def make_blob(tmp_path: Path, content: bytes, media_type: str = LAYER) -> tuple[Descriptor, Path]:
    descriptor = Descriptor(media_type=media_type, digest=Digest.of(content), size=len(content))
    path = tmp_path / descriptor.digest.short
    path.write_bytes(content)
    return descriptor, path


def push_image(subject: Subject, tmp_path: Path, layer: bytes = b"layer") -> Manifest:
    config, config_path = make_blob(tmp_path, b"{}", CONFIG)
    blob, blob_path = make_blob(tmp_path, layer)
    subject.registry.push_blob(subject.repository, config, lambda: config_path)
    subject.registry.push_blob(subject.repository, blob, lambda: blob_path)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.to_json(),
        "layers": [blob.to_json()],
    }
    manifest = Manifest(media_type=MANIFEST, content=json.dumps(document).encode())
    subject.registry.put_manifest(subject.repository, manifest)
    return manifest


def compose_release(subject: Subject, tmp_path: Path, layer: bytes = b"layer") -> Manifest:
    image = push_image(subject, tmp_path, layer)
    child = Descriptor(
        media_type=image.media_type,
        digest=image.digest,
        size=len(image.content),
        platform=Platform("linux", "arm64"),
    )
    return compose_index((child,), {"org.example.note": "héllo"})


def test_uploads_a_blob_once(subject: Subject, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    descriptor, path = make_blob(tmp_path, content)
    counted: list[int] = []

    assert not subject.registry.has_blob(subject.repository, descriptor.digest)
    first = subject.registry.push_blob(subject.repository, descriptor, lambda: path, on_bytes=counted.append)
    assert (first, sum(counted)) == (UploadOutcome.UPLOADED, len(content))

    counted.clear()
    second = subject.registry.push_blob(subject.repository, descriptor, lambda: path, on_bytes=counted.append)
    assert (second, sum(counted)) == (UploadOutcome.PRESENT, 0)
    assert subject.registry.has_blob(subject.repository, descriptor.digest)
    assert subject.registry.get_blob(subject.repository, descriptor) == content


def test_uploads_an_empty_blob(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, b"")
    assert subject.registry.push_blob(subject.repository, descriptor, lambda: path) is UploadOutcome.UPLOADED
    assert subject.registry.has_blob(subject.repository, descriptor.digest)


def test_fetches_a_blob_to_the_disk(subject: Subject, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    descriptor, path = make_blob(tmp_path, content)
    subject.registry.push_blob(subject.repository, descriptor, lambda: path)
    counted: list[int] = []
    into = tmp_path / "cache" / "blob"
    subject.registry.pull_blob(subject.repository, descriptor, into, on_bytes=counted.append)
    assert (into.read_bytes(), sum(counted)) == (content, len(content))
    assert [entry.name for entry in into.parent.iterdir()] == ["blob"]


def test_who_reads_a_file_that_is_fetched_anew_reads_on(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, b"new")
    subject.registry.push_blob(subject.repository, descriptor, lambda: path)
    into = tmp_path / "blob"
    into.write_bytes(b"old")
    with into.open("rb") as reader:
        subject.registry.pull_blob(subject.repository, descriptor, into)
        assert (reader.read(), into.read_bytes()) == (b"old", b"new")


def test_tells_how_long_a_blob_is(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, bytes(1234))
    subject.registry.push_blob(subject.repository, descriptor, lambda: path)
    assert subject.registry.find_blob(subject.repository, descriptor.digest) == FoundBlob(size=1234)
    assert subject.registry.find_blob(subject.repository, Digest.of(b"nothing")) is None


def test_fetches_an_empty_blob(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, b"")
    subject.registry.push_blob(subject.repository, descriptor, lambda: path)
    subject.registry.pull_blob(subject.repository, descriptor, tmp_path / "empty")
    assert (tmp_path / "empty").read_bytes() == b""


def test_leaves_nothing_of_a_blob_that_is_not_there(subject: Subject, tmp_path: Path) -> None:
    nothing = Descriptor(media_type=LAYER, digest=Digest.of(b"nothing"), size=7)
    with pytest.raises(RegistryError) as caught:
        subject.registry.pull_blob(subject.repository, nothing, tmp_path / "cache" / "blob")
    assert caught.value.status == 404
    assert not list((tmp_path / "cache").glob("*")) if (tmp_path / "cache").exists() else True


def test_mounts_a_blob_of_another_repository(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, b"shared")
    source = Repository(subject.repository.registry, f"{subject.repository.path}/base")
    subject.registry.push_blob(source, descriptor, lambda: path)
    counted: list[int] = []

    without_it = Repository(subject.repository.registry, f"{subject.repository.path}/empty")
    elsewhere = Repository("elsewhere.test", "istio/base")
    outcome = subject.registry.push_blob(
        subject.repository,
        descriptor,
        lambda: path,
        mount_from=(elsewhere, without_it, source),
        on_bytes=counted.append,
    )
    assert (outcome, sum(counted)) == (subject.from_elsewhere, 0)
    assert subject.registry.get_blob(subject.repository, descriptor) == b"shared"


def test_asks_for_no_content_that_need_not_be_sent(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, b"there already")
    source = Repository(subject.repository.registry, f"{subject.repository.path}/base")
    subject.registry.push_blob(source, descriptor, lambda: path)

    def refuse() -> Path:
        pytest.fail("asked for the content")

    assert subject.registry.push_blob(source, descriptor, refuse) is UploadOutcome.PRESENT
    mounted = subject.registry.push_blob(subject.repository, descriptor, refuse, mount_from=(source,))
    assert mounted is subject.from_elsewhere


def test_uploads_what_cannot_be_mounted(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, b"nowhere yet")
    other = Repository(subject.repository.registry, f"{subject.repository.path}/empty")
    outcome = subject.registry.push_blob(subject.repository, descriptor, lambda: path, mount_from=(other,))
    assert outcome is UploadOutcome.UPLOADED


def test_refuses_a_blob_that_is_not_its_digest(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, b"right")
    path.write_bytes(b"wrong")
    with pytest.raises(RegistryError) as caught:
        subject.registry.push_blob(subject.repository, descriptor, lambda: path)
    assert caught.value.status == 400
    assert not subject.registry.has_blob(subject.repository, descriptor.digest)


def test_keeps_the_bytes_of_an_index(subject: Subject, tmp_path: Path) -> None:
    index = compose_release(subject, tmp_path)
    subject.registry.put_tag(subject.repository.at("1.29.0"), index)

    by_tag = subject.registry.get_manifest(subject.repository.at("1.29.0"))
    by_digest = subject.registry.get_manifest(subject.repository.at(index.digest))
    assert by_tag == by_digest == index
    assert by_tag is not None
    assert by_tag.media_type == INDEX


def test_moves_a_tag(subject: Subject, tmp_path: Path) -> None:
    first = compose_release(subject, tmp_path, b"first")
    second = compose_release(subject, tmp_path, b"second")
    subject.registry.put_tag(subject.repository.at("latest"), first)
    subject.registry.put_tag(subject.repository.at("latest"), second)

    assert subject.registry.get_manifest(subject.repository.at("latest")) == second
    assert subject.registry.get_manifest(subject.repository.at(first.digest)) == first


def test_finds_nothing(subject: Subject, tmp_path: Path) -> None:
    nothing = Digest.of(b"nothing")
    assert subject.registry.get_manifest(subject.repository.at("none")) is None
    assert subject.registry.get_manifest(subject.repository.at(nothing)) is None
    push_image(subject, tmp_path)
    assert subject.registry.get_manifest(subject.repository.at("none")) is None
    assert not subject.registry.has_blob(subject.repository, nothing)
    with pytest.raises(RegistryError) as caught:
        subject.registry.get_blob(subject.repository, Descriptor(media_type=LAYER, digest=nothing, size=7))
    assert caught.value.status == 404


def test_refuses_a_manifest_without_its_blobs(subject: Subject) -> None:
    blob = Descriptor(media_type=LAYER, digest=Digest.of(b"missing"), size=7)
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": blob.to_json(), "layers": [blob.to_json()]}
    manifest = Manifest(media_type=MANIFEST, content=json.dumps(document).encode())
    if not subject.maker.checks_blobs:
        subject.registry.put_tag(subject.repository.at("broken"), manifest)
        assert subject.registry.get_manifest(subject.repository.at("broken")) == manifest
        return
    with pytest.raises(RegistryError):
        subject.registry.put_tag(subject.repository.at("broken"), manifest)
    assert subject.registry.get_manifest(subject.repository.at("broken")) is None


def test_stores_an_index_without_a_tag(subject: Subject, tmp_path: Path) -> None:
    index = compose_release(subject, tmp_path)
    subject.registry.put_manifest(subject.repository, index)
    assert subject.registry.get_manifest(subject.repository.at(index.digest)) == index


def test_tags_by_the_tag_whatever_digest_a_reference_is_bound_to(subject: Subject, tmp_path: Path) -> None:
    first = compose_release(subject, tmp_path, b"first")
    second = compose_release(subject, tmp_path, b"second")
    subject.registry.put_tag(subject.repository.at("bound").pinned(first.digest), second)
    assert subject.registry.get_manifest(subject.repository.at("bound")) == second


def test_deletes_a_tag_or_says_that_it_cannot(subject: Subject, tmp_path: Path) -> None:
    index = compose_release(subject, tmp_path)
    subject.registry.put_tag(subject.repository.at("gone"), index)
    subject.registry.put_tag(subject.repository.at("stays"), index)

    deleted = subject.registry.delete_tag(subject.repository.at("gone"))
    assert deleted == (subject.registry.get_manifest(subject.repository.at("gone")) is None) == subject.maker.deletes_tags
    assert subject.registry.get_manifest(subject.repository.at("stays")) == index
    assert subject.registry.get_manifest(subject.repository.at(index.digest)) == index


def test_asking_for_the_right_to_push_leaves_nothing(subject: Subject, tmp_path: Path) -> None:
    subject.registry.check_push(subject.repository)
    assert subject.registry.get_manifest(subject.repository.at("v1")) is None
    blob, path = make_blob(tmp_path, b"after asking")
    assert subject.registry.push_blob(subject.repository, blob, lambda: path) is UploadOutcome.UPLOADED


@pytest.mark.parametrize("first", [True, False], ids=["nothing before", "something before"])
def test_takes_the_record_of_a_run_and_renews_and_ends_it(subject: Subject, tmp_path: Path, first: bool) -> None:
    """An index that lists others, or none, and needs no blob."""
    index = compose_release(subject, tmp_path)
    subject.registry.put_tag(subject.repository.at("1.29.0"), index)
    now = datetime.now(UTC)
    lease = Lease(run="1", owner="a machine", started=now.replace(microsecond=0), expires=now, seconds=60)
    moves = {
        subject.repository.at("1.29.0"): NotedMove(before=None if first else index.digest, after=Digest.of(b"next")),
    }
    record = HubRecord(lease=lease, run="1", moves=moves)
    reference = record_reference(subject.repository)
    for written in (HubRecord(lease=lease), record, HubRecord(run="1", moves=moves), HubRecord()):
        manifest = write_record(written, () if first else (index.descriptor,))
        subject.registry.put_tag(reference, manifest)
        found = subject.registry.get_manifest(reference)
        assert found == manifest
        assert read_record(reference, found) == written
    deleted = subject.registry.delete_tag(reference)
    assert (subject.registry.get_manifest(reference) is None) == deleted
    assert subject.registry.get_manifest(subject.repository.at("1.29.0")) == index


def test_a_lease_is_taken_lost_and_released(subject: Subject, tmp_path: Path) -> None:
    push_image(subject, tmp_path)
    times = LeaseTimes(settle=0.05, poll=0.05, patience=0.3)

    def make_lease() -> HubLease:
        return HubLease(subject.registry, subject.registry, Progress(lambda event: None), time.sleep, times)

    first, second = make_lease(), make_lease()
    assert not first.acquire([subject.repository], ())
    first.confirm(subject.repository)
    with pytest.raises(PublishError, match="another run moves tags"):
        second.acquire([subject.repository], ())
    assert second.acquire([subject.repository], [first.run]) is False
    with pytest.raises(PublishError, match="lost its lease"):
        first.confirm(subject.repository)
    first.release(settled=True)
    second.confirm(subject.repository)
    second.release(settled=True)
    assert make_lease().look([subject.repository]) == {}


def test_push_goes_on_when_the_registry_is_restarted(tmp_path: Path) -> None:
    program = registry_program("test_push_goes_on_when_the_registry_is_restarted")
    descriptor, path = make_blob(tmp_path, b"x" * 1_000_000)
    with running_registry(program, tmp_path) as host:
        pass
    port = int(host.rpartition(":")[2])
    running: list[object] = []

    def restart_it(_: float) -> None:
        server = running_registry(program, tmp_path, port)
        running.append(server)
        server.__enter__()

    registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(attempts=2, sleep=restart_it))
    try:
        assert registry.push_blob(Repository(host, "again"), descriptor, lambda: path) is UploadOutcome.UPLOADED
        assert len(running) == 1
    finally:
        for server in running:
            server.__exit__(None, None, None)  # type: ignore[attr-defined]


def test_says_whether_a_manifest_is_there(subject: Subject, tmp_path: Path) -> None:
    index = compose_release(subject, tmp_path)
    assert not subject.registry.has_manifest(subject.repository, index.digest)
    subject.registry.put_manifest(subject.repository, index)
    assert subject.registry.has_manifest(subject.repository, index.digest)
    assert all(subject.registry.has_manifest(subject.repository, child.digest) for child in index.children())


def test_mounts_what_was_sent_a_moment_ago(subject: Subject, tmp_path: Path) -> None:
    descriptor, path = make_blob(tmp_path, b"just now" * 1000)
    other = Repository(subject.repository.registry, f"{subject.repository.path}/other")
    assert subject.registry.push_blob(subject.repository, descriptor, lambda: path) is UploadOutcome.UPLOADED
    again = subject.registry.push_blob(other, descriptor, lambda: path, mount_from=(subject.repository,))
    assert again is subject.from_elsewhere


def test_lists_what_refers_to_an_image_or_says_that_it_cannot(subject: Subject, tmp_path: Path) -> None:
    index = compose_release(subject, tmp_path)
    subject.registry.put_tag(subject.repository.at("signed"), index)
    none_yet = subject.registry.find_referrers(subject.repository, index.digest)
    assert none_yet == (() if subject.maker.lists_referrers else None)
    config, _path = make_blob(tmp_path, b"{}", CONFIG)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": config.to_json(),
        "layers": [config.to_json()],
        "subject": index.descriptor.to_json(),
    }
    signature = Manifest(media_type=MANIFEST, content=json.dumps(document).encode())
    subject.registry.put_manifest(subject.repository, signature)
    found = subject.registry.find_referrers(subject.repository, index.digest)
    assert (found and [one.digest for one in found]) == ([signature.digest] if subject.maker.lists_referrers else None)


def test_lists_all_tags(subject: Subject, tmp_path: Path) -> None:
    assert subject.registry.list_tags(Repository(subject.repository.registry, f"{subject.repository.path}/none")) == ()
    index = compose_release(subject, tmp_path)
    for tag in ("1.29.0", "latest", "istio-build-run"):
        subject.registry.put_tag(subject.repository.at(tag), index)
    assert sorted(subject.registry.list_tags(subject.repository)) == ["1.29.0", "istio-build-run", "latest"]
