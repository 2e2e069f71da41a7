"""A directory of layouts: what it says of itself, and what `push --from` makes of it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.check import read_layer_of
from builder.errors import CheckError, RequestError
from builder.layout import Layout
from builder.plan import Plan
from builder.reference import Hub, ImageReference
from builder.release_directory import BuiltRelease, LayoutNotes, read_release
from tests.samples import (
    AMD64,
    ARM64,
    BASE_LAYER,
    SampleFile,
    add_image,
    image_of,
    make_config,
    make_elf,
    make_sample_plan,
    make_tar,
    write_image_index,
)

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
    notes = dict(LayoutNotes.of(image_of(plan, key), plan).to_json())
    return write_image_index(root, images, notes)


def read(directory: Path, hubs: tuple[str, ...] = (), tags: tuple[str, ...] = ()) -> BuiltRelease:
    return read_release(directory, tuple(Hub.parse(hub) for hub in hubs), tags, read_layer_of)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    plan = make_sample_plan(tags=("1.29.0", "1.29"))
    for key in ("pilot-debug", "pilot-distroless", "istioctl-debug"):
        write_layout(tmp_path, plan, key)
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
        assert entry.layout is not None
        assert entry.layout.root == release / entry.key
        assert entry.index == entry.layout.index()


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


def test_images_of_two_releases_are_refused(release: Path) -> None:
    write_layout(release, make_sample_plan(tags=("1.29.1",)), "proxyv2-debug")
    with pytest.raises(CheckError, match=r"several releases: 1\.29\.0 for registry\.corp.*, 1\.29\.1 for registry\.corp"):
        read(release)


def test_images_stamped_for_two_hubs_are_refused(release: Path) -> None:
    write_layout(release, make_sample_plan(tags=("1.29.0",), hubs=(Hub.parse("docker.io/me"),)), "proxyv2-debug")
    with pytest.raises(CheckError, match="several releases"):
        read(release)


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
    with pytest.raises(CheckError, match="/proxyv2-debug on linux/arm64: /a is a program for amd64, not for arm64"):
        read(release)


def test_a_variant_that_has_no_plain_tag_gets_none_elsewhere_either(release: Path) -> None:
    [distroless] = [entry for entry in read(release, ("docker.io/me",)).publications if entry.key == "pilot-distroless"]
    assert [reference.tag for reference in distroless.references] == ["1.29.0-distroless"]


def test_notes_keep_their_form(tmp_path: Path) -> None:
    """What is in the field was written by some version of this tool, and must stay readable."""
    plan = make_sample_plan(images=("pilot",))
    image = replace(plan.images[1], references=plan.images[1].references[:1])
    assert LayoutNotes.of(image, plan).to_json() == {
        "dev.istio-build.default": "false",
        "dev.istio-build.hub": "registry.corp.example/istio",
        "dev.istio-build.image": "pilot",
        "dev.istio-build.references": "registry.corp.example/istio/pilot:1.29.0-distroless",
        "dev.istio-build.variant": "distroless",
        "dev.istio-build.version": "1.29.0",
    }
