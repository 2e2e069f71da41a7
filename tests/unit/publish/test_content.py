"""Publishing from a repository is the same act as from a layout: what can be is mounted, what must be is fetched."""

import dataclasses
from pathlib import Path

import pytest

from builder.errors import RegistryError
from builder.oci.reference import Digest, Hub
from builder.publish.content import RepositoryContent
from builder.publish.publication import Traffic
from builder.publish.verify import verify_content, verify_tags
from tests.fakes.registry import FakeRegistry
from tests.unit.publish.test_publication import HUB, OLD_TAGS, Release, make_release

# A configuration and a layer for each of two platforms of three images.
BLOBS = 12


@dataclasses.dataclass
class Copy:
    """A release at one hub, to be copied to another from there."""

    release: Release
    hub: Hub
    scratch: Path

    @property
    def registry(self) -> FakeRegistry:
        return self.release.registry

    def make(self) -> Traffic:
        self.registry.log.clear()
        return self.release.publish()

    def fetched(self) -> list[str]:
        return self.registry.operations("pull_blob")

    def tags(self) -> dict[str, Digest]:
        """What each image is at the other hub, which has to be one digest under all tags."""
        found = {entry.key: self.registry.tags(self.hub.repository(entry.key)) for entry in self.release.publications}
        assert all(set(tags) == set(OLD_TAGS) and len(set(tags.values())) == 1 for tags in found.values())
        return {key: tags[OLD_TAGS[0]] for key, tags in found.items()}


def copy_to(work: Path, hub: str) -> Copy:
    source = make_release(work, "old", FakeRegistry())
    source.publish()
    there, scratch = Hub.parse(hub), work / "scratch"
    publications = tuple(
        dataclasses.replace(
            entry,
            references=tuple(there.repository(entry.key).at(tag) for tag in OLD_TAGS),
            content=RepositoryContent(HUB.repository(entry.key), source.registry, scratch),
        )
        for entry in source.publications
    )
    return Copy(dataclasses.replace(source, publications=publications), there, scratch)


def digests(release: Release) -> dict[str, Digest]:
    return {entry.key: entry.index.digest for entry in release.publications}


def test_within_a_registry_all_is_mounted_and_nothing_fetched(tmp_path: Path) -> None:
    copy = copy_to(tmp_path, "hub.test/released")
    traffic = copy.make()
    assert (traffic.mounted, traffic.uploaded, traffic.bytes_sent) == (BLOBS, 0, 0)
    assert copy.fetched() == []
    assert not copy.scratch.exists()
    assert copy.tags() == digests(copy.release)


def test_to_another_registry_each_blob_is_fetched_once_and_sent(tmp_path: Path) -> None:
    copy = copy_to(tmp_path, "mirror.test/istio")
    traffic = copy.make()
    assert (traffic.mounted, traffic.uploaded) == (0, BLOBS)
    assert len(copy.fetched()) == len(set(copy.fetched())) == BLOBS
    assert all(key.startswith("hub.test/istio/") for key in copy.fetched())
    assert copy.tags() == digests(copy.release)
    verify_content(copy.release.publications, copy.registry)
    verify_tags(copy.release.publications, copy.registry)


def test_what_the_other_registry_has_is_not_fetched(tmp_path: Path) -> None:
    copy = copy_to(tmp_path, "mirror.test/istio")
    for image in ("istioctl", "pilot"):
        copy.registry.blobs[copy.hub.repository(image)] = dict(copy.registry.blobs[HUB.repository(image)])
    traffic = copy.make()
    assert (traffic.present, traffic.uploaded) == (8, 4)
    assert {key.partition("@")[0] for key in copy.fetched()} == {"hub.test/istio/proxyv2"}
    assert copy.tags() == digests(copy.release)


def test_a_manifest_that_the_source_lacks_ends_it_before_any_tag_moves(tmp_path: Path) -> None:
    copy = copy_to(tmp_path, "mirror.test/istio")
    arm64 = copy.release.publications[1].index.children()[1]
    del copy.registry.manifests[HUB.repository("pilot")][str(arm64.digest)]
    with pytest.raises(RegistryError, match=f"hub.test/istio/pilot@{arm64.digest} is not there"):
        copy.make()
    assert copy.registry.operations("put_tag") == []
