"""Packing, handing over to the engine, checking: and what is packed only once."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from builder.build.assemble import AssembledPlatform, Assembler
from builder.cli.plan_view import plan_bake
from builder.engine.bake import bake_definition
from builder.errors import CheckError, CompileError
from builder.images.check import read_layer_of
from builder.oci.image_config import BaseImage
from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor, ImageConfig
from builder.plan.model import PlannedFile
from builder.plan.rootfs_step import RootfsStep
from builder.plan.users_step import UsersStep
from builder.runtime.atomic_file import sum_file
from tests.fakes.engine import FakeEngine
from tests.samples.images import ARM64, COMMITTED_AT
from tests.samples.plans import make_sample_plan
from tests.samples.programs import make_elf

PLAN = make_sample_plan(images=("proxyv2",))
PROXY = PLAN.images


@dataclass
class Bench:
    """A place to assemble in, which is its material, too. `contents` are the files by where they go in the image."""

    root: Path
    engine: FakeEngine = field(default_factory=FakeEngine)
    contents: dict[str, bytes] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def write(self, path: str, content: bytes) -> None:
        self.contents[path] = content
        target = self.root / "files" / path.strip("/").replace("/", "_")
        target.parent.mkdir(exist_ok=True)
        # As Go's linker and the downloader do: a new file under the old name.
        target.unlink(missing_ok=True)
        target.write_bytes(content)

    def file(self, file: PlannedFile) -> Path:
        return self.root / "files" / file.path.strip("/").replace("/", "_")

    def rootfs(self, step: RootfsStep) -> Path:
        return self.root / step.key

    def base_layer(self, base: BaseImage, layer: Descriptor) -> Path:
        raise AssertionError("the fake engine gives what the base's registry has")

    def accounts(self, step: UsersStep) -> Path:
        return self.root / "users.tar"

    def assemble(self) -> tuple[AssembledPlatform, ...]:
        assembler = Assembler(
            engine=self.engine,
            material=self,
            work=self.root / "work",
            compression="gzip",
            read_layer=read_layer_of,
            sum_file=sum_file,
        )
        return assembler.assemble(PROXY, ARM64, COMMITTED_AT, self.said.append)

    def archives(self) -> dict[str, int]:
        """The tars of the build context and the inode of each: a new one says that it was written anew."""
        context = self.root / "work" / "context" / "linux_arm64" / "proxyv2"
        return {path.name: path.stat().st_ino for path in context.glob("*.tar")}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    bench.write("/var/lib/istio/envoy/envoy_bootstrap_tmpl.json", b"{}")
    bench.write("/usr/local/bin/envoy", make_elf("arm64") + b"envoy")
    bench.write("/usr/local/bin/pilot-agent", make_elf("arm64") + b"agent")
    return bench


def test_every_variant_comes_out_checked_in_a_layout_of_its_own(bench: Bench) -> None:
    done = bench.assemble()
    assert [(part.key, part.platform) for part in done] == [("proxyv2-debug", ARM64), ("proxyv2-distroless", ARM64)]
    for part in done:
        manifest = part.layout.index()
        files = {
            entry.path: entry.sha256
            for layer in manifest.layers()[1:]
            for entry in read_layer_of(part.layout, layer)
            if entry.kind == "file"
        }
        assert set(files) == set(bench.contents)
    assert len({part.layout.root for part in done}) == 2
    assert bench.said[0] == "packing"
    assert bench.said[-1] == "compressing"


def test_the_engine_gets_one_target_a_variant_over_one_context(bench: Bench) -> None:
    bench.assemble()
    assert [target.name for target in bench.engine.targets] == [
        "proxyv2-debug-linux_arm64",
        "proxyv2-distroless-linux_arm64",
    ]
    assert len({target.context for target in bench.engine.targets}) == 1
    for target, plan in zip(bench.engine.targets, PROXY, strict=True):
        assert target.platform == ARM64
        assert target.dockerfile == plan.platforms[1].dockerfile
        assert target.source_date_epoch == COMMITTED_AT


def test_what_is_shown_is_what_the_engine_gets(bench: Bench) -> None:
    bench.assemble()
    work = bench.root / "work"
    below = [
        replace(target, context=target.context.relative_to(work), destination=target.destination.relative_to(work))
        for target in bench.engine.targets
    ]
    shown = json.loads(plan_bake(PLAN))["target"]
    assert bake_definition(below)["target"] == {name: shown[name] for name in shown if name.endswith("arm64")}


def test_the_context_holds_the_layers_that_the_dockerfile_adds(bench: Bench) -> None:
    bench.assemble()
    [target, _] = bench.engine.targets
    added = [line.split()[2] for line in target.dockerfile.splitlines() if line.startswith("ADD ")]
    assert tuple(added) == target.layers
    assert set(added) == set(bench.archives())


def test_what_is_unchanged_is_not_packed_again(bench: Bench) -> None:
    bench.assemble()
    before = bench.archives()
    bench.assemble()
    assert bench.archives() == before


def test_what_is_changed_is_packed_again_and_nothing_else(bench: Bench) -> None:
    bench.assemble()
    before = bench.archives()
    bench.write("/usr/local/bin/pilot-agent", make_elf("arm64") + b"tnega")
    bench.assemble()
    after = bench.archives()
    assert {name for name in after if after[name] != before[name]} == {"3-pilot-agent.tar"}


@pytest.mark.parametrize("spoil", [b"", b"{}", b"[]", b"null", b'{"identity": 1, "entries": [{"nonsense": 1}]}', b"\xff"])
def test_a_record_of_another_version_of_this_tool_is_packed_over(bench: Bench, spoil: bytes) -> None:
    bench.assemble()
    for record in (bench.root / "work").rglob("*.tar.json"):
        record.write_bytes(spoil)
    assert len(bench.assemble()) == 2


def test_a_damaged_entry_of_a_record_is_packed_over(bench: Bench) -> None:
    bench.assemble()
    for record in (bench.root / "work").rglob("*.tar.json"):
        record.write_text(record.read_text().replace('"kind"', '"sort"'))
    assert len(bench.assemble()) == 2


def test_a_foreign_program_is_refused_before_the_engine_is_asked(bench: Bench) -> None:
    bench.write("/usr/local/bin/envoy", make_elf("amd64"))
    with pytest.raises(
        CompileError, match="/usr/local/bin/envoy should be for linux/arm64, but is a program for amd64"
    ) as raised:
        bench.assemble()
    assert "--envoy" in raised.value.hint
    assert bench.engine.targets == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda config: replace(config, user="0"), "user is '0', not ''"),
        (lambda config: replace(config, entrypoint=("/bin/sh",)), "entrypoint is"),
        (lambda config: replace(config, env=config.env[:-1]), "env is"),
        (lambda config: replace(config, others=(("StopSignal", '"9"'),)), 'StopSignal is "9", not unset: remove STOPSIGNAL from'),
    ],
)
def test_an_image_that_is_not_as_planned_is_refused(
    bench: Bench, change: Callable[[ImageConfig], ImageConfig], finding: str
) -> None:
    bench.engine.change = change
    with pytest.raises(CheckError, match=f"proxyv2-debug on linux/arm64 is not what was planned:\n  {finding}") as raised:
        bench.assemble()
    assert "template" in raised.value.hint


def test_what_an_earlier_run_left_is_not_taken_for_this_ones(bench: Bench) -> None:
    [first, _] = bench.assemble()
    stray = first.layout.root / "stray"
    stray.touch()
    [again, _] = bench.assemble()
    assert again.layout.root == first.layout.root
    assert not stray.exists()
    assert Layout(again.layout.root).index().digest == first.layout.index().digest
