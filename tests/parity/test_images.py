"""Two pushed images, byte by byte: on images in memory, and by the command on a real registry."""

import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from builder.oci.layer import LayerEntry
from builder.oci.layout import Layout
from builder.oci.reference import ImageReference, Platform
from builder.ports import Registry
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests import ROOT
from tests.fakes.registry import FakeRegistry
from tests.real.registry import registry_program, running_registry
from tests.samples.images import AMD64, ARM64, BASE_LAYER, SampleFile, add_image, make_config, make_tar, write_image_index
from tests.samples.programs import make_elf
from tools.parity.contents import Base, merge_layers
from tools.parity.images import compare_images, show_differences, show_files
from tools.parity.intended import excuse, read_intended
from tools.parity.model import CouldNotRead

OURS = ImageReference.parse("hub.test/me/pilot:1.29.0")
THEIRS = ImageReference.parse("hub.test/istio/pilot:1.29.0")
BASE = ImageReference.parse("hub.test/istio/base:1")

PROGRAM = SampleFile(path="/usr/local/bin/pilot-discovery", content=make_elf("amd64"))
DIRECTORIES = [SampleFile(path=path, kind=tarfile.DIRTYPE) for path in ("/usr", "/usr/local", "/usr/local/bin")]


def push(
    registry: Registry,
    reference: ImageReference,
    root: Path,
    layers: Sequence[Sequence[SampleFile]] = ((PROGRAM,),),
    *,
    platforms: Sequence[Platform] = (AMD64, ARM64),
    base: bytes = BASE_LAYER,
    **changes: Any,  # noqa: ANN401 - fields of the configuration
) -> None:
    """An image of these layers on a base, on each platform, at a registry."""
    layout = Layout(root)
    tars = [base, *(make_tar(layer) for layer in layers)]
    configs = {platform: make_config(platform, **{"user": "1337:1337", **changes}) for platform in platforms}
    write_image_index(root, {platform: add_image(layout, config, tars) for platform, config in configs.items()})
    index = layout.index()
    for child in index.children():
        manifest = layout.manifest(child)
        for blob in (manifest.config(), *manifest.layers()):
            registry.push_blob(reference.repository, blob, partial(layout.blob, blob.digest))
        registry.put_manifest(reference.repository, manifest)
    registry.put_tag(reference, index)


class TestContents:
    @pytest.fixture
    def registry(self, tmp_path: Path) -> FakeRegistry:
        registry = FakeRegistry()
        push(registry, THEIRS, tmp_path / "theirs", [[*DIRECTORIES, PROGRAM]])
        return registry

    def compare(self, registry: FakeRegistry, base: Base | None = None) -> dict[str, tuple[str, str]]:
        _, differences = compare_images(OURS, THEIRS, base or Base(), registry)
        return {f"{each.platform} {each.field}".strip(): (each.theirs, each.ours) for each in differences}

    def test_the_same_image_in_other_layers_is_the_same(self, registry: FakeRegistry, tmp_path: Path) -> None:
        # No directories, another time, another layer of which nothing is left.
        layers = [[replace(PROGRAM, content=b"old")], [replace(PROGRAM, mtime=0)]]
        push(registry, OURS, tmp_path / "ours", layers)
        assert self.compare(registry) == {}

    @pytest.mark.parametrize(
        ("change", "facts"),
        [
            ({"content": make_elf("arm64")}, {"sha256"}),
            ({"content": b"shorter"}, {"sha256", "size"}),
            ({"mode": 0o700}, {"mode"}),
            ({"uid": 1337}, {"owner"}),
            ({"kind": tarfile.SYMTYPE, "content": b"", "target": "x"}, {"kind", "sha256", "size"}),
        ],
    )
    def test_another_file(self, change: dict[str, Any], facts: set[str], registry: FakeRegistry, tmp_path: Path) -> None:
        push(registry, OURS, tmp_path / "ours", [[replace(PROGRAM, **change)]])
        found = self.compare(registry)
        expected = {f"linux/{a} file.{PROGRAM.path}.{fact}" for a in ("amd64", "arm64") for fact in facts}
        assert set(found) == expected

    def test_a_file_more_and_a_file_less(self, registry: FakeRegistry, tmp_path: Path) -> None:
        push(registry, OURS, tmp_path / "ours", [[replace(PROGRAM, path="/usr/bin/other")]], platforms=(AMD64, ARM64))
        found = self.compare(registry)
        assert found["linux/amd64 file./usr/bin/other.kind"] == ("", "file")
        assert found[f"linux/arm64 file.{PROGRAM.path}.kind"] == ("file", "")
        assert len(found) == 4

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"user": ""}, "user"),
            ({"entrypoint": ("/x",)}, "entrypoint"),
            ({"command": ("/x",)}, "command"),
            ({"working_dir": "/x"}, "workdir"),
            ({"env": (("PATH", "/usr/local/bin:/usr/bin:/bin"), ("A", "b"))}, "env.A"),
            ({"labels": (("org.opencontainers.image.ref.name", "ubuntu"), ("more", "x"))}, "label.more"),
        ],
    )
    def test_another_configuration(self, change: dict[str, Any], field: str, registry: FakeRegistry, tmp_path: Path) -> None:
        push(registry, OURS, tmp_path / "ours", **change)
        assert set(self.compare(registry)) == {f"linux/amd64 {field}", f"linux/arm64 {field}"}

    def test_a_platform_that_one_lacks(self, registry: FakeRegistry, tmp_path: Path) -> None:
        push(registry, OURS, tmp_path / "ours", platforms=(AMD64,))
        assert self.compare(registry) == {"platforms": ("linux/amd64 linux/arm64", "linux/amd64")}

    def test_another_base_shows_with_all_it_holds(self, registry: FakeRegistry, tmp_path: Path) -> None:
        other = make_tar([SampleFile(path="/etc/os-release", content=b"NAME=other\n", mode=0o644)])
        push(registry, OURS, tmp_path / "ours", base=other)
        push(registry, BASE, tmp_path / "base", [])
        assert "linux/amd64 file./etc/os-release.sha256" in self.compare(registry)
        named = self.compare(registry, Base(reference=BASE))
        assert named["linux/amd64 base.layers"] == ("1", "0")
        # Who says how many layers are the base's says that they are not to be looked at.
        assert self.compare(registry, Base(layers=1)) == {}

    def test_what_is_not_there_is_said(self, registry: FakeRegistry) -> None:
        with pytest.raises(CouldNotRead, match="does not exist"):
            self.compare(registry)

    def test_more_base_layers_than_there_are(self, registry: FakeRegistry, tmp_path: Path) -> None:
        push(registry, OURS, tmp_path / "ours")
        with pytest.raises(CouldNotRead, match="fewer than 7"):
            self.compare(registry, Base(layers=7))

    def test_labels_of_ours_are_meant(self, registry: FakeRegistry, tmp_path: Path) -> None:
        label = ("org.opencontainers.image.version", "1.29.0")
        push(registry, OURS, tmp_path / "ours", labels=(*make_config(AMD64).labels, label))
        pairs, found = compare_images(OURS, THEIRS, Base(), registry)
        differences, _ = excuse(found, read_intended().images)
        assert [bool(each.reason) for each in differences] == [True, True]
        assert list(show_differences(differences))[-1] == "0 differences that are not intended, 2 that are"
        rows = show_files(pairs, differences)
        assert [row.split()[-1] for row in rows[1:3]] == ["same", "same"]
        assert rows[3:] == [f"linux/{a}: the first 1 layers are the base's" for a in ("amd64", "arm64")]

    @pytest.mark.parametrize(
        ("tag", "meant"), [("1.29.0-distroless", True), ("1.29.0-debug", False), ("1.29.0", False), ("1.30.0-distroless", False)]
    )
    def test_what_is_meant_for_one_variant_is_not_for_another(self, tag: str, meant: bool, tmp_path: Path) -> None:
        registry = FakeRegistry()
        ours, theirs = (ImageReference.parse(f"hub.test/{who}/istioctl:{tag}") for who in ("me", "istio"))
        push(registry, ours, tmp_path / "ours")
        push(registry, theirs, tmp_path / "theirs", env=(*make_config(AMD64).env, ("DEBIAN_FRONTEND", "noninteractive")))
        _, found = compare_images(ours, theirs, Base(), registry)
        differences, _ = excuse(found, read_intended().images)
        assert [(each.field, bool(each.reason)) for each in differences] == [("env.DEBIAN_FRONTEND", meant)] * 2
        assert next(show_differences(differences)).startswith(f"istioctl{tag[6:]} on linux/amd64")


class TestMergedLayers:
    def entry(self, path: str, kind: str = "file", content: str = "") -> LayerEntry:
        return LayerEntry(path=path, kind=kind, mode="0644", owner="0:0", mtime=0, sha256=content)

    def test_a_later_layer_wins(self) -> None:
        merged = merge_layers([[self.entry("/a", content="1"), self.entry("/b")], [self.entry("/a", content="2")]])
        assert {path: entry.sha256 for path, entry in merged.items()} == {"/a": "2", "/b": ""}

    def test_what_is_removed_is_gone_and_its_removal_stays(self) -> None:
        layers = [[self.entry("/d/x/y"), self.entry("/d/z")], [self.entry("/d/.wh.x")], [self.entry("/e/.wh..wh..opq")]]
        merged = merge_layers(layers)
        assert {path: entry.kind for path, entry in merged.items()} == {"/d/z": "file", "/d/x": "removed", "/e": "removed"}


class TestCommand:
    def test_two_images_at_a_real_registry(self, tmp_path: Path) -> None:
        program = registry_program("python -m tools.parity.images")
        with running_registry(program, tmp_path) as host:
            registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=time.sleep))
            names = [ImageReference.parse(f"{host}/{who}/pilot:1.29.0") for who in ("me", "istio")]
            push(registry, names[0], tmp_path / "ours", [[PROGRAM]])
            push(registry, names[1], tmp_path / "theirs", [[*DIRECTORIES, PROGRAM]])
            same = self.run(*map(str, names), "--base-layers", "1")
            push(registry, names[0], tmp_path / "changed", [[replace(PROGRAM, mode=0o644)]])
            changed = self.run(*map(str, names))
            missing = self.run(f"{names[0]}-none", str(names[1]))
        assert (same.returncode, changed.returncode, missing.returncode) == (0, 1, 1)
        assert f"linux/arm64  {PROGRAM.path}" in same.stdout
        assert "0 differences" in same.stdout
        assert f"file.{PROGRAM.path}.mode\n    theirs  0755\n    ours    0644" in changed.stdout
        assert "0644 " in changed.stdout
        assert "does not exist" in missing.stderr

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-m", "tools.parity.images", *words]
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
