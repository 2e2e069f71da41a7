"""One file out of an image: from the topmost layer that has it, never over a link, never one that was removed."""

import json
import tarfile
from pathlib import Path

import pytest

from builder.errors import ArtifactError, RegistryError
from builder.images.file import fetch_from_image
from builder.oci.layout import Layout
from builder.oci.manifest import CONFIG, MANIFEST, Manifest
from builder.oci.reference import ImageReference
from builder.plan.lock import ImageArtifact
from builder.runtime.progress import Progress
from tests.fakes.registry import FakeRegistry
from tests.samples.images import (
    ARM64,
    BASE_LAYER,
    SampleFile,
    add_blob,
    config_json,
    make_config,
    make_tar,
    set_root,
    write_image,
)
from tests.samples.seeding import seed

REFERENCE = ImageReference.parse("docker.io/istio/proxyv2:1.29.0")
PATH = "/usr/local/bin/envoy"
ENVOY = SampleFile(path=PATH, content=b"envoy")
AGENT = SampleFile(path="/usr/local/bin/pilot-agent", content=b"agent")
DIRECTORIES = [SampleFile(path=path, kind=tarfile.DIRTYPE) for path in ("/usr", "/usr/local", "/usr/local/bin")]


class Bench:
    """A registry with an image of these layers, bottom first."""

    def __init__(self, root: Path, layers: list[list[SampleFile]], compression: str = "gzip") -> None:
        self.root = root
        self.registry = FakeRegistry()
        blobs = [BASE_LAYER, *(make_tar(layer) for layer in layers)]
        layout = write_image(root / "image", make_config(ARM64), blobs, compression)
        self.manifest: Manifest = seed(self.registry, layout, REFERENCE)

    def fetch(self, path: str = PATH) -> tuple[bytes, str]:
        reference = REFERENCE.pinned(self.manifest.digest)
        artifact = ImageArtifact(name="envoy", platform=ARM64, reference=reference, member=path)
        with Progress(lambda event: None).task("fetch", "envoy") as task:
            content = fetch_from_image(artifact, self.root / "cache", self.registry, task).read_bytes()
            return content, task.outcome


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_it_is_taken_from_the_layer_that_has_it(tmp_path: Path, compression: str) -> None:
    bench = Bench(tmp_path, [[*DIRECTORIES, ENVOY], [AGENT]], compression)
    assert bench.fetch() == (b"envoy", "taken from an image")
    # The layers below, and there are many of them in an Ubuntu, are not fetched.
    assert len(bench.registry.operations("pull_blob")) == 2


def test_it_is_taken_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [[ENVOY], [AGENT]])
    bench.fetch()
    bench.registry.log.clear()
    assert bench.fetch() == (b"envoy", "cached")
    assert bench.registry.log == []
    assert bench.fetch(AGENT.path) == (b"agent", "taken from an image")
    assert bench.registry.operations("pull_blob") == []


def test_the_topmost_one_counts(tmp_path: Path) -> None:
    assert Bench(tmp_path, [[SampleFile(path=PATH, content=b"older")], [ENVOY], [AGENT]]).fetch()[0] == b"envoy"


@pytest.mark.parametrize(
    "whiteout",
    [
        "/usr/local/bin/.wh.envoy",
        "/usr/local/.wh.bin",
        "/.wh.usr",
        "/usr/local/bin/.wh..wh..opq",
        "/usr/.wh..wh..opq",
        "/.wh..wh..opq",
    ],
)
def test_one_that_was_removed_is_not_there(tmp_path: Path, whiteout: str) -> None:
    bench = Bench(tmp_path, [[ENVOY], [SampleFile(path=whiteout)]])
    with pytest.raises(ArtifactError, match=f"does not hold the file {PATH}: it is not there"):
        bench.fetch()


@pytest.mark.parametrize("whiteout", ["/usr/local/bin/.wh.envoy", "/usr/local/bin/.wh..wh..opq"])
@pytest.mark.parametrize("first", [True, False])
def test_one_that_was_replaced_in_the_same_layer_is(tmp_path: Path, whiteout: str, first: bool) -> None:
    removal = SampleFile(path=whiteout)
    bench = Bench(tmp_path, [[SampleFile(path=PATH, content=b"older")], [removal, ENVOY] if first else [ENVOY, removal]])
    assert bench.fetch()[0] == b"envoy"


@pytest.mark.parametrize("whiteout", ["/usr/local/bin/.wh.other", "/usr/local/bin/sub/.wh..wh..opq", "/opt/.wh..wh..opq"])
def test_what_removes_something_else_does_not_matter(tmp_path: Path, whiteout: str) -> None:
    assert Bench(tmp_path, [[ENVOY], [SampleFile(path=whiteout)]]).fetch()[0] == b"envoy"


@pytest.mark.parametrize(
    "entry",
    [
        SampleFile(path=PATH, kind=tarfile.SYMTYPE, target="/etc/shadow"),
        SampleFile(path=PATH, kind=tarfile.LNKTYPE, target="etc/os-release"),
        SampleFile(path=PATH, kind=tarfile.DIRTYPE),
        SampleFile(path=PATH, kind=tarfile.FIFOTYPE),
        SampleFile(path="/usr/local/bin", kind=tarfile.SYMTYPE, target="/opt"),
        SampleFile(path="/usr/local", content=b"a file"),
    ],
)
def test_links_and_what_is_no_file_are_refused(tmp_path: Path, entry: SampleFile) -> None:
    with pytest.raises(ArtifactError, match=f"does not hold the file {PATH}: .*(link|no directory)"):
        Bench(tmp_path, [[ENVOY], [entry]]).fetch()
    assert not list((tmp_path / "cache").glob("*.member"))


def test_an_image_without_it_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [[AGENT]])
    with pytest.raises(ArtifactError, match=rf"{REFERENCE}@sha256:.* does not hold the file {PATH}"):
        bench.fetch()


def test_a_cached_layer_that_somebody_changed_is_fetched_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [[ENVOY]])
    layer = bench.manifest.layers()[-1]
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / layer.digest.hex).write_bytes(b"\x1f\x8bnothing")
    assert bench.fetch()[0] == b"envoy"


def test_a_layer_that_is_no_archive_is_told(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "image")
    config = add_blob(layout, config_json(make_config(ARM64), []), CONFIG)
    layer = add_blob(layout, b"\x1f\x8bnothing", "application/vnd.oci.image.layer.v1.tar+gzip")
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config.to_json(), "layers": [layer.to_json()]}
    bench = Bench(tmp_path / "other", [[ENVOY]])
    root = set_root(layout, add_blob(layout, json.dumps(document).encode(), MANIFEST))
    bench.manifest = seed(bench.registry, root, REFERENCE)
    with pytest.raises(ArtifactError, match="is damaged"):
        bench.fetch()


def test_a_registry_that_fails_is_told(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [[ENVOY]])
    bench.registry.fail_on = lambda operation, key: RegistryError("down") if operation == "pull_blob" else None
    with pytest.raises(RegistryError, match="down"):
        bench.fetch()


def test_one_that_was_damaged_since_is_taken_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [[ENVOY]])
    bench.fetch()
    [kept] = (tmp_path / "cache").glob("*.member")
    kept.write_bytes(b"evil!")
    assert bench.fetch() == (b"envoy", "taken from an image")
