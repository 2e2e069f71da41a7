"""Building side by side: what is needed is done, nothing else is, and what fails ends only what it has a part in."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.build.built import Built
from builder.build.context import BuildContext
from builder.build.scheduler import build_images
from builder.errors import (
    ArtifactError,
    AssembleError,
    BuilderError,
    CompileError,
    DiskFull,
    EngineError,
    Interrupted,
    SourceError,
)
from builder.host.go_compiler import MachineCompiler
from builder.images.check import check_integrity, read_layer_of
from builder.images.layer_cache import LayerCache
from builder.oci.layout import Layout
from builder.oci.reference import Digest, ImageReference, Platform
from builder.plan.lock import ImageArtifact, UrlArtifact
from builder.plan.model import Plan
from builder.ports import Compiler, Completed, GoToolchain, ProcessFailed
from builder.publish.release_file import ListedImage, ReleaseFile
from builder.publish.release_parts import read_release
from builder.recipe.schema import ArtifactFile
from builder.runtime.cancellation import Cancellation
from builder.runtime.file_sums import FileSums
from builder.runtime.progress import Event, Progress, TaskFinished
from tests.fakes.downloader import FakeDownloader
from tests.fakes.engine import FakeEngine
from tests.fakes.registry import FakeRegistry
from tests.fakes.runner import Call, FakeRunner, go_build
from tests.samples.images import AMD64, ARM64, BASE_LAYER, SampleFile, make_config, make_tar, write_image
from tests.samples.plans import change_image, load_book, make_lock, make_sample_plan
from tests.samples.programs import make_elf
from tests.samples.seeding import seed

BOOTSTRAP = "tools/packaging/common/envoy_bootstrap.json"
PATIENCE = 10
TOOLCHAIN = GoToolchain(program=Path("/go"), version="1.26.0", settings=())


@dataclass
class Site:
    """A place of fakes, and what was done in it."""

    root: Path
    runner: FakeRunner = field(default_factory=lambda: FakeRunner(go_build))
    engine: FakeEngine = field(default_factory=FakeEngine)
    downloader: FakeDownloader = field(default_factory=FakeDownloader)
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    run: Cancellation = field(default_factory=Cancellation)
    events: list[Event] = field(default_factory=list)
    envoy_for: dict[Platform, str] = field(default_factory=lambda: {AMD64: "amd64", ARM64: "arm64"})
    observe: Callable[[Event], None] = lambda event: None
    find_compiler: Callable[[], Compiler] | None = None
    fail_fast: bool = False

    def __post_init__(self) -> None:
        self.cancellation = self.run.group()
        self.built = Built(layouts={})

    def plan(self, **changes: Any) -> Plan:  # noqa: ANN401 - fields of the request
        """A plan whose Envoys are at hand."""
        artifacts = []
        for platform in (AMD64, ARM64):
            content = make_elf(self.envoy_for[platform]) + b"envoy"
            url = f"https://mirror.example/envoy-{platform.architecture}"
            self.downloader.files[url] = content
            sha256 = Digest.of(content).hex
            artifacts.append(UrlArtifact(name="envoy", platform=platform, url=url, sha256=sha256, member=""))
        return make_sample_plan(lock=make_lock(artifacts=tuple(artifacts)), **changes)

    def build(self, plan: Plan, keys: tuple[str, ...] = ()) -> Mapping[str, Layout]:
        tree = self.root / "tree"
        (tree / BOOTSTRAP).parent.mkdir(parents=True, exist_ok=True)
        (tree / BOOTSTRAP).write_text("{}")
        context = BuildContext(
            tree=tree,
            work=self.root / "work",
            downloads=self.root / "downloads",
            find_compiler=self.find_compiler or (lambda: MachineCompiler(TOOLCHAIN, {"PATH": "/usr/bin"}, self.runner)),
            downloader=self.downloader,
            registry=self.registry,
            engine=self.engine,
            read_layer=LayerCache(self.root / "known"),
            sum_file=FileSums(),
            progress=Progress(self._observe),
            cancellation=self.cancellation,
            fail_fast=self.fail_fast,
        )
        images = [image for image in plan.images if not keys or image.key in keys]
        self.built = build_images(plan, images, self.root / "layouts", context)
        if self.built.failures:
            raise self.built.error()
        return self.built.layouts

    def _observe(self, event: Event) -> None:
        self.events.append(event)
        self.observe(event)

    def wait_for_the_end(self) -> None:
        """What a running program does: goes on until the run is interrupted."""
        ended = threading.Event()
        self.cancellation.on_set(ended.set)
        if not self.cancellation.is_set():
            assert ended.wait(PATIENCE), "nobody ended this task"
        self.cancellation.check()

    def failed(self) -> set[str]:
        return {event.subject for event in self.events if isinstance(event, TaskFinished) and event.failed}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def compiled(site: Site) -> set[tuple[str, str]]:
    """Every program that was compiled, with its architecture."""
    return {(Path(word).name, call.env["GOARCH"]) for call in site.runner.calls for word in call.argv if word.startswith("./")}


class TestWhatIsDone:
    def test_every_image_ends_in_a_layout_with_all_platforms(self, site: Site) -> None:
        plan = site.plan()
        layouts = site.build(plan)
        assert list(layouts) == [image.key for image in plan.images]
        for image in plan.images:
            index = layouts[image.key].index()
            assert [child.platform for child in index.children()] == [AMD64, ARM64]
            assert index.annotations() == dict(image.annotations)
            assert layouts[image.key].root == site.root / "layouts" / image.key

    def test_push_from_takes_up_what_was_built(self, site: Site) -> None:
        plan = site.plan(tags=("1.29.0", "1.29"))
        built = site.build(plan)
        images = [
            ListedImage(
                image=image.image,
                variant=image.variant,
                digest=built[image.key].index().digest,
                inputs=tuple((str(on.platform), on.fingerprint) for on in image.platforms),
            )
            for image in plan.images
        ]
        ReleaseFile(version=plan.version, hub=plan.hub, made=(), images=tuple(images)).write(site.root / "layouts")
        release = read_release((site.root / "layouts",), (), (), read_layer_of)
        assert (release.version, release.hub) == (plan.version, plan.hub)
        assert {entry.key: entry.references for entry in release.publications} == {
            image.key: image.references for image in plan.images
        }

    def test_again_gives_the_same_digests(self, site: Site, tmp_path: Path) -> None:
        first = {key: layout.index().digest for key, layout in site.build(site.plan()).items()}
        again = {key: layout.index().digest for key, layout in site.build(site.plan()).items()}
        elsewhere = Site(tmp_path / "another" / "directory")
        other = {key: layout.index().digest for key, layout in elsewhere.build(elsewhere.plan()).items()}
        assert first == again == other
        assert len(set(first.values())) == len(first)

    def test_only_the_programs_of_the_images_are_compiled(self, site: Site) -> None:
        site.build(site.plan(), ("pilot-distroless",))
        assert compiled(site) == {("pilot-discovery", "amd64"), ("pilot-discovery", "arm64")}

    def test_only_the_platforms_asked_for_are_compiled(self, site: Site) -> None:
        site.build(site.plan(platforms=(ARM64,)), ("proxyv2-debug",))
        assert compiled(site) == {("pilot-agent", "arm64")}
        assert site.downloader.asked == ["https://mirror.example/envoy-arm64"]

    def test_variants_share_what_is_compiled(self, site: Site) -> None:
        site.build(site.plan())
        words = [word for call in site.runner.calls for word in call.argv if word.startswith("./")]
        assert len(words) == len(compiled(site)) == 6

    def test_nothing_is_fetched_that_no_image_needs(self, site: Site) -> None:
        site.build(site.plan(), ("pilot-debug", "istioctl-debug"))
        assert site.downloader.asked == []

    def test_nothing_is_done_for_no_images(self, site: Site) -> None:
        site.engine.ready = lambda: pytest.fail("asked the engine")
        plan = site.plan()
        assert site.build(plan, ("none",)) == {}
        assert (site.runner.calls, site.events) == ([], [])

    def test_go_is_not_looked_for_where_nothing_is_compiled(self, site: Site) -> None:
        site.find_compiler = lambda: pytest.fail("asked for Go")
        book = change_image(load_book(), "proxyv2", binaries=())
        layouts = site.build(site.plan(book=book), ("proxyv2-debug",))
        assert list(layouts) == ["proxyv2-debug"]

    def test_both_platforms_compile_side_by_side(self, site: Site) -> None:
        both = threading.Barrier(2, timeout=PATIENCE)

        def answer(call: Call) -> Completed:
            both.wait()
            return go_build(call)

        site.runner.answer = answer
        site.build(site.plan(), ("pilot-debug",))

    def test_steps_of_one_platform_compile_one_after_the_other(self, site: Site) -> None:
        at_work: dict[str, int] = {"amd64": 0, "arm64": 0}

        def answer(call: Call) -> Completed:
            platform = call.env["GOARCH"]
            at_work[platform] += 1
            assert at_work[platform] == 1
            done = go_build(call)
            at_work[platform] -= 1
            return done

        site.runner.answer = answer
        site.build(site.plan())
        assert len(site.runner.calls) == 4

    def test_an_image_is_assembled_while_others_still_compile(self, site: Site) -> None:
        """proxyv2's own program is ready first; pilot's goes on until proxyv2 has been assembled."""
        assembled = threading.Event()

        def answer(call: Call) -> Completed:
            if "./pilot/cmd/pilot-discovery" in call.argv:
                assert assembled.wait(PATIENCE), "assembling waits for a program that the image does not hold"
            return go_build(call)

        def observe(event: Event) -> None:
            if isinstance(event, TaskFinished) and (event.stage, event.subject) == ("assemble", "proxyv2 linux/arm64"):
                assembled.set()

        site.runner.answer = answer
        site.observe = observe
        site.build(site.plan(images=("pilot", "proxyv2")))
        assert assembled.is_set()

    def test_envoy_is_taken_out_of_an_image(self, site: Site) -> None:
        image = ImageReference.parse("docker.io/istio/proxyv2:1.29.0")
        artifacts = []
        for platform in (AMD64, ARM64):
            program = SampleFile(path="/usr/local/bin/envoy", content=make_elf(platform.architecture))
            layout = write_image(site.root / platform.slug, make_config(platform), [BASE_LAYER, make_tar([program])])
            manifest = seed(site.registry, layout, image)
            artifacts.append(
                ImageArtifact(name="envoy", platform=platform, reference=image.pinned(manifest.digest), member=program.path)
            )
        plan = make_sample_plan(lock=make_lock(artifacts=tuple(artifacts)))
        layouts = site.build(plan, ("proxyv2-debug",))
        check_integrity(layouts["proxyv2-debug"])
        assert site.downloader.asked == []

    def test_a_download_that_is_not_to_be_run_need_not_be_a_program_and_may_be_one_for_all(self, site: Site) -> None:
        """As Envoy's filters are, in WebAssembly."""
        site.downloader.files["https://mirror.example/stats.wasm"] = b"\0asm"
        sha256 = Digest.of(b"\0asm").hex
        url = "https://mirror.example/stats.wasm"
        wasm = tuple(
            UrlArtifact(name="envoy", platform=platform, url=url, sha256=sha256, member="") for platform in (AMD64, ARM64)
        )
        file = ArtifactFile(artifact="envoy", path="/etc/istio/extensions/stats-filter.wasm", mode="0644")
        plan = make_sample_plan(book=change_image(load_book(), "proxyv2", artifacts=(file,)), lock=make_lock(artifacts=wasm))
        layout = site.build(plan, ("proxyv2-debug",))["proxyv2-debug"]
        for child in layout.index().children():
            entries = [entry for layer in layout.manifest(child).layers() for entry in read_layer_of(layout, layer)]
            [found] = [entry for entry in entries if entry.path == file.path]
            assert (found.mode, found.sha256) == ("0644", sha256)


class TestFailures:
    @pytest.mark.parametrize("stage", ["engine", "fetch", "compile"])
    def test_the_first_ends_the_others_and_its_error_is_raised(self, site: Site, stage: str) -> None:
        def fetch(*arguments: object, **named: object) -> None:
            if stage == "fetch":
                raise ArtifactError("no envoy")
            site.wait_for_the_end()

        def compile_program(call: Call) -> Completed:
            if stage == "compile" and call.env["GOARCH"] == "arm64":
                raise ProcessFailed(call.argv, 1, "", "undefined: x")
            site.wait_for_the_end()
            raise AssertionError

        def prepare() -> None:
            if stage == "engine":
                raise EngineError("no docker")

        site.downloader.download = fetch  # type: ignore[method-assign]
        site.runner.answer = compile_program
        site.engine.ready = prepare
        site.fail_fast = True
        with pytest.raises(BuilderError) as raised:
            site.build(site.plan())
        assert type(raised.value) is {"engine": EngineError, "fetch": ArtifactError, "compile": CompileError}[stage]
        assert site.cancellation.is_set()
        assert not site.run.is_set()
        assert site.engine.targets == []

    def test_what_fails_because_it_was_ended_is_not_what_is_told(self, site: Site) -> None:
        """A program that is killed may say anything as it goes, even before the one that failed in the list."""

        def prepare() -> None:
            with pytest.raises(Interrupted):
                site.wait_for_the_end()
            raise EngineError("docker said: context canceled")

        def answer(call: Call) -> Completed:
            raise ProcessFailed(call.argv, 1, "", "undefined: x")

        site.engine.ready = prepare
        site.runner.answer = answer
        site.fail_fast = True
        with pytest.raises(CompileError, match="undefined: x"):
            site.build(site.plan(), ("pilot-debug",))

    def test_the_engine_failing_ends_the_compiler(self, site: Site) -> None:
        def answer(call: Call) -> Completed:
            if "./pilot/cmd/pilot-discovery" in call.argv:
                site.wait_for_the_end()
            return go_build(call)

        def spoil(*arguments: object) -> None:
            raise AssembleError("failed to solve")

        site.runner.answer = answer
        site.engine.assemble = spoil  # type: ignore[method-assign, assignment]
        site.fail_fast = True
        with pytest.raises(AssembleError, match="failed to solve"):
            site.build(site.plan(images=("pilot", "proxyv2")))

    def test_ctrl_c_is_told_as_such_whatever_failed_because_of_it(self, site: Site) -> None:
        def answer(call: Call) -> Completed:
            site.run.set()
            raise ProcessFailed(call.argv, -15, "", "signal: terminated")

        site.runner.answer = answer
        with pytest.raises(Interrupted, match="nothing was tagged"):
            site.build(site.plan(), ("pilot-debug",))

    def test_a_failed_task_is_shown_as_failed(self, site: Site) -> None:
        def answer(call: Call) -> Completed:
            raise ProcessFailed(call.argv, 1, "", "undefined: x")

        site.runner.answer = answer
        with pytest.raises(CompileError):
            site.build(site.plan(platforms=(ARM64,)), ("pilot-debug",))
        assert site.failed() == {"pilot-discovery linux/arm64"}

    def test_a_file_that_the_source_lacks_is_named(self, site: Site) -> None:
        plan = site.plan(platforms=(ARM64,))

        def answer(call: Call) -> Completed:
            (site.root / "tree" / BOOTSTRAP).unlink()
            return go_build(call)

        site.runner.answer = answer
        with pytest.raises(SourceError, match=f"the source lacks .*/{BOOTSTRAP}"):
            site.build(plan, ("proxyv2-debug",))

    @pytest.mark.parametrize(
        ("spoil", "told"),
        [
            (lambda path: path.symlink_to("/etc/hostname"), "leads outside of the source, to /etc/hostname"),
            (os.mkfifo, "is no ordinary file, which an image needs"),
        ],
    )
    def test_a_file_that_is_not_the_trees_own_is_refused(self, site: Site, spoil: Callable[[Path], None], told: str) -> None:
        plan = site.plan(platforms=(ARM64,))

        spoiled = site.root / "spoiled"
        spoil(spoiled)

        def answer(call: Call) -> Completed:
            # In one step, as several compilers run at once.
            if os.path.lexists(spoiled):
                with contextlib.suppress(FileNotFoundError):
                    spoiled.rename(site.root / "tree" / BOOTSTRAP)
            return go_build(call)

        site.runner.answer = answer
        with pytest.raises(SourceError, match=f"/{BOOTSTRAP} {told}"):
            site.build(plan, ("proxyv2-debug",))

    def test_a_foreign_envoy_is_refused(self, site: Site) -> None:
        site.envoy_for = {AMD64: "amd64", ARM64: "amd64"}
        plan = site.plan(platforms=(ARM64,), images=("proxyv2",))
        with pytest.raises(CompileError, match="/usr/local/bin/envoy should be for linux/arm64"):
            site.build(plan)

    def test_an_image_spoilt_by_the_engine_leaves_no_layout(self, site: Site) -> None:
        site.engine.change = lambda config: replace(config, user="0")
        with pytest.raises(BuilderError, match="is not what was planned"):
            site.build(site.plan(), ("pilot-debug",))
        assert not (site.root / "layouts").exists()


def test_a_built_layout_is_one_for_other_tools_too(site: Site) -> None:
    """Every blob that the index reaches is there, with the size and the digest that it says."""
    layout = site.build(site.plan(), ("proxyv2-distroless",))["proxyv2-distroless"]
    entry = json.loads((layout.root / "index.json").read_text())["manifests"][0]
    todo, seen = [entry], 0
    while todo:
        descriptor = todo.pop()
        content = (layout.root / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
        assert len(content) == descriptor["size"]
        assert str(Digest.of(content)) == descriptor["digest"]
        seen += 1
        if descriptor["mediaType"].endswith(("index.v1+json", "manifest.v1+json")):
            document = json.loads(content)
            todo += document.get("manifests", []) + document.get("layers", [])
            todo += [document["config"]] if "config" in document else []
    # The index; for each platform a manifest, a configuration, the base's layer and three of ours.
    assert seen == 1 + 2 * (1 + 1 + 1 + 3)


class TestKeepingGoing:
    """One image's failure neither hides nor kills the others' work."""

    def test_what_shares_a_compiler_run_with_the_one_that_fails_is_made(self, site: Site) -> None:
        def answer(call: Call) -> Completed:
            if "./pilot/cmd/pilot-discovery" in call.argv and call.env["GOARCH"] == "arm64":
                raise ProcessFailed(call.argv, 1, "", "undefined: x")
            return go_build(call)

        site.runner.answer = answer
        plan = site.plan()
        with pytest.raises(CompileError, match="undefined: x") as raised:
            site.build(plan)
        failed = {"pilot-debug", "pilot-distroless"}
        others = {image.key for image in plan.images} - failed
        assert set(site.built.layouts) == others
        for layout in site.built.layouts.values():
            check_integrity(layout)
        assert {(one.image, one.platform) for one in raised.value.ledger if one.state == "failed"} == {
            (key, "linux/arm64") for key in failed
        }
        built = {(one.image, one.platform) for one in raised.value.ledger if one.state == "built"}
        assert built == {(key, platform) for key in others for platform in ("linux/amd64", "linux/arm64")} | {
            (key, "linux/amd64") for key in failed
        }
        # One cause is told once, with all that it keeps from being made.
        assert raised.value.message.count("undefined: x") == 1
        assert "so there is no pilot-debug on linux/arm64, pilot-distroless on linux/arm64" in raised.value.message
        assert f"the others are made: {', '.join(sorted(others))}" in raised.value.message
        assert not site.cancellation.is_set()

    def test_several_causes_are_all_told(self, site: Site) -> None:
        def answer(call: Call) -> Completed:
            if "./pilot/cmd/pilot-discovery" in call.argv:
                raise ProcessFailed(call.argv, 1, "", "undefined: x")
            return go_build(call)

        site.runner.answer = answer
        site.downloader.files.clear()
        plan = site.plan()
        site.downloader.files.clear()
        with pytest.raises(BuilderError) as raised:
            site.build(plan)
        assert set(site.built.layouts) == {"istioctl-debug", "istioctl-distroless"}
        assert "undefined: x" in raised.value.message
        assert "envoy-arm64" in raised.value.message

    def test_the_next_run_has_only_the_missing_to_do(self, site: Site) -> None:
        site.runner.answer = lambda call: _fail(call) if "./pilot/cmd/pilot-discovery" in call.argv else go_build(call)
        plan = site.plan()
        with pytest.raises(CompileError):
            site.build(plan)
        site.runner.answer = go_build
        assert set(site.build(plan)) == {image.key for image in plan.images}

    @pytest.mark.parametrize("error", [EngineError("no docker"), DiskFull("a disk is full")])
    def test_what_all_need_ends_all(self, site: Site, error: BuilderError) -> None:
        def answer(call: Call) -> Completed:
            site.wait_for_the_end()
            raise AssertionError

        def fail(*arguments: object, **named: object) -> None:
            raise error

        site.runner.answer = answer
        if isinstance(error, EngineError):
            site.engine.ready = fail
        else:
            site.downloader.download = fail  # type: ignore[method-assign]
        with pytest.raises(type(error), match=error.message):
            site.build(site.plan())
        assert site.cancellation.is_set()

    def test_a_bug_of_ours_is_not_kept_to_ourselves(self, site: Site) -> None:
        def spoil(*arguments: object) -> None:
            raise ZeroDivisionError

        site.engine.assemble = spoil  # type: ignore[method-assign, assignment]
        with pytest.raises(ZeroDivisionError):
            site.build(site.plan())


def _fail(call: Call) -> Completed:
    raise ProcessFailed(call.argv, 1, "", "undefined: x")
