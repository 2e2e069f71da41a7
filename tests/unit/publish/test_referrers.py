"""What refers to an image goes with it, whichever way either registry keeps the list."""

from pathlib import Path

import pytest

from builder.errors import RegistryError
from builder.oci.manifest import CONFIG, INDEX, MANIFEST, Descriptor, Manifest
from builder.oci.reference import Digest, Repository
from builder.publish.referrers import Referrers
from builder.runtime.progress import Event, Message, Progress
from tests.fakes.registry import FakeRegistry
from tests.samples.hubs import PILOT as SAMPLE
from tests.samples.hubs import SampleHub, both

HERE = Repository("stage.test", "istio/pilot")
BESIDE = Repository("stage.test", "production/pilot")
ELSEWHERE = Repository("production.test", "istio/pilot")


class TwoRegistries(FakeRegistry):
    """One client of both; each keeps lists of referrers, or leaves that to clients."""

    def __init__(self, lists: bool, other_lists: bool) -> None:
        super().__init__()
        self.lists = {HERE.registry: lists, ELSEWHERE.registry: other_lists}

    def find_referrers(self, repository: Repository, digest: Digest) -> tuple[Descriptor, ...] | None:
        found = super().find_referrers(repository, digest)
        return found if self.lists[repository.registry] else None


class Stage:
    """An image with what refers to it."""

    def __init__(self, work: Path, *, lists: bool = True, other_lists: bool = True) -> None:
        self.registry = TwoRegistries(lists, other_lists)
        self.hub = SampleHub(HERE, self.registry)
        self.messages: list[str] = []
        self.image = self.registry.manifests[HERE][both(self.hub).tag].digest
        self.referrers = Referrers(self.registry, Progress(self._observe), work)

    def attach(self, subject: Digest, text: str) -> Manifest:
        """A signature, and its line in the list where the registry keeps none."""
        config, layer = self.hub.blob(b"{}", CONFIG), self.hub.blob(text.encode(), "application/octet-stream")
        descriptor = self.hub.manifest(
            {
                "mediaType": MANIFEST,
                "artifactType": "application/vnd.example.signature",
                "config": config.to_json(),
                "layers": [layer.to_json()],
                "subject": {"mediaType": INDEX, "digest": str(subject), "size": 1},
                "annotations": {"says": text},
            }
        )
        manifest = self.registry.manifests[HERE][str(descriptor.digest)]
        if not self.registry.lists[HERE.registry]:
            self.enlist(subject, descriptor)
        return manifest

    def enlist(self, subject: Digest, *descriptors: Descriptor) -> None:
        tag = f"sha256-{subject.hex}"
        there = self.registry.manifests[HERE].get(tag)
        entries = [*(there.children() if there else ()), *descriptors]
        self.hub.tag(self.hub.index(*(entry.to_json() for entry in entries)), tag)

    def copy(self, target: Repository) -> int:
        return self.referrers.copy(HERE, target, (self.image,))

    def listed(self, target: Repository, subject: Digest) -> list[Digest]:
        """As a puller finds them."""
        found = self.registry.find_referrers(target, subject)
        if found is None:
            index = self.registry.manifests[target].get(f"sha256-{subject.hex}")
            found = index.children() if index else ()
        return sorted(descriptor.digest for descriptor in found)

    def _observe(self, event: Event) -> None:
        if isinstance(event, Message):
            self.messages.append(event.text)


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("other_lists", [True, False])
def test_signatures_and_signatures_of_those_go_elsewhere(tmp_path: Path, lists: bool, other_lists: bool) -> None:
    stage = Stage(tmp_path, lists=lists, other_lists=other_lists)
    signature, other = stage.attach(stage.image, "signed"), stage.attach(stage.image, "also")
    countersigned = stage.attach(signature.digest, "countersigned")
    assert stage.copy(ELSEWHERE) == 3
    assert stage.listed(ELSEWHERE, stage.image) == sorted((signature.digest, other.digest))
    assert stage.listed(ELSEWHERE, signature.digest) == [countersigned.digest]
    for manifest in (signature, other, countersigned):
        assert stage.registry.manifests[ELSEWHERE][str(manifest.digest)] == manifest
        assert all(layer.digest in stage.registry.blobs[ELSEWHERE] for layer in manifest.layers())
    before = len(stage.registry.operations("put_tag"))
    stage.copy(ELSEWHERE)
    assert len(stage.registry.operations("put_tag")) == before


def test_a_list_names_what_it_has_by_type_and_keeps_what_was_in_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, other_lists=False)
    signature = stage.attach(stage.image, "signed")
    other = SampleHub(ELSEWHERE, stage.registry)
    theirs = other.image(SAMPLE)
    other.tag(other.index({**theirs.to_json(), "annotations": {"own": "yes"}}), f"sha256-{stage.image.hex}")
    stage.copy(ELSEWHERE)
    entries = stage.registry.manifests[ELSEWHERE][f"sha256-{stage.image.hex}"].json()["manifests"]
    assert entries == [
        {**theirs.to_json(), "annotations": {"own": "yes"}},
        {
            **signature.descriptor.to_json(),
            "artifactType": "application/vnd.example.signature",
            "annotations": {"says": "signed"},
        },
    ]


def test_within_a_registry_they_are_mounted(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.attach(stage.image, "signed")
    assert stage.copy(BESIDE) == 1
    assert stage.registry.operations("pull_blob") == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_listed_and_refers_to_something_else_or_is_gone_stays(tmp_path: Path) -> None:
    stage = Stage(tmp_path, lists=False)
    stranger = stage.attach(Digest.of(b"another image"), "a stranger")
    gone = stage.attach(stage.image, "gone")
    del stage.registry.manifests[HERE][str(gone.digest)]
    stage.enlist(stage.image, stranger.descriptor)
    assert stage.copy(ELSEWHERE) == 0
    assert stage.registry.manifests[ELSEWHERE] == {}
    [message] = stage.messages
    assert "is not there" in message


def test_what_is_no_image_and_no_index_is_told_and_stays(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    signature = stage.attach(stage.image, "signed")
    stage.registry.fail_on = lambda operation, key: (
        RegistryError("it is application/x-old", damaged=True)
        if operation == "get_manifest" and str(signature.digest) in key
        else None
    )
    assert stage.copy(ELSEWHERE) == 0
    assert "is not copied: it is application/x-old" in stage.messages[0]


def test_a_registry_that_fails_is_an_error(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.attach(stage.image, "signed")
    stage.registry.fail_on = lambda operation, key: RegistryError("no", status=500) if operation == "put_manifest" else None
    with pytest.raises(RegistryError):
        stage.copy(ELSEWHERE)


def test_there_is_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.publish.referrers._MOST", 3)
    stage = Stage(tmp_path)
    for number in range(5):
        stage.attach(stage.image, str(number))
    with pytest.raises(RegistryError, match="more than 3"):
        stage.copy(ELSEWHERE)
