"""One release from several machines: however it was split, it joins to what one machine gives, or what is wrong is named."""

import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.build.context import BuildContext
from builder.errors import BuilderError, CheckError, RequestError
from builder.host.go_compiler import MachineCompiler
from builder.images.check import read_layer_of
from builder.oci.layout import Layout
from builder.oci.reference import Digest, ImageReference
from builder.pipeline.run import PublishContext, build_plan, publish_release
from builder.plan.lock import LockedBase, LockedMirror, LockedPackages, UrlArtifact
from builder.plan.model import Plan
from builder.plan.planner import make_plan
from builder.plan.shards import take_shard
from builder.ports import GoToolchain
from builder.publish.publication import Release
from builder.publish.release_directory import ReleasePart
from builder.publish.release_file import RELEASE_FILE, ReleaseFile
from builder.publish.release_parts import WHOLE, read_release
from builder.recipe.loader import load_recipes
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Progress
from tests.fakes.downloader import FakeDownloader
from tests.fakes.engine import FakeEngine
from tests.fakes.registry import FakeRegistry
from tests.fakes.runner import FakeRunner, go_build
from tests.samples.debs import control_of, make_deb
from tests.samples.images import AMD64, ARM64, SampleFile, make_digest
from tests.samples.plans import RELEASE, make_base, make_lock, make_request, make_source, make_state
from tests.samples.programs import make_elf
from tests.samples.seeding import seed
from tests.unit.build.test_mirror import GATEWAY, write_gateway
from tests.unit.build.test_mirror import SOURCE as GATEWAY_SOURCE
from tests.unit.build.test_scheduler import BOOTSTRAP

HUB = "registry.corp.example/istio"
ROOT = """\
image: root
group: bases
template: rootfs.Dockerfile.j2
tags: ["7"]
env: { PATH: "{{ base_env.PATH }}" }
rootfs: { packages: [sample] }
"""
IMAGES = ("gateway", "istioctl", "pilot", "proxyv2", "root")
VARIANTS = ("debug", "distroless")
PLATFORMS = (AMD64, ARM64)
BOTH = ("linux/amd64", "linux/arm64")


class Machines:
    """The world that all machines see: recipes, a registry, an archive of packages; and what each of them builds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        recipes = root / "recipes"
        recipes.mkdir(parents=True)
        (recipes / "gateway.yaml").write_text(GATEWAY)
        (recipes / "root.yaml").write_text(ROOT)
        (root / BOOTSTRAP).parent.mkdir(parents=True)
        (root / BOOTSTRAP).write_text("{}")
        self.book = load_recipes((recipes,)).at(RELEASE)
        self.registry, self.downloader = FakeRegistry(), FakeDownloader()
        gateway = seed(self.registry, write_gateway(root / "gateway"), GATEWAY_SOURCE)
        self.lock = make_lock(
            artifacts=tuple(self._publish("envoy", platform.architecture, platform) for platform in PLATFORMS),
            mirrors=(LockedMirror(image="gateway", source=GATEWAY_SOURCE.pinned(gateway.digest), platforms=PLATFORMS),),
            packages=tuple(
                LockedPackages(image="root", platform=on, packages=(self._publish("deb", on.architecture, on),), sources=("deb a b",))
                for on in PLATFORMS
            ),
        )
        self.build = lru_cache(self._build)

    def _publish(self, kind: str, architecture: str, platform: Any) -> UrlArtifact:  # noqa: ANN401
        content = make_elf(architecture) + kind.encode()
        if kind == "deb":
            files = [
                SampleFile(path="./bin/tool", content=make_elf(architecture)),
                SampleFile(path="./usr/share/base-passwd/passwd.master", content=b"root:*:0:0:root:/root:/bin/sh\n", mode=0o644),
                SampleFile(path="./usr/share/base-passwd/group.master", content=b"root:*:0:\n", mode=0o644),
            ]
            content = make_deb(self.root / "sample.deb", control_of("sample"), files).read_bytes()
        url = f"https://mirror.example/{kind}-{architecture}"
        self.downloader.files[url] = content
        return UrlArtifact(name=kind, platform=platform, url=url, sha256=Digest.of(content).hex, member="")

    def plan(self, images: tuple[str, ...] = IMAGES, **changes: Any) -> Plan:  # noqa: ANN401 - of the request; and a lock
        """The plan for these images."""
        lock = changes.pop("lock", self.lock)
        return make_plan(make_request(images=images, **changes), self.book, lock)

    def _build(
        self,
        images: tuple[str, ...] = IMAGES,
        platforms: tuple[Any, ...] = PLATFORMS,
        variants: tuple[str, ...] = (),
        shard: tuple[int, int] | None = None,
    ) -> Path:
        plan = self.plan(images, platforms=platforms, variants=variants)
        return self.build_plan(take_shard(plan, *shard) if shard else plan)

    def build_plan(self, plan: Plan) -> Path:
        """The directory that a machine of its own leaves of this."""
        machine = self.root / f"machine-{len(list(self.root.glob('machine-*')))}"
        context = BuildContext(
            tree=self.root,
            work=machine / "work",
            downloads=machine / "downloads",
            find_compiler=lambda: MachineCompiler(
                GoToolchain(program=Path("/go"), version="1.26.0", settings=()), {}, FakeRunner(go_build)
            ),
            downloader=self.downloader,
            registry=self.registry,
            engine=FakeEngine(),
            read_layer=read_layer_of,
            progress=Progress(lambda event: None),
            cancellation=Cancellation().group(),
        )
        context.downloads.mkdir(parents=True)
        build_plan(plan, machine / "images", context, started=time.monotonic())
        return machine / "images"


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Machines:
    return Machines(tmp_path_factory.mktemp("machines"))


def join(*directories: Path, part: ReleasePart = WHOLE) -> Release:
    return read_release(directories, (), (), read_layer_of, part)


def digests(release: Release) -> dict[str, Digest]:
    return {entry.key: entry.index.digest for entry in release.publications}


def tags(release: Release) -> set[ImageReference]:
    return set(release.references)


Build = tuple[tuple[str, ...], tuple[Any, ...], tuple[str, ...]]
EVERYTHING: Build = (IMAGES, PLATFORMS, VARIANTS)


@st.composite
def splits(draw: st.DrawFn, whole: Build = EVERYTHING, depth: int = 4) -> list[Build]:
    """A request, cut in two by image, platform or variant, again and again."""
    ways = [axis for axis in range(3) if len(whole[axis]) > 1 and depth]
    if "root" in whole[0]:
        # It has no variants, so no machine could be asked for one of them.
        ways = [axis for axis in ways if axis < 2]
    way = draw(st.sampled_from([*ways, None]))
    if way is None:
        return [whole]
    cut = draw(st.integers(min_value=1, max_value=len(whole[way]) - 1))
    halves = [list(whole), list(whole)]
    halves[0][way], halves[1][way] = whole[way][:cut], whole[way][cut:]
    return [leaf for half in halves for leaf in draw(splits(tuple(half), depth - 1))]  # type: ignore[arg-type]


SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


class TestAnySplit:
    @settings(max_examples=20, deadline=None, suppress_health_check=SLOW)
    @given(split=splits(), data=st.data())
    def test_joins_to_what_one_machine_gives(self, machines: Machines, split: list[Build], data: st.DataObject) -> None:
        one = join(machines.build())
        parts = [machines.build(images, on, () if variants == VARIANTS else variants) for images, on, variants in split]
        joined = join(*data.draw(st.permutations(parts)))
        assert digests(joined) == digests(one)
        assert tags(joined) == tags(one)
        assert joined.notes == ()

    @pytest.mark.parametrize("count", [1, 2, 3, 5, 9])
    def test_of_shards_joins_to_what_one_machine_gives(self, machines: Machines, count: int) -> None:
        one = join(machines.build())
        joined = join(*(machines.build(shard=(number, count)) for number in range(1, count + 1)))
        assert digests(joined) == digests(one)
        assert tags(joined) == tags(one)
