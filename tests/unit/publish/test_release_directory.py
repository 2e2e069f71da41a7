"""A directory of layouts: what it says of itself, and what `push --from` makes of it."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import CheckError, RequestError
from builder.images.check import read_layer_of
from builder.images.layout_notes import LayoutNotes
from builder.oci.layout import Layout
from builder.oci.reference import Hub, ImageReference
from builder.plan.model import Plan
from builder.publish.content import LayoutContent
from builder.publish.publication import Release
from builder.publish.release_directory import ReleasePart
from builder.publish.release_file import RELEASE_FILE, ListedImage, ReleaseFile, note_release
from builder.publish.release_parts import WHOLE, read_release
from tests.samples.images import (
    AMD64,
    ARM64,
    BASE_LAYER,
    SampleFile,
    add_image,
    make_config,
    make_tar,
    set_root,
    write_image_index,
)
from tests.samples.plans import image_of, make_sample_plan
from tests.samples.programs import make_elf

HUB = "registry.corp.example/istio"
KEYS = ("pilot-debug", "pilot-distroless", "istioctl-debug")
TAGS = ("1.29.0", "1.29.0-debug", "1.29", "1.29-debug")


def write_layout(directory: Path, plan: Plan, key: str, architecture: str = "") -> Layout:
    """A layout as `build` leaves it, with a program in it."""
    root = directory / key
    layout = Layout(root)
    images = {
        platform: add_image(
            layout,
            make_config(platform),
            [BASE_LAYER, make_tar([SampleFile(path="/a", content=make_elf(architecture or platform.architecture))])],
        )
        for platform in (AMD64, ARM64)
    }
    image = image_of(plan, key)
    return write_image_index(root, images, dict(LayoutNotes.of(image, plan).to_json()), dict(image.annotations))


def release_file(directory: Path, *keys: str, version: str = "1.29.0", made: str = "alike") -> ReleaseFile:
    """What says that a release holds these, as they are in the directory."""
    plan = make_sample_plan(tags=("1.29.0", "1.29"))
    images = [
        ListedImage(
            image=image.image,
            variant=image.variant,
            digest=Layout(directory / image.key).index().digest,
            inputs=tuple((str(on.platform), on.fingerprint) for on in image.platforms),
        )
        for image in (image_of(plan, key) for key in keys)
    ]
    return ReleaseFile(version=version, hub=HUB, made=(("Go", made),), images=tuple(images))


def note(directory: Path, *keys: str) -> None:
    """Have the directory say that its release holds these."""
    release_file(directory, *keys).write(directory)


def read(directory: Path, hubs: tuple[str, ...] = (), tags: tuple[str, ...] = (), part: ReleasePart = WHOLE) -> Release:
    return read_release((directory,), tuple(Hub.parse(hub) for hub in hubs), tags, read_layer_of, part)


def chosen(release: Release) -> list[str]:
    return [entry.key for entry in release.publications]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    plan = make_sample_plan(tags=("1.29.0", "1.29"))
    for key in KEYS:
        write_layout(tmp_path, plan, key)
    note(tmp_path, *KEYS)
    return tmp_path


def test_notes_are_read_as_they_are_written(tmp_path: Path) -> None:
    plan = make_sample_plan(hubs=(Hub.parse("docker.io/me"), Hub.parse("[::1]:5000/x")), tags=("1.29.0", "1.29"))
    for image in plan.images:
        layout = write_layout(tmp_path, plan, image.key)
        assert LayoutNotes.read(layout) == LayoutNotes.of(image, plan)


def test_layouts_go_where_they_were_built_for(release: Path) -> None:
    found = read(release)
    assert (found.version, found.hub) == ("1.29.0", "registry.corp.example/istio")
    assert {entry.key: [str(reference) for reference in entry.references] for entry in found.publications} == {
        "istioctl-debug": [f"registry.corp.example/istio/istioctl:{tag}" for tag in TAGS],
        "pilot-debug": [f"registry.corp.example/istio/pilot:{tag}" for tag in TAGS],
        "pilot-distroless": [f"registry.corp.example/istio/pilot:{tag}-distroless" for tag in ("1.29.0", "1.29")],
    }
    for entry in found.publications:
        assert isinstance(entry.content, LayoutContent)
        assert entry.content.layout.root == release / entry.key
        assert entry.index == entry.content.layout.index()


@pytest.mark.parametrize(
    ("hubs", "tags", "references"),
    [
        (("docker.io/me",), (), ["docker.io/me/pilot:1.29.0", "docker.io/me/pilot:1.29.0-debug"]),
        ((), ("corp",), ["registry.corp.example/istio/pilot:corp", "registry.corp.example/istio/pilot:corp-debug"]),
        (("a.example", "b.example/x"), ("t",), ["a.example/pilot:t", "a.example/pilot:t-debug", "b.example/x/pilot:t"]),
    ],
)
def test_they_may_go_elsewhere(release: Path, hubs: tuple[str, ...], tags: tuple[str, ...], references: list[str]) -> None:
    [pilot] = [entry for entry in read(release, hubs, tags).publications if entry.key == "pilot-debug"]
    assert pilot.references[: len(references)] == tuple(ImageReference.parse(text) for text in references)


def test_the_directory_may_have_been_carried_elsewhere(release: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = tmp_path_factory.mktemp("other side") / "images"
    shutil.copytree(release, there)
    assert [(entry.key, entry.index, entry.references) for entry in read(there).publications] == [
        (entry.key, entry.index, entry.references) for entry in read(release).publications
    ]


def test_other_files_beside_the_layouts_do_not_matter(release: Path) -> None:
    (release / "README").touch()
    (release / "other").mkdir()
    (release / "other" / "file").touch()
    assert len(read(release).publications) == 3


@pytest.mark.parametrize("name", ["", "gone"])
def test_a_directory_without_layouts_is_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="holds no image layouts") as raised:
        read(tmp_path / name)
    assert "--output" in raised.value.hint


@pytest.mark.parametrize("changes", [{"tags": ("1.29.1",)}, {"hubs": (Hub.parse("docker.io/me"),)}], ids=["version", "hub"])
def test_an_image_of_another_release_is_refused(release: Path, changes: dict[str, Any]) -> None:
    write_layout(release, make_sample_plan(**{"tags": ("1.29.0", "1.29"), **changes}), "proxyv2-debug")
    with pytest.raises(CheckError, match=r"holds proxyv2-debug, which release\.json does not list"):
        read(release)
    note(release, *KEYS, "proxyv2-debug")
    with pytest.raises(CheckError, match=r"proxyv2-debug is not|is not to go where the rest of its release goes"):
        read(release)


class TestTheWholeRelease:
    def test_one_that_lacks_an_image_is_refused(self, release: Path) -> None:
        shutil.rmtree(release / "pilot-distroless")
        with pytest.raises(CheckError, match="lacks pilot-distroless: 2 of the 3 images that are meant") as raised:
            read(release)
        assert "--image" in raised.value.hint

    def test_a_part_may_be_meant(self, release: Path) -> None:
        shutil.rmtree(release / "pilot-distroless")
        assert chosen(read(release, part=ReleasePart(images=("istioctl",)))) == ["istioctl-debug"]
        assert chosen(read(release, part=ReleasePart(variants=("debug",)))) == ["istioctl-debug", "pilot-debug"]

    @pytest.mark.parametrize(
        "part",
        [ReleasePart(variants=("distroless",)), ReleasePart(images=("pilot",), variants=("debug", "distroless"))],
        ids=["variant", "both variants"],
    )
    def test_a_part_has_to_be_whole_too(self, release: Path, part: ReleasePart) -> None:
        assert "pilot-distroless" in chosen(read(release, part=part))
        shutil.rmtree(release / "pilot-distroless")
        with pytest.raises(CheckError, match="lacks pilot-distroless"):
            read(release, part=part)

    def test_a_variant_that_is_not_there_cannot_be_meant(self, release: Path) -> None:
        with pytest.raises(RequestError, match="has no slim"):
            read(release, part=ReleasePart(variants=("debug", "slim")))

    def test_two_variants_never_get_one_tag(self, release: Path) -> None:
        with pytest.raises(RequestError, match="would be the tag of both"):
            read(release, tags=("corp", "corp-distroless"))

    def test_other_tags_go_to_all_hubs_of_the_release(self, tmp_path: Path) -> None:
        hubs = (Hub.parse(HUB), Hub.parse("docker.io/me"))
        write_layout(tmp_path, make_sample_plan(tags=("1.29.0",), hubs=hubs), "pilot-debug")
        note(tmp_path, "pilot-debug")
        [pilot] = read(tmp_path, tags=("corp",)).publications
        assert {str(reference.repository) for reference in pilot.references} == {f"{HUB}/pilot", "docker.io/me/pilot"}

    def test_an_image_that_is_meant_is_there_in_all_its_variants(self, release: Path) -> None:
        assert chosen(read(release, part=ReleasePart(images=("pilot",)))) == ["pilot-debug", "pilot-distroless"]
        shutil.rmtree(release / "pilot-distroless")
        with pytest.raises(CheckError, match="lacks pilot-distroless"):
            read(release, part=ReleasePart(images=("pilot",)))

    def test_an_image_that_is_not_there_cannot_be_meant(self, release: Path) -> None:
        with pytest.raises(RequestError, match="has no proxyv2") as raised:
            read(release, part=ReleasePart(images=("proxyv2", "pilot")))
        assert raised.value.hint.startswith("It holds istioctl, pilot;")

    def test_a_directory_that_does_not_say_what_it_holds_is_refused(self, release: Path) -> None:
        (release / RELEASE_FILE).unlink()
        with pytest.raises(CheckError, match=r"there is no release\.json"):
            read(release)

    @pytest.mark.parametrize(
        "text", ["", "{", "[]", "{}", '{"schemaVersion": 2}', "[" * 60_000, '{"schemaVersion":1,"images":{"a":7}}']
    )
    def test_a_damaged_release_file_is_named(self, release: Path, text: str) -> None:
        (release / RELEASE_FILE).write_text(text)
        with pytest.raises(CheckError, match=re.escape(str(release / RELEASE_FILE))):
            read(release)

    def test_an_image_that_was_exchanged_is_refused(self, release: Path) -> None:
        """A whole and honest image, but another one than the release says."""
        plan = make_sample_plan(tags=("1.29.0", "1.29"))
        shutil.rmtree(release / "pilot-debug")
        layout = write_layout(release, plan, "proxyv2-debug")
        notes = LayoutNotes.of(image_of(plan, "pilot-debug"), plan).to_json()
        set_root(layout, layout.root_descriptor()[0], dict(notes))
        layout.root.rename(release / "pilot-debug")
        with pytest.raises(CheckError, match=r"is not the pilot-debug of its release: digest is .*; image is proxyv2, not pilot"):
            read(release)

    @pytest.mark.parametrize("reference", ["evil.example/x/pilot:1.29.0", f"{HUB}/proxyv2:1.29.0"])
    def test_no_layout_goes_elsewhere_than_the_rest(self, release: Path, reference: str) -> None:
        layout = Layout(release / "pilot-debug")
        descriptor, notes = layout.root_descriptor()
        set_root(layout, descriptor, {**notes, "dev.istio-build.references": reference})
        with pytest.raises(CheckError, match="is not to go where the rest of its release goes"):
            read(release)

    def test_no_layout_takes_the_tag_that_runs_note_themselves_in(self, release: Path) -> None:
        layout = Layout(release / "pilot-debug")
        descriptor, notes = layout.root_descriptor()
        set_root(layout, descriptor, {**notes, "dev.istio-build.references": f"{HUB}/pilot:istio-build-run"})
        with pytest.raises(CheckError, match="'istio-build-run', which is reserved"):
            read(release)

    def test_a_layer_with_a_flipped_byte_is_found(self, release: Path) -> None:
        layout = Layout(release / "pilot-debug")
        blob = layout.blob(layout.manifest(layout.index().children()[0]).layers()[1].digest)
        content = bytearray(blob.read_bytes())
        content[-1] ^= 1
        blob.write_bytes(content)
        with pytest.raises(CheckError, match=f"blob sha256:{blob.name} .* is damaged"):
            read_release((release,), (), (), lambda layout, layer: ())


class TestNoting:
    """What `build` writes down of the directory that it built into."""

    def note(self, directory: Path, *keys: str, alone: bool = False, **made: str) -> tuple[str, ...]:
        plan = make_sample_plan(tags=("1.29.0", "1.29"))
        for key in keys:
            if not (directory / key).exists():
                write_layout(directory, plan, key)
        return note_release(directory, release_file(directory, *keys, **made), alone=alone)

    def listed(self, directory: Path) -> list[str]:
        found = ReleaseFile.read(directory)
        assert found
        return [entry.key for entry in found.images]

    def test_another_build_of_the_same_release_adds_to_it(self, tmp_path: Path) -> None:
        self.note(tmp_path, "pilot-debug")
        assert self.note(tmp_path, "istioctl-debug") == ()
        assert self.listed(tmp_path) == ["istioctl-debug", "pilot-debug"]

    @pytest.mark.parametrize("made", [{"version": "1.29.1"}, {"made": "with another Go"}, {"alone": True}], ids=str)
    def test_one_that_is_not_alike_takes_its_place(self, tmp_path: Path, made: dict[str, Any]) -> None:
        self.note(tmp_path, "pilot-debug", "istioctl-debug")
        assert self.note(tmp_path, "istioctl-debug", **made) == ("pilot-debug",)
        assert self.listed(tmp_path) == ["istioctl-debug"]


def test_a_layout_of_another_tool_is_refused(release: Path) -> None:
    layout = Layout(release / "alien")
    write_image_index(layout.root, {AMD64: add_image(layout, make_config(AMD64), [BASE_LAYER])})
    with pytest.raises(CheckError, match=r"/alien was not made by `istio-build build`: it lacks the note 'dev\.istio-build"):
        read(release)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda layout: layout.blob(layout.index().children()[1].digest).unlink(), "lacks blob"),
        (lambda layout: (layout.root / "index.json").unlink(), "is not an OCI image layout"),
        (lambda layout: (layout.root / "index.json").write_text("{}"), "must list exactly one image"),
        (lambda layout: layout.blob(layout.index().digest).write_text("{}"), "is damaged"),
    ],
)
def test_a_damaged_layout_is_refused(release: Path, spoil: Callable[[Layout], object], told: str) -> None:
    spoil(Layout(release / "pilot-debug"))
    with pytest.raises(CheckError, match=told):
        read(release)


def test_a_program_for_another_platform_is_refused(release: Path) -> None:
    write_layout(release, make_sample_plan(tags=("1.29.0", "1.29")), "proxyv2-debug", architecture="amd64")
    note(release, *KEYS, "proxyv2-debug")
    with pytest.raises(CheckError, match="/proxyv2-debug on linux/arm64: /a is a program for amd64, not for arm64"):
        read(release)


def test_a_variant_that_has_no_plain_tag_gets_none_elsewhere_either(release: Path) -> None:
    [distroless] = [entry for entry in read(release, ("docker.io/me",)).publications if entry.key == "pilot-distroless"]
    assert [reference.tag for reference in distroless.references] == ["1.29.0-distroless", "1.29-distroless"]


def test_notes_keep_their_form(tmp_path: Path) -> None:
    """What is in the field was written by some version of this tool, and must stay readable."""
    plan = make_sample_plan(images=("pilot",))
    image = replace(plan.images[1], references=plan.images[1].references[:1])
    assert image.base
    assert LayoutNotes.of(image, plan).to_json() == {
        "dev.istio-build.base": str(image.base.reference),
        "dev.istio-build.default": "false",
        "dev.istio-build.hub": "registry.corp.example/istio",
        "dev.istio-build.image": "pilot",
        "dev.istio-build.references": "registry.corp.example/istio/pilot:1.29.0-distroless",
        "dev.istio-build.variant": "distroless",
        "dev.istio-build.version": "1.29.0",
        "io.containerd.image.name": "registry.corp.example/istio/pilot:1.29.0-distroless",
        "org.opencontainers.image.ref.name": "1.29.0-distroless",
    }


def test_layers_of_a_base_are_mounted_from_where_the_layout_says_that_it_came(release: Path) -> None:
    bases = {image.key: image.base for image in make_sample_plan().images}
    for entry in read(release).publications:
        base = bases[entry.key]
        assert base
        assert entry.content
        assert entry.content.mount_from == (base.reference.repository,)


def test_a_layout_that_does_not_say_so_is_read_all_the_same() -> None:
    plan = make_sample_plan(images=("pilot",))
    assert replace(LayoutNotes.of(plan.images[1], plan), base=None).made_from == ()
