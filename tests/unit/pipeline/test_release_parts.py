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
from builder.images.layer_cache import LayerCache
from builder.oci.layout import Layout
from builder.oci.reference import Digest, ImageReference
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.run import build_plan, publish_release
from builder.plan.lock import LockedBase, LockedMirror, LockedPackages, UrlArtifact
from builder.plan.model import Plan
from builder.plan.planner import make_plan
from builder.plan.shards import take_shard
from builder.ports import GoToolchain
from builder.publish.lease_times import LeaseTimes
from builder.publish.publication import Release
from builder.publish.release_directory import ReleasePart
from builder.publish.release_file import RELEASE_FILE, ReleaseFile
from builder.publish.release_parts import WHOLE, read_release
from builder.recipe.loader import load_recipes
from builder.runtime.cancellation import Cancellation
from builder.runtime.file_sums import FileSums
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
                LockedPackages(
                    image="root", platform=on, packages=(self._publish("deb", on.architecture, on),), sources=("deb a b",)
                )
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

    def build_plan(self, plan: Plan, into: Path | None = None) -> Path:
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
            read_layer=LayerCache(machine / "layers"),
            sum_file=FileSums(),
            progress=Progress(lambda event: None),
            cancellation=Cancellation().group(),
        )
        context.downloads.mkdir(parents=True)
        into = into or machine / "images"
        build_plan(plan, into, context, started=time.monotonic())
        return into


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

    def test_one_that_was_sent_has_what_its_index_names(self, machines: Machines) -> None:
        """Content of several layouts, at a hub."""
        release = join(machines.build(IMAGES, (AMD64,)), machines.build(IMAGES, (ARM64,)))
        context = PublishContext(
            registry=machines.registry,
            rollback_tags=machines.registry,
            journals=machines.root / "journals",
            progress=Progress(lambda event: None),
            cancellation=Cancellation().group(),
            # Nobody else is at this registry, so there is nothing to wait for.
            lease_times=LeaseTimes(settle=0.0, poll=0.01),
        )
        report = publish_release(release, {entry.key: "given" for entry in release.publications}, context, 0.0)
        assert {image.key: image.digest for image in report.images} == digests(join(machines.build()))
        assert {str(on.platform) for image in report.images for on in image.platforms} >= set(BOTH)

    def test_a_directory_of_directories_will_do(self, machines: Machines, tmp_path: Path) -> None:
        """As `actions/download-artifact` leaves them."""
        for platform in PLATFORMS:
            shutil.copytree(machines.build(("pilot",), (platform,)), tmp_path / platform.slug)
        assert digests(join(tmp_path)) == digests(join(machines.build(("pilot",))))

    def test_what_a_hub_holds_already_is_known_to_a_build_of_the_whole(self, machines: Machines) -> None:
        joined = join(machines.build(("pilot",), (AMD64,)), machines.build(("pilot",), (ARM64,)))
        annotations = {entry.key: entry.index.annotations() for entry in joined.publications}
        assert annotations == {image.key: dict(image.annotations) for image in machines.plan(("pilot",)).images}


class TestDoubled:
    def test_what_is_the_same_is_taken_and_told(self, machines: Machines) -> None:
        one, other = machines.build(("pilot",)), machines.build(("pilot", "istioctl"), (ARM64,), ("debug",))
        whole = machines.build(("istioctl",), PLATFORMS, ("debug",))
        joined = join(one, other, whole)
        assert set(digests(joined)) == {"pilot-debug", "pilot-distroless", "istioctl-debug"}
        assert f"pilot-debug linux/arm64 is the same in {one} and {other}." in joined.notes
        assert len(joined.notes) == 2

    def test_a_mirror_is_whole_in_every_part_which_is_nothing_to_tell(self, machines: Machines) -> None:
        joined = join(machines.build(("gateway",), (AMD64,)), machines.build(("gateway",), (ARM64,)))
        assert joined.notes == ()
        assert len(joined.publications) == 1

    def test_what_differs_is_refused(self, machines: Machines, tmp_path: Path) -> None:
        """Where what was made of the same inputs is not the same, nobody can tell which is right."""
        one, other = machines.build(("pilot",), (ARM64,), ("debug",)), tmp_path / "other"
        plan = machines.plan(("pilot",), platforms=(ARM64,), variants=("debug",))
        image = replace(plan.images[0], platforms=(replace(plan.images[0].platforms[0], labels=(("a", "b"),)),))
        shutil.copytree(machines.build_plan(replace(plan, images=(image,))), other)
        with pytest.raises(CheckError) as raised:
            join(one, other)
        digest = [Layout(directory / "pilot-debug").index().children()[0].digest for directory in (one, other)]
        assert (
            raised.value.message
            == f"pilot-debug linux/arm64 is not the same in {one} and in {other}: {digest[0]} and {digest[1]}"
        )

    def test_a_mirror_that_differs_is_refused(self, machines: Machines, tmp_path: Path) -> None:
        one = shutil.copytree(machines.build(("gateway",)), tmp_path / "one")
        other = self.other_gateway(machines)
        with pytest.raises(CheckError, match=rf"{other} is of another build than {one}: mirror gateway is sha256:"):
            join(one, other)
        # Also where the directory does not say what it was made with.
        for directory in (one, other):
            release = ReleaseFile.read(directory)
            assert release
            replace(release, made=()).write(directory)
        with pytest.raises(CheckError, match=rf"gateway is not the same in {one} and in {other}"):
            join(one, other)

    def other_gateway(self, machines: Machines) -> Path:
        layout = write_gateway(machines.root / "other-gateway", {AMD64: "amd64", ARM64: "arm64"})
        source = ImageReference.parse("cr.gateway.example/gateway:v2")
        digest = seed(machines.registry, layout, source).digest
        mirror = LockedMirror(image="gateway", source=source.pinned(digest), platforms=PLATFORMS)
        return machines.build_plan(machines.plan(("gateway",), lock=replace(machines.lock, mirrors=(mirror,))))


class TestMissing:
    def test_a_platform_that_another_image_has(self, machines: Machines) -> None:
        one, other = machines.build(("pilot",)), machines.build(("istioctl",), (AMD64,))
        with pytest.raises(CheckError) as raised:
            join(one, other)
        assert raised.value.message == (
            f"istioctl-debug linux/arm64 is not in {one}, {other}: {other} has istioctl-debug linux/amd64, and {one} has "
            "linux/arm64 of others"
        )
        assert "`istio-build build --image istioctl --variant debug --platform linux/arm64`" in raised.value.hint

    def test_one_of_packages_may_lack_it_too(self, machines: Machines) -> None:
        with pytest.raises(CheckError, match="root linux/arm64 is not in") as raised:
            join(machines.build(("pilot",)), machines.build(("root",), (AMD64,)))
        assert "`istio-build build --image root --platform linux/arm64`" in raised.value.hint

    def test_a_shard(self, machines: Machines) -> None:
        parts = [machines.build(shard=(number, 4)) for number in (1, 2, 4)]
        with pytest.raises(CheckError) as raised:
            join(*parts)
        found = re.fullmatch(r"(.*): parts of the release are missing, of shard 3/4: (.*)", raised.value.message)
        assert found
        assert found[1] == ", ".join(map(str, parts))
        plan = take_shard(machines.plan(), 3, 4)
        assert found[2].split(", ") == sorted(f"{image.key} {on.platform}" for image in plan.images for on in image.platforms)
        assert "`istio-build build --shard 3/4`" in raised.value.hint

    def test_two_shards(self, machines: Machines) -> None:
        with pytest.raises(CheckError, match=r"of shard 2/4: .*; of shard 3/4: "):
            join(machines.build(shard=(1, 4)), machines.build(shard=(4, 4)))

    def test_one_shard_alone_is_not_the_release(self, machines: Machines) -> None:
        with pytest.raises(CheckError, match="of shard 2/2"):
            join(machines.build(shard=(1, 2)))

    def test_what_is_lost_of_a_shard_may_be_built_by_name(self, machines: Machines) -> None:
        parts = [machines.build(shard=(number, 2)) for number in (1, 2)]
        assert digests(join(parts[0], machines.build(IMAGES, (ARM64,)))) == digests(join(*parts))

    def test_a_part_may_be_meant(self, machines: Machines) -> None:
        one = machines.build(shard=(1, 2))
        alone = join(one, part=ReleasePart(platforms=("linux/amd64",)))
        assert {key: value for key, value in digests(alone).items() if key != "gateway"} == {
            key: value for key, value in digests(join(machines.build(IMAGES, (AMD64,)))).items() if key != "gateway"
        }
        pilot = ReleasePart(images=("pilot",), platforms=("linux/amd64",))
        assert set(digests(join(one, part=pilot))) == {"pilot-debug", "pilot-distroless"}
        with pytest.raises(CheckError, match=r"of shard 2/2: pilot-debug linux/arm64, pilot-distroless linux/arm64"):
            join(one, part=ReleasePart(images=("pilot",)))

    def test_one_platform_may_be_meant_of_a_directory_with_two(self, machines: Machines) -> None:
        part = ReleasePart(platforms=("linux/arm64",))
        assert digests(join(machines.build(("pilot",)), part=part)) == digests(join(machines.build(("pilot",), (ARM64,))))

    def test_a_platform_that_nothing_has_cannot_be_meant(self, machines: Machines) -> None:
        with pytest.raises(RequestError, match="has no linux/arm64"):
            join(machines.build(("pilot",), (AMD64,)), part=ReleasePart(platforms=BOTH))

    def test_what_is_no_part_of_the_whole_is_refused(self, machines: Machines) -> None:
        whole = [machines.build_plan(take_shard(machines.plan(("pilot",)), number, 2)) for number in (1, 2)]
        strange = machines.build(("istioctl",))
        with pytest.raises(CheckError, match=f"{strange} holds istioctl-debug linux/amd64, which is no part of the whole"):
            join(*whole, strange)


def dirty(machines: Machines) -> dict[str, Any]:
    state = make_state(dirty=True, modified=True, content="b" * 40)
    return {"lock": replace(machines.lock, source=make_source(state)), "tags": ("1.29.0",)}


def other_base(machines: Machines) -> LockedBase:
    base = make_base("base")
    return replace(base, reference=base.reference.pinned(make_digest("moved")))


OTHERS: dict[str, tuple[Callable[[Machines], dict[str, Any]], str]] = {
    "commit": (
        lambda machines: {"lock": replace(machines.lock, source=make_source(make_state(commit="f" * 40)))},
        rf"commit is {'f' * 40}, and 0123456789abcdef0123456789abcdef01234567 in ",
    ),
    "dirty tree": (dirty, r"commit is 0123456789abcdef0123456789abcdef01234567-dirty, and .*; source tree is b{40}, and "),
    "Go": (
        lambda machines: {"lock": replace(machines.lock, go=replace(machines.lock.go, version="1.26.9"))},
        r"Go is 1\.26\.9, and 1\.26\.0 in ",
    ),
    "version": (lambda machines: {"tags": ("1.30",)}, r"version is 1\.30, and 1\.29\.0 in .*; tags is 1\.30, and none in "),
    "more tags": (lambda machines: {"tags": ("1.29.0", "1.29")}, r"tags is 1\.29 1\.29\.0, and none in "),
    "hub": (lambda machines: {"hub": "docker.io/me"}, rf"hub is docker\.io/me, and {HUB} in "),
    "compression": (lambda machines: {"compression": "zstd"}, r"--compression is zstd .*, and libdeflate .* in "),
    "debug": (lambda machines: {"go": replace(make_request().go, debug=True)}, r"--debug is true, and false in "),
    "Go's environment": (
        lambda machines: {"go": replace(make_request().go, env=(("GOFIPS140", "v1.0.0"),))},
        r"--go-env is GOFIPS140=v1\.0\.0, and none in ",
    ),
    "base": (
        lambda machines: {"lock": replace(machines.lock, bases=(other_base(machines), *machines.lock.bases[1:]))},
        rf"base base is {make_digest('moved')}, and {make_base('base').digest} in ",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_part_of_another_build_is_refused_by_what_differs(machines: Machines, what: str) -> None:
    change, told = OTHERS[what]
    one = machines.build(("istioctl",), (AMD64,))
    other = machines.build_plan(machines.plan(("istioctl",), platforms=(ARM64,), **change(machines)))
    with pytest.raises(CheckError, match=rf"^{other} is of another build than {one}: {told}") as raised:
        join(one, other)
    assert ("--base base=REFERENCE@sha256:" in raised.value.hint) == (what == "base")


def test_parts_of_equal_changes_join(machines: Machines) -> None:
    """What is in the tree is known by its content, committed or not."""
    one, other = (
        machines.build_plan(machines.plan(("istioctl",), platforms=(platform,), **dirty(machines))) for platform in PLATFORMS
    )
    whole = machines.build_plan(machines.plan(("istioctl",), **dirty(machines)))
    assert digests(join(one, other)) == digests(join(whole))


def test_shards_of_other_wholes_are_refused(machines: Machines) -> None:
    one, other = machines.build(shard=(1, 2)), machines.build(shard=(2, 3))
    with pytest.raises(CheckError, match=f"{other} is shard 2/3 of another whole than {one}, which is shard 1/2"):
        join(one, other)


class TestNotes:
    def copy(self, directory: Path, into: Path, change: Callable[[dict[str, Any]], object]) -> Path:
        shutil.copytree(directory, into)
        document = json.loads((into / RELEASE_FILE).read_text())
        change(document)
        (into / RELEASE_FILE).write_text(json.dumps(document))
        return into

    @pytest.mark.parametrize("number", [0, 3, "1", None, -1])
    def test_a_number_that_no_shard_has_is_damage(self, machines: Machines, tmp_path: Path, number: object) -> None:
        def change(document: dict[str, Any]) -> None:
            document["shard"]["number"] = number

        with pytest.raises(CheckError, match=r"release\.json is damaged \(ValueError: shard"):
            join(self.copy(machines.build(shard=(1, 2)), tmp_path / "a", change))

    @pytest.mark.parametrize("whole", [[[["a"]]], [["abc"]], "x", [[[1, 2, 3]]]])
    def test_a_whole_that_cannot_be_read_is_damage(self, machines: Machines, tmp_path: Path, whole: object) -> None:
        def change(document: dict[str, Any]) -> None:
            document["shard"]["whole"] = whole

        with pytest.raises(CheckError, match=r"release\.json is damaged"):
            join(self.copy(machines.build(shard=(1, 2)), tmp_path / "a", change))

    def test_what_it_was_made_from_is_held_against_the_image(self, machines: Machines, tmp_path: Path) -> None:
        """Else the joined index would say that it was made of something else."""

        def change(document: dict[str, Any]) -> None:
            document["images"][0]["inputs"]["linux/amd64"] = "sha256:" + "0" * 64

        directory = self.copy(machines.build(("pilot",), (AMD64,)), tmp_path / "a", change)
        with pytest.raises(CheckError, match=r"pilot-debug is not the pilot-debug of its release: inputs is linux/amd64=sha256:"):
            join(directory)

    def test_platforms_that_the_image_has_not_are_noticed(self, machines: Machines, tmp_path: Path) -> None:
        def change(document: dict[str, Any]) -> None:
            for image in document["images"]:
                image["inputs"]["linux/arm64"] = "sha256:" + "0" * 64

        directory = self.copy(machines.build(("pilot",), (AMD64,)), tmp_path / "a", change)
        with pytest.raises(BuilderError, match="platforms is linux/amd64, not linux/amd64, linux/arm64"):
            join(directory)

    def test_shards_built_into_one_directory_do_not_add_up(self, machines: Machines, tmp_path: Path) -> None:
        """The second replaces the layouts of the first: what is told is that the first is missing."""
        plan = machines.plan(("pilot",))
        for number in (1, 2):
            machines.build_plan(take_shard(plan, number, 2), tmp_path / "images")
        with pytest.raises(CheckError, match="of shard 1/2: pilot-debug linux/amd64, pilot-distroless linux/amd64") as raised:
            join(tmp_path / "images")
        assert "each shard has one of its own" in raised.value.hint
