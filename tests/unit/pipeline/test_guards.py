"""Whole pushes to a registry in memory that holds something already: what they would take away is asked for before any work."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.build.context import BuildContext
from builder.config.request import GoRequest
from builder.errors import AccessDenied, BuilderError, DiskFull, PlatformLoss, PublishError, RequestError, TagKept, TakeOver
from builder.host.go_compiler import MachineCompiler
from builder.images.check import read_layer_of
from builder.images.layer_cache import LayerCache
from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, Hub
from builder.pipeline.preflight import check_output
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.report import Report
from builder.pipeline.run import build_plan, publish_release, push_plan
from builder.plan.lock import AppliedPatch
from builder.plan.model import Plan
from builder.plan.planner import make_plan
from builder.ports import Completed, GoToolchain
from builder.publish.guards import CAREFUL, Permissions
from builder.publish.lease_times import LeaseTimes
from builder.publish.release_parts import read_release
from builder.runtime.cancellation import Cancellation
from builder.runtime.file_sums import FileSums
from builder.runtime.progress import Event, Progress
from tests.fakes.downloader import FakeDownloader
from tests.fakes.engine import FakeEngine
from tests.fakes.registry import FakeRegistry
from tests.fakes.runner import Call, FakeRunner, go_build
from tests.samples.images import AMD64, ARM64
from tests.samples.plans import COMMIT, load_book, make_lock, make_request, make_source, make_state

HUB = Hub.parse("registry.corp.example/istio")
PILOT = HUB.repository("pilot")
ANOTHER = "f" * 40
REPLACE, MERGE = Permissions(replace=True), Permissions(merge_platforms=True)
NO_CLOBBER = Permissions(no_clobber=True)
PATCHED = {"patches": (AppliedPatch(name="a.patch", sha256="a" * 64),)}


@dataclass
class Site:
    """A hub, and machines that push pilot to it."""

    root: Path
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    runner: FakeRunner = field(default_factory=lambda: FakeRunner(go_build))
    runs: int = 0
    events: list[Event] = field(default_factory=list)

    def plan(self, tree: dict[str, Any] | None = None, **request: Any) -> Plan:  # noqa: ANN401 - fields of values
        """Pilot of a tree."""
        state = dict(tree or {})
        patches = state.pop("patches", ())
        lock = make_lock(source=make_source(make_state(**state), patches=patches, patched_content="b" * 40 if patches else ""))
        wanted = make_request(**{"images": ("pilot",), "variants": ("distroless",), **request})
        return make_plan(wanted, load_book(), lock)

    def push(
        self,
        permissions: Permissions = CAREFUL,
        tree: dict[str, Any] | None = None,
        *,
        rebuild: bool = False,
        **request: Any,  # noqa: ANN401 - fields of the value
    ) -> Report:
        plan = self.plan(tree, **request)
        self.runs += 1
        work = self.root / str(self.runs)
        context = self._publishing(permissions)
        return push_plan(plan, work / "layouts", self._building(work), context, rebuild=rebuild, started=time.monotonic())

    def build(self, tree: dict[str, Any] | None = None, **request: Any) -> Path:  # noqa: ANN401 - fields of values
        self.runs += 1
        into = self.root / f"{self.runs}-images"
        plan = self.plan(tree, **request)
        build_plan(plan, into, self._building(self.root / str(self.runs)), started=time.monotonic())
        return into

    def push_from(self, directory: Path, permissions: Permissions = CAREFUL) -> Report:
        release = read_release((directory,), (), (), read_layer_of)
        states = {entry.key: "given" for entry in release.publications}
        return publish_release(release, states, self._publishing(permissions), 0.0)

    def _publishing(self, permissions: Permissions) -> PublishContext:
        return PublishContext(
            registry=self.registry,
            rollback_tags=self.registry,
            journals=self.root / "journals",
            progress=Progress(lambda event: self.events.append(event)),
            cancellation=Cancellation().group(),
            # Nobody else is at this registry, so there is nothing to wait for.
            lease_times=LeaseTimes(settle=0.0, poll=0.01),
            permissions=permissions,
            cache=self.root / "cache",
        )

    def _building(self, work: Path) -> BuildContext:
        downloads = work / "downloads"
        downloads.mkdir(parents=True)
        toolchain = GoToolchain(program=Path("/go"), version="1.26.0", settings=())
        return BuildContext(
            tree=self.root,
            work=work / "work",
            downloads=downloads,
            find_compiler=lambda: MachineCompiler(toolchain, {}, self.runner),
            downloader=FakeDownloader(),
            registry=self.registry,
            engine=FakeEngine(),
            read_layer=LayerCache(work / "layers"),
            sum_file=FileSums(),
            progress=Progress(lambda event: None),
            cancellation=Cancellation().group(),
        )

    def tags(self) -> dict[str, Digest]:
        return self.registry.tags(PILOT)

    def index(self, tag: str = "1.29.0") -> Manifest:
        return self.registry.manifests[PILOT][tag]

    def refuses(self, kind: type[BuilderError], told: str, push: Callable[[], object]) -> BuilderError:
        """The push ends with this error, before anything is compiled, sent or moved."""
        compiled, tags, calls = len(self.runner.calls), self.tags(), len(self.registry.log)
        with pytest.raises(kind, match=told) as raised:
            push()
        assert len(self.runner.calls) == compiled
        assert self.tags() == tags
        writes = {"push_blob", "put_manifest", "put_tag", "delete_tag"}
        assert not [operation for operation, _ in self.registry.log[calls:] if operation in writes]
        return raised.value


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The hub has the clean 1.29.0 for both platforms."""
    site = Site(tmp_path)
    site.push()
    return site


DIRTY: dict[str, Any] = {"dirty": True, "modified": True, "content": "1" * 40}
FOREIGN: dict[str, Any] = {"commit": ANOTHER, "tag": "", "description": "1.29.0-3-gfffffff", "content": "2" * 40}
AS_RELEASE: dict[str, Any] = {"tags": ("1.29.0",)}
# Other inputs of the same release.
ANEW: dict[str, Any] = {"go": GoRequest(flags=("-trimpath=false",))}
DEBUG: dict[str, Any] = {"go": GoRequest(debug=True)}


class TestTakingOver:
    def test_a_dirty_tree_does_not_take_a_release_over(self, site: Site) -> None:
        error = site.refuses(TakeOver, "take over", lambda: site.push(tree=DIRTY, **AS_RELEASE))
        for tag in ("1.29.0", "1.29.0-distroless"):
            there = f"{PILOT}:{tag} is 1.29.0 of commit {COMMIT[:12]}; this one has changes that are not committed"
            assert (there in error.message) is (tag in site.tags())
        assert "--tag" in error.hint
        assert "--replace" in error.hint
        assert error.exit_code == 26

    def test_nor_does_a_patched_one_which_is_told(self, site: Site) -> None:
        told = "this one has patches on its source"
        error = site.refuses(TakeOver, told, lambda: site.push(tree=PATCHED, **AS_RELEASE))
        assert error.exit_code == 26
        directory = site.build(PATCHED, **AS_RELEASE)
        site.refuses(TakeOver, told, lambda: site.push_from(directory))
        before = site.tags()
        site.push(REPLACE, tree=PATCHED, **AS_RELEASE)
        assert site.tags() != before
        site.push()
        assert site.tags() == before

    def test_nor_does_a_debug_build(self, site: Site) -> None:
        site.refuses(TakeOver, "this one is a debug build", lambda: site.push(**DEBUG))

    def test_nor_does_a_clean_build_of_another_commit(self, site: Site) -> None:
        told = f"this one is of commit {ANOTHER[:12]}, which has no tag"
        site.refuses(TakeOver, told, lambda: site.push(tree=FOREIGN, **AS_RELEASE))

    def test_unless_that_commit_is_the_release_now(self, site: Site) -> None:
        site.push(tree={**FOREIGN, "tag": "1.29.0"})
        assert dict(site.index("1.29.0-distroless").annotations())["org.opencontainers.image.revision"] == ANOTHER

    def test_a_directory_does_not_either(self, site: Site) -> None:
        directory = site.build(DIRTY, **AS_RELEASE)
        site.refuses(TakeOver, "has changes that are not committed", lambda: site.push_from(directory))
        site.push_from(directory, REPLACE)
        site.push_from(site.build({**FOREIGN, "tag": "1.29.0"}))

    def test_a_directory_carries_the_tag_of_its_commit(self, site: Site) -> None:
        site.push_from(site.build({**FOREIGN, "tag": "1.29.0"}))
        another = site.build({**FOREIGN, "commit": "e" * 40}, **AS_RELEASE)
        site.refuses(TakeOver, "which has no tag", lambda: site.push_from(another))

    @pytest.mark.parametrize("request_", [{"tree": DIRTY, **AS_RELEASE}, {"tree": FOREIGN, **AS_RELEASE}, DEBUG], ids=str)
    def test_it_may_when_it_is_told_to(self, site: Site, request_: dict[str, Any]) -> None:
        before = site.tags()
        site.push(REPLACE, **request_)
        assert all(site.tags()[tag] != digest for tag, digest in before.items())

    @pytest.mark.parametrize("tag", ["1.29.0-rc.0", "1.29.0-beta.1", "1.29.0-corp.1", "1.29.0-fips"])
    def test_what_is_made_of_a_release_is_one(self, site: Site, tag: str) -> None:
        site.push(tags=(tag,))
        site.refuses(TakeOver, "take over", lambda: site.push(tree=DIRTY, tags=(tag,)))

    @pytest.mark.parametrize("tag", ["dev", "latest", "1.29", "master", "1.29.0-dev", "1.29.0-corp.nightly", "1.29.0-SNAPSHOT"])
    def test_other_tags_move_as_ever(self, site: Site, tag: str) -> None:
        site.push(tags=(tag,))
        before = site.tags()[f"{tag}-distroless"]
        site.push(tree=DIRTY, tags=(tag,))
        assert site.tags()[f"{tag}-distroless"] != before

    def test_the_same_release_built_anew_updates_its_tag(self, site: Site) -> None:
        before = site.tags()["1.29.0-distroless"]
        site.push(**ANEW)
        assert site.tags()["1.29.0-distroless"] != before

    def test_a_clean_build_takes_back_what_a_dirty_one_had_taken(self, site: Site) -> None:
        before = site.tags()
        site.push(REPLACE, tree=DIRTY, **AS_RELEASE)
        site.push()
        assert site.tags() == before

    def test_what_somebody_else_built_is_updated_by_a_clean_build_alone(self, site: Site) -> None:
        """Istio's own, as a mirror copies it: no annotations of ours."""
        for tag in tuple(site.tags()):
            document = json.loads(site.index(tag).content)
            del document["annotations"]
            site.registry.manifests[PILOT][tag] = Manifest(
                media_type=site.index(tag).media_type, content=json.dumps(document).encode()
            )
        told = "is an image that istio-build has not made; this one has changes"
        site.refuses(TakeOver, told, lambda: site.push(tree=DIRTY, **AS_RELEASE))
        site.push()
        assert site.index("1.29.0-distroless").annotations()

    def test_tags_are_looked_at_again_when_they_move(self, site: Site) -> None:
        """A clean release comes from elsewhere while a dirty one is being built."""
        there = dict(site.registry.manifests[PILOT])
        for tag in tuple(site.tags()):
            del site.registry.manifests[PILOT][tag]
        site.registry.fail_after = _once("put_manifest", lambda: site.registry.manifests[PILOT].update(there))
        with pytest.raises(TakeOver):
            site.push(tree=DIRTY, **AS_RELEASE)
        assert site.tags() == {key: manifest.digest for key, manifest in there.items() if not key.startswith("sha256:")}


class TestMerging:
    def test_a_push_of_one_platform_keeps_the_other(self, tmp_path: Path) -> None:
        one, other, whole = Site(tmp_path / "one"), Site(tmp_path / "other"), Site(tmp_path / "whole")
        whole.push()
        for site, order in ((one, (AMD64, ARM64)), (other, (ARM64, AMD64))):
            for platform in order:
                site.push(MERGE, platforms=(platform,))
            assert site.tags() == whole.tags()

    def test_the_same_from_directories(self, tmp_path: Path) -> None:
        site, whole = Site(tmp_path / "site"), Site(tmp_path / "whole")
        whole.push()
        for platform in (AMD64, ARM64):
            site.push_from(site.build(platforms=(platform,)), MERGE)
        assert site.tags() == whole.tags()

    def test_without_being_told_to_it_is_refused(self, site: Site) -> None:
        error = site.refuses(PlatformLoss, "take platforms away", lambda: site.push(platforms=(ARM64,)))
        assert "--merge-platforms" in error.hint

    def test_a_second_one_finds_nothing_to_do(self, site: Site) -> None:
        compiled = len(site.runner.calls)
        report = site.push(MERGE, platforms=(ARM64,))
        assert len(site.runner.calls) == compiled
        assert [image.state for image in report.images] == ["unchanged"]

    def test_a_new_build_of_one_platform_keeps_the_others_image(self, site: Site) -> None:
        kept = site.index("1.29.0-distroless").child_for(AMD64)
        before = site.index("1.29.0-distroless").child_for(ARM64)
        site.runner = FakeRunner(_go_build_anew)
        site.push(MERGE, platforms=(ARM64,), **ANEW)
        index = site.index("1.29.0-distroless")
        assert (index.child_for(AMD64), index.child_for(ARM64) == before) == (kept, False)

    def test_a_hub_that_lacks_the_platform_gets_it_from_the_one_that_has_it(self, tmp_path: Path) -> None:
        site = Site(tmp_path)
        site.push(platforms=(AMD64,))
        elsewhere = Hub.parse("other.corp.example/mesh")
        site.push(MERGE, platforms=(ARM64,), hubs=(HUB, elsewhere))
        there = site.registry.manifests[elsewhere.repository("pilot")]["1.29.0-distroless"]
        assert set(there.platforms()) == {AMD64, ARM64}
        assert there == site.index("1.29.0-distroless")

    @pytest.mark.parametrize(
        ("tree", "request_", "told"),
        [
            (FOREIGN, {"tags": ("dev",)}, f"it is dev of commit {COMMIT[:12]}, and this is dev of commit {ANOTHER[:12]}"),
            (DIRTY, {"tags": ("dev",)}, "nothing says that they are the same"),
            (PATCHED, {"tags": ("dev",)}, "this is dev of commit .*, which has patches on its source"),
            ({}, {"tags": ("dev",), **DEBUG}, "this is dev of commit .*, which is a debug build"),
        ],
        ids=["commit", "dirty", "patched", "debug"],
    )
    def test_what_does_not_belong_together_is_never_in_one_index(
        self, site: Site, tree: dict[str, Any], request_: dict[str, Any], told: str
    ) -> None:
        site.push(tags=("dev",))
        site.refuses(PlatformLoss, told, lambda: site.push(MERGE, tree, platforms=(ARM64,), **request_))
        site.push(Permissions(merge_platforms=True, replace=True), tree, platforms=(ARM64,), **request_)
        assert site.index("dev-distroless").platforms() == (ARM64,)

    def test_builds_with_the_same_patches_belong_together_and_others_do_not(self, site: Site) -> None:
        site.push(tree=PATCHED, tags=("dev",), platforms=(AMD64,))
        site.push(MERGE, PATCHED, tags=("dev",), platforms=(ARM64,))
        assert set(site.index("dev-distroless").platforms()) == {AMD64, ARM64}
        other = {"patches": (AppliedPatch(name="a.patch", sha256="c" * 64),)}
        site.refuses(PlatformLoss, "it is dev of", lambda: site.push(MERGE, other, tags=("dev",), platforms=(ARM64,)))

    def test_what_is_not_whole_is_not_kept(self, site: Site) -> None:
        child = site.index("1.29.0-distroless").child_for(AMD64)
        assert child
        layer = site.registry.manifests[PILOT][str(child.digest)].layers()[-1]
        del site.registry.blobs[PILOT][layer.digest]
        told = f"which is not whole: linux/amd64: layer {layer.digest} is missing"
        site.refuses(PlatformLoss, told, lambda: site.push(MERGE, platforms=(ARM64,), rebuild=True))

    def test_what_is_for_another_architecture_than_it_says_is_not_kept(self, site: Site) -> None:
        for tag in tuple(site.tags()):
            content = site.index(tag).content.replace(b'"amd64"', b'"s390x"')
            annotated = content.replace(b"linux/amd64=", b"linux/s390x=")
            site.registry.manifests[PILOT][tag] = Manifest(media_type=site.index(tag).media_type, content=annotated)
        site.refuses(PlatformLoss, "the index says linux/s390x", lambda: site.push(MERGE, platforms=(ARM64,), rebuild=True))

    def test_tags_that_do_not_have_the_same_are_named(self, site: Site) -> None:
        site.push(tags=("dev",), **ANEW)
        told = "they are not the same there"
        # The version is that of the first tag, so that both are of the same.
        for tag in [tag for tag in site.tags() if tag.startswith("dev")]:
            content = site.index(tag).content.replace(b'image.version":"dev"', b'image.version":"1.29.0"')
            site.registry.manifests[PILOT][tag] = Manifest(media_type=site.index(tag).media_type, content=content)
        site.refuses(PlatformLoss, told, lambda: site.push(MERGE, platforms=(ARM64,), tags=("1.29.0", "dev"), rebuild=True))

    def test_what_was_pushed_meanwhile_is_not_undone(self, site: Site) -> None:
        """Another machine pushes another amd64 while our arm64 is being built."""
        elsewhere = Site(site.root / "elsewhere")
        elsewhere.runner = FakeRunner(_go_build_anew)
        elsewhere.push(**ANEW)

        def arrive() -> None:
            site.registry.blobs[PILOT].update(elsewhere.registry.blobs[PILOT])
            site.registry.manifests[PILOT].update(elsewhere.registry.manifests[PILOT])

        site.registry.fail_after = _once("put_manifest", arrive)
        with pytest.raises(PublishError, match="pushed another linux/amd64"):
            site.push(MERGE, platforms=(ARM64,), go=GoRequest(flags=("-trimpath=false", "-v")))
        assert site.tags() == elsewhere.tags()


class TestNoClobber:
    @pytest.mark.parametrize(
        "permissions", [NO_CLOBBER, Permissions(immutable=("1.*",)), Permissions(no_clobber=True, replace=True)], ids=str
    )
    def test_a_tag_that_exists_does_not_move(self, site: Site, permissions: Permissions) -> None:
        push = lambda: site.push(permissions, **ANEW)  # noqa: E731
        error = site.refuses(TagKept, r"1\.29\.0-distroless is sha256:", push)
        assert error.exit_code == 27

    def test_one_that_is_there_already_is_no_move(self, site: Site) -> None:
        before = site.tags()
        site.push(NO_CLOBBER)
        site.push(NO_CLOBBER, rebuild=True)
        site.push_from(site.build(), NO_CLOBBER)
        assert site.tags() == before

    def test_new_tags_are_made(self, site: Site) -> None:
        site.push(NO_CLOBBER, tags=("1.29.1",))
        assert "1.29.1-distroless" in site.tags()

    def test_a_pattern_is_for_the_tags_that_it_fits(self, site: Site) -> None:
        site.push(tags=("dev",))
        before = site.tags()
        site.push(Permissions(immutable=("1.*",)), tree=DIRTY, tags=("dev",))
        assert {tag for tag, digest in site.tags().items() if before[tag] != digest} == {
            tag for tag in before if tag.startswith("dev")
        }

    def test_of_a_directory_it_is_said_before_anything_is_sent(self, site: Site) -> None:
        directory = site.build(**ANEW)
        site.refuses(TagKept, "must not move", lambda: site.push_from(directory, NO_CLOBBER))

    def test_a_tag_that_comes_meanwhile_stays(self, site: Site) -> None:
        there = dict(site.registry.manifests[PILOT])
        for tag in tuple(site.tags()):
            del site.registry.manifests[PILOT][tag]
        site.registry.fail_after = _once("put_manifest", lambda: site.registry.manifests[PILOT].update(there))
        with pytest.raises(TagKept):
            site.push(NO_CLOBBER, **ANEW)
        assert site.tags() == {key: manifest.digest for key, manifest in there.items() if not key.startswith("sha256:")}

    def test_a_second_tag_of_what_need_not_be_built_is_looked_at_before_the_rest_is(self, site: Site) -> None:
        site.push(tags=("dev",), tree=DIRTY)
        site.registry.log.clear()
        with pytest.raises(TagKept, match="dev-distroless"):
            site.push(NO_CLOBBER, tags=("1.29.0", "dev"))
        assert site.registry.operations("put_tag") == []


class TestRights:
    def test_they_are_asked_for_before_anything_is_compiled(self, site: Site) -> None:
        site.registry.fail_on = lambda operation, key: AccessDenied(f"no: {key}") if operation == "check_push" else None
        site.refuses(AccessDenied, f"no: {PILOT}", lambda: site.push(tags=("new",)))

    def test_they_are_asked_for_once_a_repository_and_only_where_something_is_built(self, site: Site) -> None:
        assert site.registry.operations("check_push") == [str(PILOT)]
        site.push()
        assert site.registry.operations("check_push") == [str(PILOT)]


class TestOutput:
    def test_what_cannot_be_written_to_is_said_before_anything_is_compiled(self, site: Site, tmp_path: Path) -> None:
        site.root = tmp_path / "root"
        site.root.mkdir()
        (site.root / "file").write_text("")
        compiled = len(site.runner.calls)
        for directory in (site.root / "file", site.root / "file" / "below"):
            with pytest.raises(RequestError, match=f"cannot write to {site.root / 'file'}"):
                build_plan(site.plan(), directory, site._building(tmp_path / directory.name), started=0.0)
        assert len(site.runner.calls) == compiled

    def test_a_disk_without_room_for_the_bases_is_full(self, site: Site, tmp_path: Path) -> None:
        plan = site.plan()
        [image] = plan.images
        assert image.base
        layers = tuple(replace(layer, size=1 << 60) for layer in image.base.on(AMD64).layers)
        base = replace(image.base, platforms=tuple(replace(on, layers=layers) for on in image.base.platforms))
        plan = replace(plan, images=(replace(image, base=base),))
        with pytest.raises(DiskFull, match="the layers of the base images alone take"):
            check_output(tmp_path / "new" / "images", plan, tmp_path)
        assert not (tmp_path / "new").exists()


def _go_build_anew(call: Call) -> Completed:
    """What another compiler makes of the same."""
    done = go_build(call)
    for program in Path(call.argv[call.argv.index("-o") + 1]).iterdir():
        program.write_bytes(program.read_bytes() + b"anew")
    return done


def _once(operation: str, act: Callable[[], None]) -> Callable[[str, str], None]:
    """A hook of the registry that acts at the first call of this operation."""
    left = [act]

    def hook(called: str, key: str) -> None:
        if called == operation and left:
            left.pop()()

    return hook
