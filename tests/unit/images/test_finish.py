"""Images get one form, whoever assembled them; and the same bytes on every machine."""

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from builder.engine.builtin import Builtin
from builder.errors import RegistryError
from builder.images.check import read_layer_of
from builder.images.compress import compress_layer
from builder.images.finish import ImageFinisher
from builder.images.kept_layers import KeptLayers
from builder.oci.image_config import AddedConfig, BaseImage
from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor, ImageConfig, Manifest
from builder.oci.reference import Digest, ImageReference
from builder.ports import AssemblyTarget, Engine
from tests.fakes.engine import FakeEngine
from tests.samples.images import (
    ARM64,
    BASE_LAYER,
    COMMITTED_AT,
    SampleFile,
    base_layers,
    compress,
    make_config,
    make_digest,
    make_tar,
)

PROGRAM = make_tar([SampleFile(path="/usr/local/bin/pilot-agent", content=bytes(range(256)) * 16_384)])
BASE = BaseImage(
    reference=ImageReference.parse("r.test/base:1").pinned(make_digest("base")), config=make_config(ARM64), layers=base_layers()
)


def target(root: Path, archive: bytes = PROGRAM, base: BaseImage | None = BASE) -> AssemblyTarget:
    """One layer on a base."""
    context = root / "context"
    context.mkdir(parents=True, exist_ok=True)
    (context / "1.tar").write_bytes(archive)
    return AssemblyTarget(
        name="pilot",
        platform=ARM64,
        base=base,
        layers=("1.tar",),
        config=AddedConfig(entrypoint=("/usr/local/bin/pilot-agent",), labels=(("a", "b"),)),
        dockerfile="",
        context=context,
        destination=root / "image",
        source_date_epoch=COMMITTED_AT,
    )


class Registry:
    """Where the base's layers come from; `asked` are those that were."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[Digest] = []

    def fetch(self, base: BaseImage, layer: Descriptor) -> Path:
        self.asked.append(layer.digest)
        (self.root / "blob").write_bytes(compress(BASE_LAYER, "gzip")[0])
        return self.root / "blob"


def finish(wanted: AssemblyTarget, engine: Engine, compression: str = "gzip", kept: Path | None = None) -> Layout:
    engine.assemble([wanted], lambda text: None)
    layout = Layout(wanted.destination)
    registry = Registry(wanted.context)
    ImageFinisher(KeptLayers(compression, kept or wanted.context / "kept"), registry.fetch).finish(layout, wanted)
    return layout


@pytest.mark.parametrize("wanted", ["gzip", "zstd"])
def test_whichever_engine_it_was_and_however_it_gives_layers_the_image_is_the_same(tmp_path: Path, wanted: str) -> None:
    engines: dict[str, Engine] = {given: FakeEngine(compression=given) for given in ("gzip", "zstd", "uncompressed")}
    engines["builtin"] = Builtin()
    manifests: set[Manifest] = set()
    for name, engine in engines.items():
        layout = finish(target(tmp_path / name), engine, wanted)
        manifest = layout.index()
        assert [layer.media_type.rpartition("+")[2] for layer in manifest.layers()] == ["gzip", wanted]
        assert read_layer_of(layout, manifest.layers()[1])[0].path == "/usr/local/bin/pilot-agent"
        blobs = {path.name for path in (layout.root / "blobs" / "sha256").iterdir()}
        assert blobs == {blob.digest.hex for blob in (manifest.descriptor, manifest.config(), *manifest.layers())}
        manifests.add(manifest)
    assert len(manifests) == 1


def test_the_configuration_is_the_bases_and_what_is_added(tmp_path: Path) -> None:
    history = (json.dumps({"created_by": "FROM nothing"}), json.dumps({"created_by": "CMD", "empty_layer": True}))
    others = (("Hostname", '"of a container"'), ("OnBuild", '["RUN x"]'), ("StopSignal", '"SIGQUIT"'), ("author", '"me"'))
    base = replace(BASE, config=replace(BASE.config, history=history, others=others))
    layout = finish(target(tmp_path, base=base), Builtin())
    document = json.loads(layout.read(layout.index().config()))
    assert document.pop("rootfs") == {"type": "layers", "diff_ids": [str(Digest.of(BASE_LAYER)), str(Digest.of(PROGRAM))]}
    assert document == {
        "architecture": "arm64",
        "author": "me",
        "config": {
            "Entrypoint": ["/usr/local/bin/pilot-agent"],
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"],
            "Labels": {"a": "b", "org.opencontainers.image.ref.name": "ubuntu"},
            "StopSignal": "SIGQUIT",
        },
        "created": "2026-02-25T06:13:20Z",
        "history": [
            {"created_by": "FROM nothing"},
            {"created_by": "CMD", "empty_layer": True},
            {"created": "2026-02-25T06:13:20Z", "created_by": "ADD 1.tar /"},
        ],
        "os": "linux",
    }


def test_a_history_that_does_not_fit_the_layers_is_left_out(tmp_path: Path) -> None:
    """Tools count the two against each other, and the base of the samples has none."""
    layout = finish(target(tmp_path), Builtin())
    assert ImageConfig.parse(layout.read(layout.index().config())).history == ()


def test_a_base_of_docker_gets_ocis_names(tmp_path: Path) -> None:
    docker = replace(base_layers()[0], media_type="application/vnd.docker.image.rootfs.diff.tar.gzip")
    layout = finish(target(tmp_path, base=replace(BASE, layers=(docker,))), Builtin())
    assert layout.index().layers()[0] == base_layers()[0]


@pytest.mark.parametrize("spoil", ["other compression", "damaged"])
def test_a_layer_of_the_base_is_the_registrys_whatever_the_engine_has(tmp_path: Path, spoil: str) -> None:
    wanted = target(tmp_path)
    FakeEngine().assemble([wanted], lambda text: None)
    layout = Layout(wanted.destination)
    blob = layout.blob(base_layers()[0].digest)
    content = blob.read_bytes()
    blob.unlink()
    if spoil == "damaged":
        blob.write_bytes(content[:-1] + b"x")
    registry = Registry(tmp_path)
    ImageFinisher(KeptLayers("gzip", tmp_path / "kept"), registry.fetch).finish(layout, wanted)
    assert registry.asked == [base_layers()[0].digest]
    assert Digest.of(blob.read_bytes()) == base_layers()[0].digest


def test_a_base_that_cannot_be_had_ends_it(tmp_path: Path) -> None:
    def fail(base: BaseImage, layer: Descriptor) -> Path:
        raise RegistryError("gone")

    wanted = target(tmp_path)
    Builtin().assemble([wanted], lambda text: None)
    with pytest.raises(RegistryError, match="gone"):
        ImageFinisher(KeptLayers("gzip", tmp_path / "kept"), fail).finish(Layout(wanted.destination), wanted)


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
    layout = finish(target(tmp_path, make_tar([SampleFile(path="/x", content=b"y" * size)])), Builtin(), compression)
    assert read_layer_of(layout, layout.index().layers()[1])[0].size == size


def test_gzip_reads_all_members(tmp_path: Path) -> None:
    """They follow one another, which RFC 1952 allows."""
    packed = compress_layer(io.BytesIO(PROGRAM), "gzip", tmp_path)
    assert gzip.decompress((tmp_path / packed.digest.hex).read_bytes()) == PROGRAM


def test_what_two_variants_share_is_compressed_once(tmp_path: Path) -> None:
    first = target(tmp_path)
    second = replace(first, destination=tmp_path / "other")
    Builtin().assemble([first, second], lambda text: None)
    finisher = ImageFinisher(KeptLayers("gzip", tmp_path / "kept"), Registry(tmp_path).fetch)
    blobs = []
    for wanted in (first, second):
        layout = Layout(wanted.destination)
        finisher.finish(layout, wanted)
        blobs.append(layout.blob(layout.index().layers()[1].digest))
    assert blobs[0].samefile(blobs[1])
