"""Layers get one form, whatever an engine's cache holds them in; and the same bytes on every machine."""

import gzip
import io
from pathlib import Path

import pytest

from builder.errors import CheckError
from builder.images.check import read_layer_of
from builder.images.compress import compress_layer
from builder.images.final_layers import LayerFinisher
from builder.oci.layout import Layout
from builder.oci.reference import Digest
from tests.samples.images import ARM64, BASE_LAYER, SampleFile, base_layers, make_config, make_tar, write_image

PROGRAM = make_tar([SampleFile(path="/usr/local/bin/pilot-agent", content=bytes(range(256)) * 16_384)])


def assembled(root: Path, compression: str) -> Layout:
    """What an engine gives: the base's layer as its registry has it, ours as its cache happens to have it."""
    return write_image(root, make_config(ARM64), [BASE_LAYER, PROGRAM], compression, base_compression="gzip")


@pytest.mark.parametrize("wanted", ["gzip", "zstd"])
def test_whatever_the_engine_gives_the_image_is_the_same(tmp_path: Path, wanted: str) -> None:
    digests = set()
    for given in ("gzip", "zstd", "none"):
        layout = assembled(tmp_path / given, given)
        LayerFinisher(wanted, tmp_path / given / "kept").finish(layout, base_layers())
        manifest = layout.index()
        assert [layer.media_type.rpartition("+")[2] for layer in manifest.layers()] == ["gzip", wanted]
        assert read_layer_of(layout, manifest.layers()[1])[0].path == "/usr/local/bin/pilot-agent"
        blobs = {path.name for path in (layout.root / "blobs" / "sha256").iterdir()}
        kept = (manifest.descriptor, manifest.config(), *manifest.layers())
        assert blobs == {blob.digest.hex for blob in kept}
        digests.add(manifest.digest)
    assert len(digests) == 1


def test_a_base_in_another_compression_is_refused(tmp_path: Path) -> None:
    layout = write_image(tmp_path, make_config(ARM64), [BASE_LAYER, PROGRAM], "zstd")
    with pytest.raises(CheckError, match="other layers for the base image"):
        LayerFinisher("gzip", tmp_path / "kept").finish(layout, base_layers())


def test_a_layer_that_is_not_of_its_diff_id_is_refused(tmp_path: Path) -> None:
    layout = assembled(tmp_path, "none")
    layer = layout.index().layers()[1]
    layout.blob(layer.digest).write_bytes(PROGRAM[:-1] + b"x")
    with pytest.raises(CheckError, match="unpacks to sha256:"):
        LayerFinisher("gzip", tmp_path / "kept").finish(layout, base_layers())


@pytest.mark.parametrize(
    ("compression", "digest"),
    [
        ("gzip", "sha256:52553553d6fdab7e68b58981793da3f136c8890ae8bb46dd25cd747eee141598"),
        ("zstd", "sha256:6783a1fdeeb9c33a4fe897c76cef5a1787b6a4c967055a34c9cd7675456ee2d2"),
    ],
)
def test_the_bytes_are_those_of_every_machine(tmp_path: Path, compression: str, digest: str) -> None:
    """If a new version of a library changes them, builder.oci.layer_format has to say so, as all digests change."""
    packed = compress_layer(io.BytesIO(PROGRAM), compression, tmp_path)
    assert str(packed.digest) == digest
    assert packed.size == (tmp_path / packed.digest.hex).stat().st_size
    assert packed.diff_id == Digest.of(PROGRAM)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + 1, 5 << 20])
def test_everything_comes_back(tmp_path: Path, compression: str, size: int) -> None:
    content = make_tar([SampleFile(path="/x", content=b"y" * size)])
    layout = write_image(tmp_path / "image", make_config(ARM64), [BASE_LAYER, content], "none", base_compression="gzip")
    LayerFinisher(compression, tmp_path / "kept").finish(layout, base_layers())
    assert read_layer_of(layout, layout.index().layers()[1])[0].size == size


def test_gzip_reads_all_members(tmp_path: Path) -> None:
    """They follow one another, which RFC 1952 allows."""
    packed = compress_layer(io.BytesIO(PROGRAM), "gzip", tmp_path)
    assert gzip.decompress((tmp_path / packed.digest.hex).read_bytes()) == PROGRAM


def test_what_two_variants_share_is_compressed_once(tmp_path: Path) -> None:
    layouts = [assembled(tmp_path / name, "none") for name in ("debug", "distroless")]
    finisher = LayerFinisher("gzip", tmp_path / "kept")
    for layout in layouts:
        finisher.finish(layout, base_layers())
    first, second = (layout.blob(layout.index().layers()[1].digest) for layout in layouts)
    assert first.samefile(second)


def test_a_layer_that_is_the_same_the_next_time_is_not_compressed_again(tmp_path: Path) -> None:
    manifests = []
    for number in range(3):
        layout = assembled(tmp_path / str(number), "none")
        if number == 1:
            # Not even looked at, for its diff_id says what it is.
            layout.blob(layout.index().layers()[1].digest).write_bytes(b"")
        if number == 2:
            [kept] = [path for path in (tmp_path / "kept").iterdir() if path.suffix != ".sum"]
            damaged = bytearray(kept.read_bytes())
            damaged[-1] ^= 1
            kept.unlink()
            kept.write_bytes(damaged)
        LayerFinisher("gzip", tmp_path / "kept").finish(layout, base_layers())
        manifests.append(layout.index())
        blob = layout.blob(layout.index().layers()[1].digest)
        assert Digest.of(blob.read_bytes()).hex == blob.name
    assert len(set(manifests)) == 1


def test_what_no_image_has_any_more_is_not_kept(tmp_path: Path) -> None:
    for content in (b"old", b"new"):
        archive = make_tar([SampleFile(path="/a", content=content)])
        layout = write_image(
            tmp_path / content.decode(), make_config(ARM64), [BASE_LAYER, archive], "none", base_compression="gzip"
        )
        finisher = LayerFinisher("gzip", tmp_path / "kept")
        finisher.finish(layout, base_layers())
        finisher.forget_others()
    assert len([path for path in (tmp_path / "kept").iterdir() if path.suffix != ".sum"]) == 1
