"""What the demo decides: which images it asks, what it takes for foreign, whether two engines agree."""

import tarfile
from pathlib import Path

import pytest

from builder.images.pull import pull
from builder.oci.layout import Layout
from builder.oci.reference import ImageReference, Platform
from builder.recipe.loader import load_recipes
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64, ARM64, SampleFile, add_image, make_config, make_digest, make_tar, write_image_index
from tests.samples.plans import RELEASE
from tests.samples.programs import make_elf
from tests.samples.seeding import seed
from tools.demo.__main__ import compare, unique
from tools.demo.ground import RECIPES, debian_settings
from tools.demo.in_docker import why_no_docker
from tools.demo.pulled import UnpackedImage, foreign, questions

ONE, TWO = (f"@{make_digest(text)}" for text in ("one", "two"))
PUSHED = [f"hub.test/istio/pilot:1.29.0{ONE}", f"hub.test/istio/pilot:1.29.0-debug{ONE}", f"hub.test/istio/proxyv2:1.29.0{TWO}"]


def unpack(tmp_path: Path, platform: Platform, *layers: list[SampleFile]) -> UnpackedImage:
    registry, reference = FakeRegistry(), ImageReference.parse("hub.test/istio/pilot:1")
    layout = Layout(tmp_path / "layout")
    config = make_config(platform, entrypoint=("/usr/local/bin/pilot",))
    images = {platform: add_image(layout, config, [make_tar(files) for files in layers])}
    seed(registry, write_image_index(layout.root, images), reference)
    (pulled,) = pull(reference, registry).platforms
    return UnpackedImage(reference.repository, pulled, registry, tmp_path / "unpacked")


def test_programs_are_executable_elf_files(tmp_path: Path) -> None:
    elf = make_elf("amd64")
    files = [
        SampleFile(path="/usr/bin/program", content=elf),
        SampleFile(path="/usr/lib/libc.so.6", content=elf, mode=0o644),
        SampleFile(path="/usr/bin/script", content=b"#!/bin/sh\n"),
    ]
    assert [program.path for program in unpack(tmp_path, AMD64, files).programs()] == ["/usr/bin/program"]


def test_a_program_for_another_platform_is_foreign_and_one_for_the_kernel_is_not(tmp_path: Path) -> None:
    bpf = bytearray(make_elf("arm64"))
    bpf[18:20] = (247).to_bytes(2, "little")
    files = [
        SampleFile(path="/usr/bin/ours", content=make_elf("arm64")),
        SampleFile(path="/usr/bin/theirs", content=make_elf("amd64")),
        SampleFile(path="/usr/lib/filter.o", content=bytes(bpf)),
    ]
    assert [program.path for program in foreign(unpack(tmp_path, ARM64, files))] == ["/usr/bin/theirs"]


def test_a_layer_hides_what_lies_below_it(tmp_path: Path) -> None:
    below = [
        SampleFile(path="/usr/bin/replaced", content=make_elf("amd64")),
        SampleFile(path="/usr/bin/removed", content=make_elf("amd64")),
        SampleFile(path="/usr/bin/scripted", content=make_elf("amd64")),
    ]
    above = [
        SampleFile(path="/usr/bin/replaced", content=make_elf("arm64")),
        SampleFile(path="/usr/bin/.wh.removed"),
        SampleFile(path="/usr/bin/scripted", content=b"#!/bin/sh\n"),
    ]
    found = unpack(tmp_path, ARM64, below, above).programs()
    assert [(program.path, program.architecture) for program in found] == [("/usr/bin/replaced", "arm64")]


def test_no_entry_is_written_outside_and_no_link_leads_there(tmp_path: Path) -> None:
    files = [
        SampleFile(path="x/libup.so", kind=tarfile.SYMTYPE, target=".."),
        SampleFile(path="x/../../../escaped", content=make_elf("amd64")),
    ]
    image = unpack(tmp_path, AMD64, files)
    assert [program.path for program in image.programs()] == ["/escaped"]
    assert not (tmp_path / "escaped").exists()
    assert not list((tmp_path / "unpacked").rglob("libup.so"))


def test_each_digest_is_asked_once() -> None:
    assert [str(reference) for reference in unique(PUSHED)] == [PUSHED[0], PUSHED[2]]


def test_engines_that_differ_end_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    compare(PUSHED, list(PUSHED))
    assert "same digests: 3 tags, 2 images" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="the engines differ"):
        compare(PUSHED, [*PUSHED[:2], f"hub.test/istio/proxyv2:1.29.0{ONE}"])


def test_envoy_is_asked_where_it_is() -> None:
    agent, envoy = "/usr/local/bin/pilot-agent", "/usr/local/bin/envoy"
    assert questions([agent], [envoy, agent]) == [(agent, ("version",)), (envoy, ("--version",))]
    # Without this flag istioctl looks for a cluster.
    istioctl = "/usr/local/bin/istioctl"
    assert questions([istioctl], [istioctl]) == [(istioctl, ("version", "--remote=false"))]


def test_packages_come_from_where_this_machine_has_them() -> None:
    printed = (
        "'http://mirror.corp.example/debian/dists/bookworm/InRelease' x 0 \n"
        "'http://mirror.corp.example/debian/dists/bookworm-updates/InRelease' x 0 \n"
        "'http://mirror.corp.example/security/dists/bookworm-security/InRelease' x 0 \n"
        "'http://other.example/dists/stable/InRelease' x 0 \n"
    )
    near = debian_settings(printed, "bookworm")
    assert near[:2] == ["--base-distribution", "debian:bookworm"]
    assert near[3::2] == ["debian=http://mirror.corp.example/debian", "debian-security=http://mirror.corp.example/security"]
    far = debian_settings("", "trixie")
    assert far[1::2][1:] == ["debian=http://deb.debian.org/debian", "debian-security=http://deb.debian.org/debian-security"]


def test_the_demos_base_takes_the_place_of_the_built_in_one() -> None:
    """Loading checks it for every release."""
    theirs, ours = load_recipes(build_bases=True).at(RELEASE), load_recipes((RECIPES,), build_bases=True).at(RELEASE)
    changed = {recipe.image for recipe in ours.images if recipe not in theirs.images}
    assert (len(ours.images), changed) == (len(theirs.images), {"base"})


def test_docker_on_another_machine_takes_no_part() -> None:
    assert "loopback" in why_no_docker({"DOCKER_HOST": "ssh://builder.corp.example"})
