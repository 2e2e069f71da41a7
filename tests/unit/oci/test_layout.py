"""Image layouts: what is read of them, how they are put together, and what is said of broken ones."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from builder.errors import CheckError
from builder.oci.layout import Layout, compose_layout
from builder.oci.manifest import INDEX
from builder.oci.reference import Platform
from tests.samples.images import (
    AMD64,
    ARM64,
    BASE_LAYER,
    SampleFile,
    add_blob,
    add_image,
    make_config,
    make_digest,
    make_tar,
    set_root,
    write_image,
    write_image_index,
)

NOTES = {"dev.istio-build.image": "pilot"}


@pytest.fixture
def parts(tmp_path: Path) -> dict[Platform, Layout]:
    """One image for each platform, as the engine leaves them."""
    return {
        platform: write_image(
            tmp_path / platform.slug,
            make_config(platform),
            [BASE_LAYER, make_tar([SampleFile(path="/a", content=platform.architecture.encode())])],
        )
        for platform in (ARM64, AMD64)
    }


def blobs(layout: Layout) -> set[str]:
    return {path.name for path in (layout.root / "blobs" / "sha256").iterdir()}


class TestComposing:
    def test_one_index_over_all_platforms_with_all_their_blobs(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        layout = compose_layout(parts, tmp_path / "whole", {"a": "b"}, NOTES)
        index = layout.index()
        assert [child.platform for child in index.children()] == [AMD64, ARM64]
        assert index.annotations() == {"a": "b"}
        for child in index.children():
            manifest = layout.manifest(child)
            for blob in (manifest.config(), *manifest.layers()):
                assert layout.blob(blob.digest).stat().st_size == blob.size
        assert blobs(layout) == set().union(*(blobs(part) for part in parts.values())) | {index.digest.hex}

    def test_it_is_an_image_layout_by_the_specification(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        # image-spec v1.1, image-layout.md
        root = compose_layout(parts, tmp_path / "whole", {}, NOTES).root
        assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
        index = json.loads((root / "index.json").read_text())
        assert (index["schemaVersion"], index["mediaType"]) == (2, INDEX)
        assert len(index["manifests"]) == 1

    def test_notes_are_no_part_of_the_image(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        one = compose_layout(parts, tmp_path / "one", {}, NOTES)
        other = compose_layout(parts, tmp_path / "other", {}, {})
        assert one.index() == other.index()
        assert one.root_descriptor()[1] == NOTES

    def test_the_same_parts_give_the_same_index_in_any_order(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        one = compose_layout(parts, tmp_path / "one", {"a": "1", "b": "2"}, {})
        backwards = dict(reversed(list(parts.items())))
        assert compose_layout(backwards, tmp_path / "other", {"b": "2", "a": "1"}, {}).index() == one.index()

    def test_nothing_of_an_earlier_image_is_left(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        compose_layout(parts, tmp_path / "whole", {"a": "old"}, {})
        layout = compose_layout({AMD64: parts[AMD64]}, tmp_path / "whole", {}, {})
        assert blobs(layout) == blobs(parts[AMD64]) | {layout.index().digest.hex}

    def test_blobs_are_linked_and_not_copied(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        layout = compose_layout(parts, tmp_path / "whole", {}, {})
        manifest = parts[AMD64].index()
        layer = manifest.layers()[0].digest
        assert os.path.samefile(layout.blob(layer), parts[AMD64].blob(layer))

    def test_it_stands_alone_once_its_parts_are_gone(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        layout = compose_layout(parts, tmp_path / "whole", {}, {})
        for part in parts.values():
            shutil.rmtree(part.root)
        assert [len(layout.manifest(child).layers()) for child in layout.index().children()] == [2, 2]

    def test_no_half_written_file_is_left(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        root = compose_layout(parts, tmp_path / "whole", {}, {}).root
        assert [path for path in root.rglob("*") if path.name.endswith(".partial")] == []

    def test_an_index_is_no_part(self, parts: dict[Platform, Layout], tmp_path: Path) -> None:
        whole = compose_layout(parts, tmp_path / "whole", {}, {})
        with pytest.raises(CheckError, match=r"holds an index where the image for linux/amd64 should be"):
            compose_layout({AMD64: whole}, tmp_path / "other", {}, {})


class TestReading:
    def test_a_blob_that_is_missing_is_named(self, tmp_path: Path) -> None:
        layout = write_image(tmp_path, make_config(AMD64), [BASE_LAYER])
        config = layout.index().config()
        layout.blob(config.digest).unlink()
        with pytest.raises(CheckError, match=f"lacks blob {config.digest}: No such file"):
            layout.read(config)

    def test_a_blob_with_other_bytes_is_damaged(self, tmp_path: Path) -> None:
        layout = write_image(tmp_path, make_config(AMD64), [BASE_LAYER])
        config = layout.index().config()
        layout.blob(config.digest).write_bytes(b"{}")
        with pytest.raises(CheckError, match=f"blob {config.digest} in .* is damaged"):
            layout.read(config)

    def test_a_directory_without_an_index_is_no_layout(self, tmp_path: Path) -> None:
        with pytest.raises(CheckError, match=r"is not an OCI image layout: cannot read .*/index\.json"):
            Layout(tmp_path).index()

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "{}",
            "[]",
            "7",
            '{"manifests": []}',
            '{"manifests": {}}',
            '{"manifests": null}',
            '{"manifests": ["a"]}',
            '{"manifests": [{}]}',
            '{"manifests": [{"digest": "sha256:0", "size": 1}]}',
            '{"manifests": [{"digest": "../../etc/passwd", "size": 1}]}',
        ],
    )
    def test_an_index_that_does_not_list_one_image_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(CheckError, match=r"index\.json must list exactly one image"):
            Layout(tmp_path).root_descriptor()

    def test_two_images_are_refused(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        entries = [add_image(layout, make_config(platform), [BASE_LAYER]).to_json() for platform in (AMD64, ARM64)]
        (tmp_path / "index.json").write_text(json.dumps({"manifests": entries}))
        with pytest.raises(CheckError, match="exactly one image"):
            layout.root_descriptor()

    def test_an_index_that_leads_nowhere_is_told(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        descriptor = add_blob(layout, b"{}", INDEX)
        set_root(layout, replace(descriptor, digest=make_digest("gone")))
        with pytest.raises(CheckError, match="lacks blob"):
            layout.index()

    def test_what_composing_writes_can_be_read_by_name(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        image = add_image(layout, make_config(AMD64), [BASE_LAYER])
        whole = write_image_index(tmp_path, {AMD64: image}, NOTES)
        descriptor, notes = whole.root_descriptor()
        assert (descriptor.media_type, notes) == (INDEX, NOTES)
