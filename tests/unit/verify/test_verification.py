"""Right hubs are told to be right, and of wrong ones just what is wrong."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import AccessDenied, RegistryError
from builder.oci.reference import Hub, ImageReference, Platform
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.runtime.last_use import STAMPS
from builder.runtime.progress import Progress
from builder.verify.compare import Originals
from builder.verify.contents import LayerReader
from builder.verify.expectation import ExpectedImage, Selection, expect_release
from builder.verify.findings import KINDS
from builder.verify.puller import Puller
from builder.verify.verification import Verification, VerifyContext, Wanted, verify
from tests.fakes.registry import FakeRegistry
from tests.samples.hubs import GOOD, PATH, PILOT, WRONG, Make, SampleHub, both, entry, only_one_platform, pilot_program
from tests.samples.images import AMD64, ARM64, SampleFile

HUB = Hub.parse("docker.io/me")
PLATFORMS = (AMD64, ARM64)


@pytest.fixture
def hub() -> SampleHub:
    return SampleHub(HUB.repository("pilot"))


def expected_pilot(variant: str = "debug") -> ExpectedImage:
    book = load_recipes().at(IstioRelease(1, 29, 0))
    images, _ = expect_release(book, Selection(images=("pilot",), variants=(variant,), tags=("1.29.0",)))
    return images[0]


def context(registry: FakeRegistry, cache: Path, *, deep: bool = False) -> VerifyContext:
    progress = Progress(lambda event: None)
    layers = LayerReader(registry, kept=cache / "artifacts", remembered=cache / "looks", progress=progress)
    return VerifyContext(registry=registry, layers=layers, progress=progress, deep=deep)


def wanted(reference: ImageReference, *, expected: ExpectedImage | None = None) -> Wanted:
    return Wanted(reference=reference, platforms=PLATFORMS, expected=expected, hub=HUB if expected else None)


def kinds(verification: Verification) -> Sequence[str]:
    return [finding.kind for finding in verification.findings]


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("deep", [False, True], ids=["known layers", "deep"])
def test_finds_nothing_in_a_right_image(name: str, deep: bool, hub: SampleHub, tmp_path: Path) -> None:
    reference = GOOD[name](hub)
    found = verify([wanted(reference, expected=expected_pilot())], context(hub.registry, tmp_path, deep=deep))
    assert found.findings == ()
    assert [look.platform for look in found.images[0].platforms] == list(PLATFORMS)


@pytest.mark.parametrize("name", WRONG)
def test_finds_what_is_wrong_and_nothing_else(name: str, hub: SampleHub, tmp_path: Path) -> None:
    make, right = WRONG[name]
    found = verify([wanted(make(hub))], context(hub.registry, tmp_path))
    assert kinds(found) == right
    weights = {KINDS[kind].severity for kind in right}
    assert bool(found.faults) == ("error" in weights)


def test_what_was_lost_is_told_as_what_it_is(hub: SampleHub, tmp_path: Path) -> None:
    reference = only_one_platform(hub)
    (finding,) = verify([wanted(reference)], context(hub.registry, tmp_path)).findings
    assert finding.message == ("lost linux/arm64: pushed by a tool that copies one platform (the index lists linux/amd64 only)")
    assert finding.platform == "linux/arm64"


def test_every_kind_of_the_corpus_is_known_and_stays() -> None:
    told = {kind for _, right in WRONG.values() for kind in right}
    assert told <= set(KINDS)


def test_downloads_no_layer_twice(hub: SampleHub, tmp_path: Path) -> None:
    reference = both(hub)
    same = hub.registry.manifests[hub.repository][reference.tag].descriptor
    tags = [reference, hub.tag(same, "1.29.0-debug")]
    verify([wanted(each) for each in tags], context(hub.registry, tmp_path))
    pulled = hub.registry.operations("pull_blob")
    assert len(pulled) == len(set(pulled)) == 2
    asked = [*hub.registry.operations("get_manifest"), *hub.registry.operations("find_blob")]
    assert len(asked) == len(set(asked))
    hub.registry.log.clear()
    again = verify([wanted(each) for each in tags], context(hub.registry, tmp_path))
    assert again.findings == ()
    assert hub.registry.operations("pull_blob") == []
    # What is known of a layer says nothing of whether the hub still has it.
    assert hub.registry.operations("find_blob")
    assert [path.name for path in (tmp_path / "artifacts").iterdir()] == []


def test_deep_reads_what_is_known(hub: SampleHub, tmp_path: Path) -> None:
    reference = both(hub)
    verify([wanted(reference)], context(hub.registry, tmp_path))
    blobs = hub.registry.blobs[hub.repository]
    layer = hub.registry.manifests[hub.repository][str(hub.pilot(ARM64).digest)].layers()[0]
    blobs[layer.digest] = bytes(len(blobs[layer.digest]))
    assert kinds(verify([wanted(reference)], context(hub.registry, tmp_path))) == []
    assert kinds(verify([wanted(reference)], context(hub.registry, tmp_path, deep=True))) == ["corrupt-blob"]


def test_layers_that_another_command_has_fetched_are_not_fetched_again(hub: SampleHub, tmp_path: Path) -> None:
    reference = both(hub)
    (tmp_path / "artifacts").mkdir()
    for digest, content in hub.registry.blobs[hub.repository].items():
        (tmp_path / "artifacts" / digest.hex).write_bytes(content)
    assert verify([wanted(reference)], context(hub.registry, tmp_path)).findings == ()
    assert hub.registry.operations("pull_blob") == []
    left = [path for path in (tmp_path / "artifacts").iterdir() if path.name != STAMPS]
    assert len(left) == len(hub.registry.blobs[hub.repository])


@pytest.mark.parametrize(
    ("changes", "kind", "told"),
    [
        ({"user": "0"}, "wrong-user", "'0'"),
        ({"user": ""}, "wrong-user", "''"),
        ({"entrypoint": ("/bin/sh",)}, "wrong-entrypoint", "['/bin/sh']"),
        ({"labels": (("org.opencontainers.image.version", "1.28.0"),)}, "wrong-label", "'1.28.0'"),
    ],
)
def test_settings_are_those_of_the_recipe(changes: dict[str, Any], kind: str, told: str, hub: SampleHub, tmp_path: Path) -> None:
    reference = both(hub, arm64=hub.pilot(ARM64, **changes))
    (finding,) = verify([wanted(reference, expected=expected_pilot())], context(hub.registry, tmp_path)).findings
    assert (finding.kind, finding.platform) == (kind, "linux/arm64")
    assert told in finding.message


def test_env_is_that_of_the_recipe(tmp_path: Path) -> None:
    hub = SampleHub(HUB.repository("proxyv2"))
    book = load_recipes().at(IstioRelease(1, 18, 0))
    (expected,), _ = expect_release(book, Selection(images=("proxyv2",), variants=("debug",), tags=("1.18.0",)))
    # Its value stands in the source; that it is set does not.
    images = [hub.pilot(p, env=(("ISTIO_META_ISTIO_VERSION", "1.17.0"),)) for p in PLATFORMS]
    found = verify([wanted(both(hub, *images), expected=expected)], context(hub.registry, tmp_path))
    messages = [f.message for f in found.findings if f.kind == "wrong-env" and f.platform == "linux/amd64"]
    assert messages == ["ISTIO_META_ISTIO_PROXY_SHA is not set", "ISTIO_META_ISTIO_VERSION is '1.17.0', not '1.18.0'"]


def test_files_are_those_of_the_recipe(hub: SampleHub, tmp_path: Path) -> None:
    empty = hub.layer(SampleFile(path="/etc/issue"))
    held = hub.layer(SampleFile(path=PATH, content=pilot_program(ARM64), mode=0o644))
    images = hub.image(PILOT, empty), hub.image(replace(PILOT, platform=ARM64), held)
    found = verify([wanted(both(hub, *images), expected=expected_pilot())], context(hub.registry, tmp_path))
    assert [(f.kind, f.platform) for f in found.findings] == [
        ("missing-file", "linux/amd64"),
        ("wrong-mode", "linux/arm64"),
    ]


@pytest.mark.parametrize(
    ("stamps", "right"),
    [(("1.29.0",), []), (("1.28.3",), ["wrong-version"]), (("1.29.0-corp.1",), ["wrong-version"])],
)
def test_the_version_that_is_stamped(stamps: tuple[str, ...], right: list[str], hub: SampleHub, tmp_path: Path) -> None:
    reference = both(hub, arm64=hub.pilot(ARM64, pilot_program(ARM64, *stamps)))
    found = verify([wanted(reference, expected=expected_pilot())], context(hub.registry, tmp_path))
    assert kinds(found) == right
    assert {fact.version for fact in found.images[0].programs if fact.platform == AMD64} == {"1.29.0"}


def test_the_same_tag_at_two_hubs_is_one_image(tmp_path: Path) -> None:
    registry, other = FakeRegistry(), Hub.parse("ghcr.io/me")
    first, second = SampleHub(HUB.repository("pilot"), registry), SampleHub(other.repository("pilot"), registry)
    here = both(first)
    there = both(second, arm64=second.pilot(ARM64, pilot_program(ARM64) + b"rebuilt"))
    asked = [wanted(here, expected=expected_pilot()), replace(wanted(there, expected=expected_pilot()), hub=other)]
    (finding,) = verify(asked, context(registry, tmp_path)).findings
    assert (finding.kind, finding.reference) == ("hubs-differ", there)


def test_tags_of_one_variant_are_one_image(hub: SampleHub, tmp_path: Path) -> None:
    plain = both(hub)
    stale = hub.index(entry(hub.pilot(AMD64, pilot_program(AMD64) + b"old"), AMD64), entry(hub.pilot(ARM64), ARM64))
    debug = hub.tag(stale, "1.29.0-debug")
    expected = expected_pilot()
    found = verify([wanted(plain, expected=expected), wanted(debug, expected=expected)], context(hub.registry, tmp_path))
    assert [(finding.kind, finding.reference) for finding in found.findings] == [("tags-differ", debug)]


def test_what_is_not_there(hub: SampleHub, tmp_path: Path) -> None:
    expected = expected_pilot()
    references = expected.references(HUB)
    (finding,) = verify([wanted(each, expected=expected) for each in references], context(hub.registry, tmp_path)).findings
    assert (finding.kind, finding.message) == ("missing-tag", "it does not exist, nor does 1.29.0-debug")
    optional = replace(expected, optional=True)
    found = verify([wanted(references[0], expected=optional)], context(hub.registry, tmp_path))
    assert kinds(found) == ["missing-image"]
    assert not found.faults


def test_a_registry_that_does_not_answer_is_asked_once(hub: SampleHub, tmp_path: Path) -> None:
    hub.registry.fail_on = lambda operation, key: RegistryError("cannot read: no route to host", temporary=True)
    references = [hub.repository.at(f"1.{number}.0") for number in range(50)]
    found = verify([wanted(reference) for reference in references], context(hub.registry, tmp_path))
    assert set(kinds(found)) == {"unreadable"}
    assert not found.faults
    assert found.failures[0].message == "cannot read: no route to host"
    # As many as there are at work when the first of them fails.
    assert len(hub.registry.log) < 20


def test_a_refusal_is_of_one_image_only(hub: SampleHub, tmp_path: Path) -> None:
    reference = both(hub)
    secret = HUB.repository("secret").at("1")
    hub.registry.fail_on = lambda operation, key: (
        AccessDenied("cannot read: 401", status=401) if key.startswith("docker.io/me/secret") else None
    )
    found = verify([wanted(secret), wanted(reference)], context(hub.registry, tmp_path))
    assert kinds(found) == ["unreadable"]
    assert [error.exit_code for error in found.failures] == [14]
    optional = replace(expected_pilot(), optional=True)
    again = verify([wanted(secret, expected=optional)], context(hub.registry, tmp_path))
    assert (kinds(again), again.failures) == (["missing-image"], ())


@pytest.mark.parametrize(
    ("make", "state", "differences"),
    [
        (lambda hub: both(hub), "same", []),
        (
            lambda hub: both(hub, arm64=hub.pilot(ARM64, user="0")),
            "differs",
            [
                "linux/amd64: 1 of 1 layer is the same",
                "linux/arm64: user is '1337:1337', and '0' there",
                "linux/arm64: 1 of 1 layer is the same",
            ],
        ),
        (only_one_platform, "differs", ["linux/amd64: 1 of 1 layer is the same", "linux/arm64: the other one lacks it"]),
    ],
)
def test_is_compared_with_the_original(make: Make, state: str, differences: list[str], hub: SampleHub, tmp_path: Path) -> None:
    theirs = SampleHub(Hub.parse("docker.io/istio").repository("pilot"))
    original = make(theirs)
    asked = replace(wanted(both(hub)), original=original)
    found = verify([asked], replace(context(hub.registry, tmp_path), originals=Originals(Puller(theirs.registry))))
    assert found.findings == ()
    assert found.images[0].comparison
    assert (found.images[0].comparison.state, list(found.images[0].comparison.differences)) == (state, differences)


def test_an_original_that_cannot_be_read_is_no_fault(hub: SampleHub, tmp_path: Path) -> None:
    theirs = FakeRegistry()
    theirs.fail_on = lambda operation, key: RegistryError("Name or service not known")
    reference = both(hub)
    tags = [reference, hub.tag(hub.index(entry(hub.pilot(ARM64), ARM64), entry(hub.pilot(AMD64), AMD64)), "other")]
    original = Hub.parse("docker.io/istio").repository("pilot").at("1.29.0")
    asked = [replace(wanted(each), original=original) for each in tags]
    found = verify(asked, replace(context(hub.registry, tmp_path), originals=Originals(Puller(theirs))))
    assert found.findings == ()
    assert {image.comparison.state for image in found.images if image.comparison} == {"not compared"}
    assert {image.comparison.reason for image in found.images if image.comparison} == {"Name or service not known"}


def test_an_original_that_is_not_there(hub: SampleHub, tmp_path: Path) -> None:
    original = Hub.parse("docker.io/istio").repository("pilot").at("1.29.0")
    originals = Originals(Puller(FakeRegistry()))
    found = verify([replace(wanted(both(hub)), original=original)], replace(context(hub.registry, tmp_path), originals=originals))
    assert found.images[0].comparison
    assert found.images[0].comparison.state == "absent"


def test_a_platform_that_nobody_asked_for_is_not_read(hub: SampleHub, tmp_path: Path) -> None:
    other = Platform("linux", "s390x")
    reference = hub.tag(hub.index(entry(hub.pilot(AMD64), AMD64), entry(hub.pilot(ARM64), other)))
    found = verify([replace(wanted(reference), platforms=(AMD64,))], context(hub.registry, tmp_path))
    assert found.findings == ()
    assert len(hub.registry.operations("pull_blob")) == 1
