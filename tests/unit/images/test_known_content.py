"""What a digest names is asked for once, by all runs together; what is kept is not trusted."""

from pathlib import Path

import pytest

from builder.images.known_content import KnownContent
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.reference import ImageReference
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64, BASE_LAYER, add_image, make_config, write_image_index
from tests.samples.seeding import seed

TAG = ImageReference.parse("hub.test/istio/base:1.29")


@pytest.fixture
def registry(tmp_path: Path) -> FakeRegistry:
    registry = FakeRegistry()
    layout = Layout(tmp_path / "layout")
    seed(registry, write_image_index(tmp_path / "layout", {AMD64: add_image(layout, make_config(AMD64), [BASE_LAYER])}), TAG)
    registry.log.clear()
    return registry


def look(known: KnownContent) -> tuple[Manifest, Manifest, bytes]:
    index = known.get_manifest(TAG)
    assert index
    child = known.get_manifest(TAG.repository.at(index.children()[0].digest))
    assert child
    return index, child, known.get_blob(TAG.repository, child.config())


def test_the_next_run_asks_for_tags_alone(registry: FakeRegistry, tmp_path: Path) -> None:
    first = look(KnownContent(registry, tmp_path / "kept"))
    assert len(registry.log) == 3
    registry.log.clear()
    assert look(KnownContent(registry, tmp_path / "kept")) == first
    assert registry.log == [("get_manifest", str(TAG))]


@pytest.mark.parametrize("damage", [b"", b"application/json\n{}", b"\xff\n\xff"])
def test_what_was_damaged_is_asked_for_again(registry: FakeRegistry, tmp_path: Path, damage: bytes) -> None:
    first = look(KnownContent(registry, tmp_path / "kept"))
    for path in (tmp_path / "kept").iterdir():
        path.write_bytes(damage)
    registry.log.clear()
    assert look(KnownContent(registry, tmp_path / "kept")) == first
    assert len(registry.log) == 3
    registry.log.clear()
    assert look(KnownContent(registry, tmp_path / "kept")) == first
    assert len(registry.log) == 1


def test_what_is_not_there_is_not_kept(registry: FakeRegistry, tmp_path: Path) -> None:
    known = KnownContent(FakeRegistry(), tmp_path / "kept")
    index = registry.get_manifest(TAG)
    assert index
    missing = TAG.repository.at(index.digest)
    assert known.get_manifest(missing) is None
    assert not (tmp_path / "kept").exists()
