"""Why an image is made anew: what is at a hub beside what a plan wants, told in words."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.reference import Hub, ImageReference
from builder.plan.lock import LockedGo, LockedPackages, UrlArtifact
from builder.plan.model import FINGERPRINT_ANNOTATION, NOTES_ANNOTATION, ImagePlan, Plan
from builder.plan.noted import annotate_inputs
from builder.plan.planner import make_plan
from builder.publish.noted_changes import find_changes
from builder.publish.published import Found, find_published
from builder.publish.reasons import Kind, Reason, gather
from builder.recipe.loader import load_recipes
from tests import ROOT
from tests.fakes.registry import FakeRegistry
from tests.samples.images import (
    AMD64,
    ARM64,
    BASE_LAYER,
    SampleFile,
    add_image,
    make_config,
    make_digest,
    make_tar,
    write_image_index,
)
from tests.samples.plans import (
    COMMIT,
    RELEASE,
    change_go,
    image_of,
    make_base,
    make_lock,
    make_request,
    make_sample_plan,
    make_source,
    make_state,
)
from tests.samples.programs import make_elf
from tests.samples.seeding import seed
from tests.unit.plan.test_planner import (
    BOOK,
    Change,
    binaries,
    other_envoy,
    other_source,
    with_bases,
    with_book,
    with_lock,
    with_request,
)

HUB = "registry.corp.example/istio"
KEY = "proxyv2-distroless"
BASES = load_recipes(build_bases=True).at(RELEASE)
PARTS = (("go.mod", "a" * 40), ("pilot", "b" * 40))


class Hubs:
    """A registry that holds what plans say, as a push leaves it."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.registry = FakeRegistry()

    def hold(self, image: ImagePlan, *, hubs: int = 1, program: str = "a") -> None:
        """This image at its first tag in each of its first hubs."""
        for number, reference in enumerate(_firsts(image)[:hubs]):
            root = self.work / f"{image.key}-{number}-{program}"
            layout = Layout(root)
            images = {
                on.platform: add_image(
                    layout,
                    make_config(on.platform),
                    [BASE_LAYER, make_tar([SampleFile(path=program, content=make_elf(on.platform.architecture))])],
                )
                for on in image.platforms
            }
            seed(self.registry, write_image_index(root, images, {}, dict(image.annotations)), reference)

    def change(self, image: ImagePlan, change: Callable[[dict[str, Any]], None]) -> None:
        """Have the index at its first tag be another one, made by hand."""
        [reference, *_] = _firsts(image)
        there = self.registry.manifests[reference.repository]
        document = there[reference.tag].json()
        change(document)
        there[reference.tag] = Manifest(media_type=there[reference.tag].media_type, content=json.dumps(document).encode())


def _firsts(image: ImagePlan) -> list[ImageReference]:
    return [reference for reference in image.references if reference.tag == image.references[0].tag]


@pytest.fixture
def hubs(tmp_path: Path) -> Hubs:
    return Hubs(tmp_path)


def planned(change: Change | None = None, key: str = KEY, **request: Any) -> ImagePlan:  # noqa: ANN401 - fields of the value
    lock = make_lock(source=make_source(make_state(parts=PARTS)))
    if change is None:
        return image_of(make_plan(make_request(**request), BOOK, lock), key)
    return image_of(make_plan(*change(make_request(**request), BOOK, lock)), key)


def texts(found: Found) -> list[str]:
    assert not found.images
    return [reason.text for reason in found.reasons]


def kinds(found: Found) -> list[str]:
    return [reason.kind for reason in found.reasons]


def moved_base(name: str) -> Change:
    base = make_base(name)
    return with_bases(replace(base, reference=base.reference.pinned(make_digest("moved"))))


def source(**changes: object) -> Change:
    return other_source(**{"parts": PARTS, **changes})


IPTABLES, MOVED = make_digest("index of iptables").short, make_digest("moved").short
ENVOY = make_digest("envoy linux/arm64").short


@pytest.mark.parametrize(
    ("change", "kind", "told"),
    [
        (moved_base("iptables"), "base", f"base image iptables moved from sha256:{IPTABLES} to sha256:{MOVED}"),
        (with_lock(go=LockedGo(version="1.26.1")), "go", "Go 1.26.0 → 1.26.1"),
        (source(commit="f" * 40), "commit", f"commit {COMMIT[:12]} → {'f' * 12}"),
        (
            source(commit="f" * 40, content="e" * 40, parts=(PARTS[0], ("pilot", "c" * 40))),
            "commit",
            f"commit {COMMIT[:12]} → {'f' * 12} (in pilot)",
        ),
        (
            source(content="e" * 40, parts=(("go.mod", "d" * 40), ("new", "e" * 40))),
            "source",
            "Istio's source changed in go.mod, new, pilot, at the same commit",
        ),
        (source(content="e" * 40), "source", "Istio's source changed, at the same commit"),
        (with_request(tags=("1.29.0-corp",)), "version", "version 1.29.0 → 1.29.0-corp"),
        (other_envoy(sha256="0" * 64), "artifact", f"envoy sha256:{ENVOY} → sha256:{'0' * 12} on linux/arm64"),
        (
            other_envoy(member="envoy"),
            "artifact",
            f"envoy sha256:{make_digest('envoy linux/arm64').hex} usr/local/bin/envoy → "
            f"sha256:{make_digest('envoy linux/arm64').hex} envoy on linux/arm64",
        ),
        (binaries("proxyv2", mode="0555"), "recipe", "the recipe, or its template, changed"),
        (with_book(lambda book: change_go(book, ldflags=("-s",))), "flags", "the flags of `go build` changed"),
        (with_book(lambda book: change_go(book, env={"GOAMD64": "v3"})), "flags", "Go's environment changed"),
        (
            with_request(hubs=(Hub.parse(HUB.replace("istio", "other")),)),
            "stamp",
            "what programs are stamped with changed (the hub, or what git says)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_an_input_that_is_another_is_told_by_name(hubs: Hubs, change: Change, kind: str, told: str) -> None:
    before, after = planned(), planned(change)
    # Wherever it goes: what is at the tag is what counts.
    hubs.hold(replace(before, references=after.references))
    found = find_published(after, hubs.registry)
    assert (kinds(found), texts(found)) == ([kind], [told])


def test_all_that_changed_is_told_and_no_consequence_of_it(hubs: Hubs) -> None:
    def change(request: Any, book: Any, lock: Any) -> Any:  # noqa: ANN401 - a plan's inputs
        request, book, lock = source(commit="f" * 40, tag="", description="1.29.0-1-gffff")(request, book, lock)
        return moved_base("iptables")(request, book, replace(lock, go=LockedGo(version="1.26.1")))

    before, after = planned(), planned(change)
    hubs.hold(replace(before, references=after.references))
    told = texts(find_published(after, hubs.registry))
    # The version is made of the commit, and so is what programs are stamped with.
    assert [text.partition(" ")[0] for text in told] == ["commit", "Go", "base"]


def test_compression_and_format(hubs: Hubs) -> None:
    hubs.hold(planned())
    found = find_published(planned(compression="zstd"), hubs.registry)
    assert kinds(found) == ["compression"]
    assert re.fullmatch(r"compression libdeflate .* → zstd .*", texts(found)[0])


def test_another_istio_build(hubs: Hubs) -> None:
    image = planned()
    older = [
        replace(on, fingerprint=str(make_digest("older")), noted=tuple(sorted({**dict(on.noted), "istio-build": "0.1"}.items())))
        for on in image.platforms
    ]
    hubs.hold(annotated(replace(image, platforms=tuple(older))))
    assert kinds(find_published(image, hubs.registry)) == ["builder"]
    assert texts(find_published(image, hubs.registry))[0].startswith("istio-build 0.1 → ")


def annotated(image: ImagePlan) -> ImagePlan:
    """With the annotations of what its platforms say."""
    sums = {str(on.platform): on.fingerprint for on in image.platforms}
    made_from = annotate_inputs(sums, {str(on.platform): on.noted for on in image.platforms})
    return replace(image, annotations=tuple({**dict(image.annotations), **made_from}.items()))


class TestWhatIsAtTheHub:
    def test_nothing(self, hubs: Hubs) -> None:
        found = find_published(planned(), hubs.registry)
        assert (kinds(found), texts(found)) == (["new"], [f"the tag is new at {HUB}"])

    def test_the_same(self, hubs: Hubs) -> None:
        hubs.hold(planned())
        found = find_published(planned(), hubs.registry)
        assert (len(found.images), found.reasons) == (1, ())

    def test_a_platform_is_gone(self, hubs: Hubs) -> None:
        """Somebody made an index by hand: its annotation still says of both."""
        image = planned()
        hubs.hold(image)
        hubs.change(image, lambda index: index.update(manifests=index["manifests"][:1]))
        found = find_published(image, hubs.registry)
        assert (kinds(found), texts(found)) == (["platform-lost"], [f"{HUB} lost linux/arm64"])

    def test_a_platform_was_never_there(self, hubs: Hubs) -> None:
        hubs.hold(planned(platforms=(AMD64,)))
        found = find_published(planned(), hubs.registry)
        assert (kinds(found), texts(found)) == (["platform-missing"], [f"{HUB} has no linux/arm64 of it"])

    def test_a_platform_more(self, hubs: Hubs) -> None:
        hubs.hold(planned())
        one = planned(platforms=(AMD64,))
        found = find_published(one, hubs.registry)
        assert (kinds(found), texts(found)) == (["platform-extra"], [f"{HUB} also has linux/arm64, which is not asked for"])
        assert find_published(one, hubs.registry, merge=True).images

    def test_where_platforms_are_kept_one_more_is_no_reason(self, hubs: Hubs) -> None:
        hubs.hold(planned())
        one = planned(with_lock(go=LockedGo(version="1.26.1")), platforms=(AMD64,))
        assert kinds(find_published(one, hubs.registry, merge=True)) == ["go"]
        assert kinds(find_published(one, hubs.registry)) == ["platform-extra", "go"]

    @pytest.mark.parametrize("what", ["manifest", "layer"])
    def test_something_is_missing(self, hubs: Hubs, what: str) -> None:
        image = planned()
        hubs.hold(image)
        repository = _firsts(image)[0].repository
        [child] = [
            child for child in hubs.registry.manifests[repository]["1.29.0-distroless"].children() if child.platform == ARM64
        ]
        layer = hubs.registry.manifests[repository][str(child.digest)].layers()[-1]
        if what == "manifest":
            del hubs.registry.manifests[repository][str(child.digest)]
        else:
            del hubs.registry.blobs[repository][layer.digest]
        found = find_published(image, hubs.registry)
        lost = f"its manifest {child.digest}" if what == "manifest" else f"layer {layer.digest}"
        assert (kinds(found), texts(found)) == (["damaged"], [f"{HUB}: linux/arm64: {lost} is missing"])

    def test_an_image_for_one_platform(self, hubs: Hubs) -> None:
        image = planned()
        hubs.hold(image)
        there = hubs.registry.manifests[_firsts(image)[0].repository]
        there["1.29.0-distroless"] = there[str(there["1.29.0-distroless"].children()[0].digest)]
        assert kinds(find_published(image, hubs.registry)) == ["foreign"]

    @pytest.mark.parametrize("without", [(FINGERPRINT_ANNOTATION, NOTES_ANNOTATION), (NOTES_ANNOTATION,)])
    def test_no_inputs_are_noted(self, hubs: Hubs, without: tuple[str, ...]) -> None:
        hubs.hold(planned())
        after = planned(with_lock(go=LockedGo(version="1.26.1")))
        hubs.change(after, lambda index: _without(index, without))
        found = find_published(after, hubs.registry)
        told = f"no inputs are noted at {HUB}: made by an older istio-build, or by another tool"
        assert (kinds(found), texts(found)) == (["unknown"], [told])

    def test_the_sums_alone_differ(self, hubs: Hubs) -> None:
        """The sum decides, and the notes only explain: where they do not, that is said."""
        image = planned()
        other = [replace(on, fingerprint=str(make_digest("other"))) for on in image.platforms]
        hubs.hold(annotated(replace(image, platforms=tuple(other))))
        found = find_published(image, hubs.registry)
        assert set(kinds(found)) == {"unknown"}
        assert "does not tell which" in texts(found)[0]

    def test_the_second_hub(self, hubs: Hubs) -> None:
        image = planned(hubs=(Hub.parse(HUB), Hub.parse("other.example/mesh")))
        hubs.hold(image)
        assert texts(find_published(image, hubs.registry)) == ["the tag is new at other.example/mesh"]

    def test_two_hubs_that_are_not_alike(self, hubs: Hubs) -> None:
        image = planned(hubs=(Hub.parse(HUB), Hub.parse("other.example/mesh")))
        hubs.hold(image, hubs=2)
        assert find_published(image, hubs.registry).images
        hubs.hold(image, hubs=1, program="b")
        found = find_published(image, hubs.registry)
        assert (kinds(found), texts(found)) == (["hubs-differ"], [f"{HUB} and other.example/mesh have two images of it"])


def _without(index: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        del index["annotations"][name]


def test_packages_are_told_by_name(hubs: Hubs) -> None:
    def base(*packages: tuple[str, str]) -> Plan:
        files = tuple(
            UrlArtifact(
                name=f"{name}_{version}_arm64.deb", platform=ARM64, url="http://a", sha256=make_digest(name + version).hex
            )
            for name, version in packages
        )
        locked = LockedPackages(image="base", platform=ARM64, packages=files, sources=("deb http://archive noble main",))
        request = make_request(images=("base",), build_bases=True, platforms=(ARM64,))
        return make_sample_plan(request, BASES, lock=make_lock(packages=(locked,)))

    hubs.hold(image_of(base(("libc6", "2.36-9"), ("old", "1"), ("same", "1")), "base"))
    found = find_published(image_of(base(("libc6", "2.36-10"), ("new", "1"), ("same", "1")), "base"), hubs.registry)
    assert texts(found) == ["packages: libc6 2.36-9 → 2.36-10, new 1 is new, old 1 is gone"]


def test_what_a_later_istio_build_notes_is_told_under_its_name() -> None:
    [change] = find_changes((("Go", "1"), ("patch cve.patch", "sha256:" + "a" * 64)), (("Go", "1"),))
    assert (change.kind, change.text) == ("other", f"patch cve.patch sha256:{'a' * 12} is gone")


def test_a_long_list_is_cut() -> None:
    before = tuple((f"source {number:02}", "a") for number in range(20))
    [change] = find_changes(before, ())
    assert change.text == "Istio's source changed in 00, 01, 02, 03, 04, 05, 06, 07, and 12 more, at the same commit"


def test_what_several_images_share_is_told_once() -> None:
    go, new = Reason(kind="go", text="Go 1 → 2"), Reason(kind="recipe", text="the recipe changed")
    causes = gather({"istioctl-debug": (go,), "pilot-debug": (new, go), "proxyv2-debug": ()})
    assert list(map(str, causes)) == ["Go 1 → 2: istioctl-debug, pilot-debug", "the recipe changed: pilot-debug"]


def test_the_page_has_every_kind() -> None:
    page = (ROOT / "docs" / "why.md").read_text().partition("## The kinds of reasons")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \|", page, re.MULTILINE)
    [own, changes] = get_args(Kind)
    assert sorted(rows) == sorted((*get_args(own), *get_args(changes)))
