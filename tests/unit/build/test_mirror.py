"""Mirrored images: what arrives at the hub is what is at the source, to the last byte, or nothing is."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.build.context import BuildContext
from builder.cli.plan_view import plan_bake, plan_dockerfiles, plan_json, plan_table
from builder.cli.report_view import report_json
from builder.config.request import Request
from builder.errors import BaseImageError, CheckError, RecipeError, RequestError
from builder.host.go_compiler import MachineCompiler
from builder.images.check import read_layer_of
from builder.images.layer_cache import LayerCache
from builder.images.layout_notes import LayoutNotes
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, Hub, ImageReference, Platform
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.report import Report
from builder.pipeline.run import build_plan, publish_release, push_plan
from builder.plan.model import Plan
from builder.plan.planner import make_plan
from builder.ports import GoToolchain
from builder.publish.lease_times import LeaseTimes
from builder.publish.release_parts import read_release
from builder.recipe.book import RecipeBook
from builder.recipe.loader import load_recipes
from builder.resolve.resolver import resolve
from builder.runtime.cancellation import Cancellation
from builder.runtime.file_sums import FileSums
from builder.runtime.progress import Progress
from tests.fakes.downloader import FakeDownloader
from tests.fakes.engine import FakeEngine
from tests.fakes.registry import FakeRegistry
from tests.fakes.runner import FakeRunner, go_build
from tests.samples.images import (
    AMD64,
    ARM64,
    BASE_LAYER,
    SampleFile,
    add_blob,
    add_image,
    add_index,
    make_config,
    make_tar,
    set_root,
    write_image,
)
from tests.samples.lookups import make_lookups
from tests.samples.plans import make_request, make_source
from tests.samples.programs import make_elf
from tests.samples.seeding import seed

GATEWAY = """\
image: gateway
group: mesh
mirror: cr.gateway.example/gateway:{{ dependencies.GATEWAY }}
variants: { debug: {}, distroless: {} }
istio: 1.29+
"""
SOURCE = ImageReference.parse("cr.gateway.example/gateway:v1")
HUB = "registry.corp.example/istio"
ARM_V7 = Platform("linux", "arm")


def write_gateway(root: Path, architectures: dict[Platform, str] | None = None) -> Layout:
    """An index as buildx leaves it: two platforms, a third that nobody asks for, an attestation."""
    layout = Layout(root)
    children = []
    for platform, architecture in (architectures or {AMD64: "amd64", ARM64: "arm64", ARM_V7: "s390x"}).items():
        # An ELF file for another machine that is data, as debuggers and tests of Go bring along.
        data = SampleFile(path="/usr/share/foreign.o", content=make_elf("riscv64"), mode=0o644)
        program = SampleFile(path="/gateway", content=make_elf(architecture))
        image = add_image(layout, make_config(platform), [BASE_LAYER, make_tar([data, program])])
        children.append(replace(image, platform=platform).to_json())
    attestation = add_blob(
        layout,
        json.dumps(
            {
                "schemaVersion": 2,
                "config": add_blob(layout, b"{}", "application/vnd.oci.empty.v1+json").to_json(),
                "layers": [add_blob(layout, b'{"predicate": "provenance"}', "application/vnd.in-toto+json").to_json()],
            }
        ).encode(),
        "application/vnd.oci.image.manifest.v1+json",
    )
    children.append({**attestation.to_json(), "platform": {"os": "unknown", "architecture": "unknown"}})
    return set_root(layout, add_index(layout, children, {"of": "somebody else"}))


@dataclass
class Site:
    """A world with a gateway to mirror, and one user."""

    root: Path
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    engine: FakeEngine = field(default_factory=FakeEngine)

    def book(self, *recipes: str) -> RecipeBook:
        own = self.root / "recipes"
        own.mkdir(exist_ok=True)
        for number, text in enumerate(recipes or (GATEWAY,)):
            (own / f"{number}.yaml").write_text(text)
        return load_recipes((own,)).at(make_source().release)

    def plan(self, request: Request | None = None, book: RecipeBook | None = None) -> Plan:
        request = request or make_request(images=("gateway",))
        book = book or self.book()
        source = make_source(dependencies=(("GATEWAY", "v1"),))
        lock = resolve(request, book, source, make_lookups(self.root / "downloads", self.registry))
        return make_plan(request, book, lock)

    def context(self) -> BuildContext:
        return BuildContext(
            tree=self.root,
            work=self.root / "work",
            downloads=self.root / "downloads",
            find_compiler=lambda: MachineCompiler(
                GoToolchain(program=Path("/go"), version="1.26.0", settings=()), {}, FakeRunner(go_build)
            ),
            downloader=FakeDownloader(),
            registry=self.registry,
            engine=self.engine,
            read_layer=LayerCache(self.root / "known"),
            sum_file=FileSums(),
            progress=Progress(lambda event: None),
            cancellation=Cancellation().group(),
        )

    def counter(self) -> PublishContext:
        return PublishContext(
            registry=self.registry,
            rollback_tags=self.registry,
            journals=self.root / "journals",
            progress=Progress(lambda event: None),
            cancellation=Cancellation().group(),
            # Nobody else is at this registry, so there is nothing to wait for.
            lease_times=LeaseTimes(settle=0.0, poll=0.01),
        )

    def push(self, plan: Plan | None = None, *, rebuild: bool = False) -> Report:
        return push_plan(
            plan or self.plan(), self.root / "layouts", self.context(), self.counter(), rebuild=rebuild, started=time.monotonic()
        )

    def tags(self, image: str = "gateway", hub: str = HUB) -> dict[str, Digest]:
        return self.registry.tags(Hub.parse(hub).repository(image))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def index(site: Site) -> Manifest:
    return seed(site.registry, write_gateway(site.root / "source"), SOURCE)


class TestWhatArrives:
    def test_every_tag_has_the_digest_of_the_source(self, site: Site, index: Manifest) -> None:
        report = site.push()
        assert site.tags() == dict.fromkeys(("1.29.0", "1.29.0-debug", "1.29.0-distroless"), index.digest)
        [image] = report.images
        assert (image.key, image.digest, image.state) == ("gateway", index.digest, "mirrored")
        assert [entry.platform for entry in image.platforms] == [AMD64, ARM64, ARM_V7]
        assert report_json(report)["images"][0]["state"] == "mirrored"

    def test_all_that_the_index_lists_is_there(self, site: Site, index: Manifest) -> None:
        site.push()
        there = Hub.parse(HUB).repository("gateway")
        for child in index.children():
            manifest = site.registry.manifests[there][str(child.digest)]
            assert manifest == site.registry.manifests[SOURCE.repository][str(child.digest)]
            assert all(blob.digest in site.registry.blobs[there] for blob in (manifest.config(), *manifest.layers()))

    def test_no_engine_and_no_go_are_asked(self, site: Site, index: Manifest) -> None:
        site.engine.ready = lambda: pytest.fail("asked the engine")
        site.push()

    def test_again_nothing_is_fetched_or_moved(self, site: Site, index: Manifest) -> None:
        site.push()
        site.registry.log.clear()
        report = site.push()
        assert [image.state for image in report.images] == ["unchanged"]
        assert {operation for operation, _ in site.registry.log} & {"pull_blob", "put_manifest", "put_tag"} == set()

    def test_another_tag_moves_without_a_download(self, site: Site, index: Manifest) -> None:
        site.push()
        site.registry.log.clear()
        site.push(site.plan(make_request(images=("gateway",), tags=("next",))))
        assert site.registry.operations("pull_blob") == []
        assert site.tags()["next-debug"] == index.digest

    def test_what_lost_a_layer_at_the_hub_is_made_whole_from_the_cache(self, site: Site, index: Manifest) -> None:
        site.push()
        there = Hub.parse(HUB).repository("gateway")
        lost = site.registry.manifests[there][str(index.children()[1].digest)].layers()[0]
        del site.registry.blobs[there][lost.digest]
        site.registry.log.clear()
        assert [image.state for image in site.push().images] == ["mirrored"]
        assert lost.digest in site.registry.blobs[there]
        assert site.registry.operations("pull_blob") == []

    def test_a_cached_blob_that_somebody_changed_is_fetched_again(self, site: Site, index: Manifest) -> None:
        """Layouts are linked to the cache, and may be where others write."""
        site.push()
        layer = Layout(site.root / "layouts" / "gateway").manifest(index.children()[0]).layers()[-1]
        with (site.root / "downloads" / layer.digest.hex).open("r+b") as file:
            file.write(b"!")
        site.push(rebuild=True)
        assert len(set(site.registry.operations("pull_blob"))) < len(site.registry.operations("pull_blob"))
        assert site.tags()["1.29.0"] == index.digest

    def test_within_one_registry_blobs_are_mounted(self, site: Site, index: Manifest) -> None:
        report = site.push(site.plan(make_request(hub="cr.gateway.example/copies", images=("gateway",))))
        assert report.traffic is not None
        assert (report.traffic.uploaded, report.traffic.bytes_sent) == (0, 0)
        assert report.traffic.mounted > 0

    def test_beside_built_images_it_is_one_release(self, site: Site, index: Manifest) -> None:
        for name in ("base", "distroless"):
            base = write_image(site.root / name, make_config(AMD64), [BASE_LAYER])
            seed(site.registry, base, ImageReference.parse(f"docker.io/istio/{name}:{make_source().base_version}"))
        request = make_request(images=("pilot", "gateway"), platforms=(AMD64,))
        report = site.push(site.plan(request))
        assert {image.key: image.state for image in report.images} == {
            "pilot-debug": "built",
            "pilot-distroless": "built",
            "gateway": "mirrored",
        }


class TestLayouts:
    def built(self, site: Site) -> Layout:
        plan = site.plan(make_request(images=("gateway",), hubs=(Hub.parse(HUB), Hub.parse("b.example"))))
        report = build_plan(plan, site.root / "images", site.context(), started=time.monotonic())
        assert [image.state for image in report.images] == ["mirrored"]
        return Layout(Path(report.images[0].layout))

    def test_have_the_index_of_the_source(self, site: Site, index: Manifest) -> None:
        layout = self.built(site)
        assert layout.index() == index

    def test_notes_are_read_as_they_are_written(self, site: Site, index: Manifest) -> None:
        plan = site.plan()
        notes = LayoutNotes.of_mirror(plan.mirrors[0], plan)
        layout = self.built(site)
        assert replace(LayoutNotes.read(layout), references=notes.references) == notes

    def test_go_elsewhere_under_every_tag_of_a_variant(self, site: Site, index: Manifest) -> None:
        self.built(site)
        release = read_release((site.root / "images",), (Hub.parse("gap.example/x"),), ("7",), read_layer_of)
        states = {entry.key: "given" for entry in release.publications}
        publish_release(release, states, site.counter(), 0.0)
        assert site.tags(hub="gap.example/x") == dict.fromkeys(("7", "7-debug", "7-distroless"), index.digest)

    @pytest.mark.parametrize("which", ["provenance", "gateway"])
    def test_that_are_damaged_are_refused(self, site: Site, index: Manifest, which: str) -> None:
        layout = self.built(site)
        child = index.children()[-1 if which == "provenance" else 2]
        blob = layout.blob(layout.manifest(child).layers()[-1].digest)
        content = blob.read_bytes()
        blob.unlink()
        blob.write_bytes(content[:-1] + b"!")
        with pytest.raises(CheckError, match="is damaged"):
            read_release((site.root / "images",), (), (), read_layer_of)


class TestBases:
    def seed(self, site: Site, reference: str) -> Manifest:
        return seed(site.registry, write_gateway(site.root / "base"), ImageReference.parse(reference))

    def push(self, site: Site, **changes: Any) -> dict[str, Digest]:  # noqa: ANN401 - fields of the request
        site.push(site.plan(make_request(images=("distroless",), **changes), site.book()))
        return site.tags("distroless")

    def test_have_their_own_tags_at_the_hub(self, site: Site) -> None:
        version = make_source().base_version
        base = self.seed(site, f"docker.io/istio/distroless:{version}")
        assert self.push(site, tags=("1.29.0-corp",)) == {version: base.digest}

    @pytest.mark.parametrize(
        ("where", "changes"),
        [
            ("mirror.example/istio/distroless:{}", {"base_registry": "mirror.example/istio"}),
            ("mirror.example/mine:1", {"bases": (("distroless", "mirror.example/mine:1"),)}),
            (
                "mirror.example/mine:2",
                {"bases": (("distroless", "a.example/b"),), "mirror_sources": (("distroless", "mirror.example/mine:2"),)},
            ),
        ],
    )
    def test_come_from_where_the_user_says(self, site: Site, where: str, changes: dict[str, Any]) -> None:
        base = self.seed(site, where.format(make_source().base_version))
        assert list(self.push(site, **changes).values()) == [base.digest]


class TestWhatIsRefused:
    def test_a_source_that_is_not_there(self, site: Site) -> None:
        with pytest.raises(BaseImageError, match=r"gateway: there is no cr\.gateway\.example/gateway:v1 to mirror") as raised:
            site.plan()
        assert "--mirror-from gateway=REFERENCE" in raised.value.hint

    def test_a_source_without_a_platform_that_is_asked_for(self, site: Site) -> None:
        seed(site.registry, write_gateway(site.root / "source", {AMD64: "amd64"}), SOURCE)
        with pytest.raises(BaseImageError, match="has no linux/arm64; it has linux/amd64"):
            site.plan()
        assert site.plan(make_request(images=("gateway",), platforms=(AMD64,))).mirrors

    def test_a_source_of_one_platform_alone(self, site: Site) -> None:
        seed(site.registry, write_image(site.root / "source", make_config(AMD64), [BASE_LAYER]), SOURCE)
        with pytest.raises(BaseImageError, match="is an image for one platform, not an index"):
            site.plan()

    @pytest.mark.parametrize("child", [1, 3])
    def test_a_source_that_is_half_there(self, site: Site, index: Manifest, child: int) -> None:
        lost = index.children()[child].digest
        del site.registry.manifests[SOURCE.repository][str(lost)]
        with pytest.raises(BaseImageError, match=f"lists .*, but {lost} is missing") as raised:
            site.plan()
        assert "crane copy" in raised.value.hint

    def test_programs_for_another_machine(self, site: Site) -> None:
        seed(site.registry, write_gateway(site.root / "source", {AMD64: "amd64", ARM64: "amd64"}), SOURCE)
        with pytest.raises(CheckError, match="/gateway is a program for amd64, not for arm64"):
            site.push()
        assert site.tags() == {}

    def test_an_entry_without_a_platform(self, site: Site) -> None:
        layout = Layout(site.root / "source")
        images = [add_image(layout, make_config(platform), [BASE_LAYER]) for platform in (AMD64, ARM64)]
        children = [replace(image, platform=platform).to_json() for image, platform in zip(images, (AMD64, ARM64), strict=True)]
        seed(site.registry, set_root(layout, add_index(layout, [*children, images[0].to_json()])), SOURCE)
        with pytest.raises(BaseImageError, match="without saying for which platform"):
            site.plan()

    def test_a_platform_that_is_another_one(self, site: Site) -> None:
        layout = Layout(site.root / "source")
        image = add_image(layout, make_config(AMD64), [BASE_LAYER])
        children = [replace(image, platform=platform).to_json() for platform in (AMD64, ARM64)]
        seed(site.registry, set_root(layout, add_index(layout, children)), SOURCE)
        with pytest.raises(BaseImageError, match="says linux/arm64, the image itself linux/amd64"):
            site.plan()

    def test_another_source_for_what_is_no_mirror(self, site: Site, index: Manifest) -> None:
        with pytest.raises(RequestError, match="there is no mirror 'pilot'") as raised:
            site.plan(make_request(images=("gateway",), mirror_sources=(("pilot", "a.example/b"),)))
        assert "Known mirrors: agentgateway, base, distroless, iptables, gateway." in raised.value.hint

    @pytest.mark.parametrize(
        ("more", "told"),
        [
            ("template: pilot.Dockerfile.j2\n", r":6: a mirror is copied as it is, so it has no 'template'"),
            ("user: '1'\n", r":6: a mirror is copied as it is, so it has no 'user'"),
            ("tags: ['1']\n", r":4: variants are behind the release's tags"),
        ],
    )
    def test_a_recipe_that_is_of_both_kinds(self, site: Site, more: str, told: str) -> None:
        with pytest.raises(RecipeError, match=told):
            site.book(GATEWAY + more)

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda text: text.replace("debug: {}", "debug: { base: base }"), "so it has no base"),
            (lambda text: text.replace("image: gateway", "image: mesh"), "'mesh' is the name of a group"),
            (
                lambda text: "image: pilot\ntags: ['1']\ntemplate: a\nvariants: { debug: { base: base } }",
                "only a mirror or a 'rootfs' has",
            ),
            (lambda text: text.replace("group: mesh", "group: base"), "group: Input should be"),
        ],
    )
    def test_a_recipe_that_makes_no_sense(self, site: Site, change: Callable[[str], str], told: str) -> None:
        with pytest.raises(RecipeError, match=told):
            site.book(change(GATEWAY))


class TestGroups:
    def chosen(self, site: Site, *words: str) -> list[str]:
        return [recipe.image for recipe in site.book(GATEWAY).chosen(words)]

    def test_a_plain_run_takes_the_core(self, site: Site) -> None:
        assert self.chosen(site) == self.chosen(site, "core") == ["istioctl", "pilot", "proxyv2"]

    def test_groups_and_images_can_be_mixed_and_come_once(self, site: Site) -> None:
        assert self.chosen(site, "bases", "pilot", "core") == [
            *("base", "distroless", "iptables"),
            *("pilot", "istioctl", "proxyv2"),
        ]
        assert "gateway" in self.chosen(site, "mesh")
        assert {"distroless", "gateway", "pilot", "app"} <= set(self.chosen(site, "all"))

    def test_an_empty_group_is_told(self, site: Site) -> None:
        book = site.book()
        with pytest.raises(RequestError, match="no image belongs to the group bases"):
            replace(book, images=tuple(recipe for recipe in book.images if recipe.group != "bases")).chosen(("bases",))


def test_every_view_of_the_plan_shows_it(site: Site, index: Manifest) -> None:
    plan = site.plan()
    source = f"{SOURCE}@{index.digest}"
    assert f"    of     {source}\n    push   {HUB}/gateway:1.29.0\n" in plan_table(plan, ())
    assert json.loads(plan_json(plan, ()))["mirrors"][0]["source"] == source
    assert source in plan_dockerfiles(plan)
    assert json.loads(plan_bake(plan))["target"] == {}
