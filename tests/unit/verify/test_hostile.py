"""What a hub sends may be made to harm whoever looks at it."""

from pathlib import Path

import pytest

from builder.oci.reference import Hub
from builder.runtime.progress import Progress
from builder.verify import contents, look
from builder.verify.contents import LayerReader
from builder.verify.verification import Verification, VerifyContext, Wanted, verify
from tests.samples.hubs import PATH, PILOT, SampleHub, entry
from tests.samples.images import AMD64, SampleFile
from tests.samples.programs import make_go_program


@pytest.fixture
def hub() -> SampleHub:
    return SampleHub(Hub.parse("docker.io/me").repository("pilot"))


def verified(hub: SampleHub, cache: Path) -> Verification:
    progress = Progress(lambda event: None)
    layers = LayerReader(hub.registry, kept=cache / "kept", remembered=cache / "looks", progress=progress)
    wanted = Wanted(reference=hub.repository.at("1.29.0"), platforms=(AMD64,))
    return verify([wanted], VerifyContext(registry=hub.registry, layers=layers, progress=progress))


@pytest.mark.parametrize("manifests", [7, [7], [{}], ["text"], {"a": 1}, [{"digest": "sha256:x", "size": 1}]])
def test_a_malformed_index(manifests: object, hub: SampleHub, tmp_path: Path) -> None:
    hub.tag(hub.manifest({"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}))
    (finding,) = verified(hub, tmp_path).findings
    assert finding.kind == "corrupt-manifest"


@pytest.mark.parametrize("layers", [7, [7], [{"digest": "x", "size": 1}]])
def test_a_malformed_manifest(layers: object, hub: SampleHub, tmp_path: Path) -> None:
    config = hub.registry.manifests[hub.repository][str(hub.pilot(AMD64).digest)].config()
    image = hub.manifest(
        {"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config.to_json(), "layers": layers}
    )
    hub.tag(hub.index(entry(image, AMD64)))
    (finding,) = verified(hub, tmp_path).findings
    assert finding.kind == "corrupt-manifest"


def test_an_index_without_end(hub: SampleHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_MOST_ENTRIES", 5)
    image = hub.pilot(AMD64)
    hub.tag(hub.index(*(entry(image, AMD64) for _ in range(1000))))
    (finding,) = verified(hub, tmp_path).findings
    assert (finding.kind, finding.message) == (
        "corrupt-manifest",
        "it lists more than 5 manifests, and is looked at no further",
    )


def test_indexes_in_indexes_end(hub: SampleHub, tmp_path: Path) -> None:
    inner = hub.index(entry(hub.pilot(AMD64), AMD64))
    for _ in range(50):
        inner = hub.index(inner.to_json())
    hub.tag(inner)
    found = verified(hub, tmp_path)
    assert {finding.kind for finding in found.findings} == {"nested-index", "missing-platform"}
    assert len(hub.registry.operations("get_manifest")) < 10


def test_a_manifest_of_too_many_layers(hub: SampleHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_MOST_LAYERS", 2)
    layers = [hub.layer(SampleFile(path=f"/{number}")) for number in range(3)]
    hub.tag(hub.index(entry(hub.image(PILOT, *layers), AMD64)))
    (finding,) = verified(hub, tmp_path).findings
    assert finding.message == "it has 3 layers, and is looked at no further"
    assert hub.registry.operations("find_blob") == []


def test_a_program_without_end_is_not_kept(hub: SampleHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_LARGEST_PROGRAM", 1000)
    bomb = make_go_program("amd64") + bytes(5_000_000)
    layer = hub.layer(SampleFile(path=PATH, content=bomb), SampleFile(path="/small", content=make_go_program("amd64")))
    hub.tag(hub.index(entry(hub.image(PILOT, layer), AMD64)))
    found = verified(hub, tmp_path)
    assert found.findings == ()
    assert [fact.path for fact in found.images[0].programs] == ["/small"]


def test_names_of_files_are_only_names(hub: SampleHub, tmp_path: Path) -> None:
    program = make_go_program("arm64")
    paths = ("../../../outside", "/\x1b[2J", "a" * 90)
    layer = hub.layer(*(SampleFile(path=path, content=program) for path in paths))
    hub.tag(hub.index(entry(hub.image(PILOT, layer), AMD64)))
    (finding,) = verified(hub, tmp_path).findings
    assert finding.kind == "wrong-architecture"
    assert finding.paths == ("/\x1b[2J", "/" + "a" * 90, "/outside")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "looks"]
