"""Packing, handing over to the engine, checking: and what is packed only once."""

import json
import os
import random
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import deflate
import pytest

from builder.build.assemble import AssembledPlatform, Assembler
from builder.cli.plan_view import plan_bake
from builder.engine.bake import bake_definition
from builder.engine.builtin import Builtin
from builder.errors import CheckError, CompileError
from builder.images.check import read_layer_of
from builder.images.layer_cache import LayerCache
from builder.oci.image_config import BaseImage
from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor, ImageConfig
from builder.plan.model import PlannedFile
from builder.plan.rootfs_step import RootfsStep
from builder.plan.users_step import UsersStep
from builder.runtime.atomic_file import sum_file
from builder.runtime.extracted_file import keep_sum
from builder.runtime.file_sums import FileSums
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
    builtin: bool = False
    hub: str = "hub"
    contents: dict[str, bytes] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @property
    def work(self) -> Path:
        return self.root / "jobs" / self.hub

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
        sums = FileSums()
        assembler = Assembler(
            engine=Builtin(sums) if self.builtin else self.engine,
            material=self,
            work=self.work,
            compression="gzip",
            read_layer=LayerCache(self.root / "known"),
            sum_file=sums,
            jobs=self.root / "jobs",
            whole=not self.builtin,
        )
        return assembler.assemble(PROXY, ARM64, COMMITTED_AT, self.said.append)

    def archives(self) -> dict[str, int]:
        """The tars of the build context and the inode of each: a new one says that it was written anew."""
        context = self.work / "context" / "linux_arm64" / "proxyv2"
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
    work = bench.work
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


def test_a_program_that_is_the_same_is_not_packed_again_whatever_its_time(bench: Bench) -> None:
    """Go gives one that it leaves alone the time of the build."""
    agent = bench.root / "files" / "usr_local_bin_pilot-agent"
    keep_sum(agent)
    bench.assemble()
    before = bench.archives()
    os.utime(agent)
    bench.assemble()
    assert bench.archives() == before
    agent.write_bytes(make_elf("arm64") + b"tnega")
    keep_sum(agent)
    bench.assemble()
    assert {name for name, inode in bench.archives().items() if inode != before[name]} == {"3-pilot-agent.tar"}


def test_what_is_packed_is_not_read_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is summed and compressed while it is written, and its headers alone are read back."""

    def fail(*_: object) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr("builder.oci.layer.read_layer", fail)
    monkeypatch.setattr("builder.images.kept_layers.compress_layer", fail)
    monkeypatch.setattr("builder.runtime.file_sums.sum_file", fail)
    bench.builtin = True
    [debug, _] = bench.assemble()
    monkeypatch.undo()
    for layer in debug.layout.index().layers()[1:]:
        assert debug.layout.blob(layer.digest).stat().st_size == layer.size
        assert sum_file(debug.layout.blob(layer.digest)) == layer.digest.hex
        assert read_layer_of(debug.layout, layer)


@pytest.mark.parametrize("field", ["mode", "mtime", "path"])
def test_what_was_written_otherwise_than_planned_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    def write_wrong(path: str, kind: bytes, mode: str, mtime: int) -> tarfile.TarInfo:
        found = tarfile.TarInfo(f"{path.lstrip('/')}{'x' if field == 'path' else ''}")
        found.type, found.mode = kind, 0o777 if field == "mode" else int(mode, 8)
        found.mtime = mtime + (field == "mtime")
        return found

    monkeypatch.setattr("builder.oci.layer._header", write_wrong)
    bench.builtin = True
    with pytest.raises(CheckError, match="is not what was planned"):
        bench.assemble()


def test_a_damaged_archive_is_packed_over(bench: Bench) -> None:
    bench.builtin = True
    [first, _] = bench.assemble()
    digest = first.layout.index().digest
    for archive in bench.work.rglob("*.tar"):
        content = bytearray(archive.read_bytes())
        content[1000] ^= 1
        archive.write_bytes(content)
    [again, _] = bench.assemble()
    assert again.layout.index().digest == digest


def test_what_another_hub_has_the_same_is_not_compressed_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []
    real = deflate.gzip_compress

    def compress_and_note(data: bytes, level: int) -> object:
        given.append(data)
        return real(data, level)

    monkeypatch.setattr(deflate, "gzip_compress", compress_and_note)
    agent, envoy = random.Random(1).randbytes(2 << 20), random.Random(2).randbytes(1 << 20)
    bench.write("/usr/local/bin/envoy", make_elf("arm64") + envoy)
    bench.write("/usr/local/bin/pilot-agent", make_elf("arm64") + agent)
    bench.assemble()
    given.clear()
    bench.hub = "other"
    bench.write("/usr/local/bin/pilot-agent", make_elf("arm64") + agent[:-9] + b"other hub")
    [debug, _] = bench.assemble()
    [changed] = given
    assert b"other hub" in changed
    for layer in debug.layout.index().layers()[1:]:
        assert read_layer_of(debug.layout, layer)


@pytest.mark.parametrize("spoil", [b"", b"{}", b"[]", b"null", b'{"identity": 1, "entries": [{"nonsense": 1}]}', b"\xff"])
def test_a_record_of_another_version_of_this_tool_is_packed_over(bench: Bench, spoil: bytes) -> None:
    bench.assemble()
    for record in bench.work.rglob("*.tar.json"):
        record.write_bytes(spoil)
    assert len(bench.assemble()) == 2


def test_a_damaged_entry_of_a_record_is_packed_over(bench: Bench) -> None:
    bench.assemble()
    for record in bench.work.rglob("*.tar.json"):
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
