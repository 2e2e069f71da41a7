"""Archives of istioctl: their names, that they are for the machine they say, the same bytes each time, and real ones run."""

import hashlib
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.build.archives import WrittenArchive, write_archives
from builder.build.context import CompileContext
from builder.errors import CompileError, Interrupted, RequestError
from builder.oci.reference import Platform
from builder.plan.archives import ArchivePlan, make_archive_plan
from builder.ports import GoBuild, ProcessFailed
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Progress
from tests.samples.images import COMMITTED_AT
from tests.samples.plans import load_book, make_lock, make_request
from tests.samples.programs import make_elf, make_mach_o, make_pe

MAKERS: dict[str, Callable[[str], bytes]] = {"linux": make_elf, "darwin": make_mach_o, "windows": make_pe}


def plan(*targets: str, hub: str = "registry.corp.example/istio") -> ArchivePlan:
    return make_archive_plan(make_request(hub), load_book(), make_lock(bases=(), artifacts=()), targets)


class FakeCompiler:
    """Implements `ports.Compiler`: programs that are nothing but a header, of the platform's or of another one's."""

    def __init__(self, fails_on: str = "", confuses: str = "") -> None:
        self.builds: list[GoBuild] = []
        self._fails_on = fails_on
        self._confuses = confuses

    def build(self, build: GoBuild, on_line: Callable[[str], None]) -> None:
        self.builds.append(build)
        if str(build.platform) == self._fails_on:
            raise ProcessFailed(build.command.argv(), 1, "", "undefined: x")
        architecture = "amd64" if str(build.platform) == self._confuses else build.platform.architecture
        name = "istioctl.exe" if build.platform.os == "windows" else "istioctl"
        (build.into / name).write_bytes(MAKERS[build.platform.os](architecture))


def write(into: Path, *targets: str, compiler: FakeCompiler | None = None) -> tuple[WrittenArchive, ...]:
    return write_archives(
        plan(*targets),
        into / "archives",
        CompileContext(
            tree=into,
            work=into / "work",
            find_compiler=lambda: compiler or FakeCompiler(),
            progress=Progress(lambda event: None),
            cancellation=Cancellation().group(),
        ),
    )


class TestPlan:
    def test_names_are_istios(self) -> None:
        assert [archive.names for archive in plan().archives] == [
            ("istioctl-1.29.0-linux-amd64.tar.gz",),
            ("istioctl-1.29.0-linux-arm64.tar.gz",),
            ("istioctl-1.29.0-osx-amd64.tar.gz", "istioctl-1.29.0-osx.tar.gz"),
            ("istioctl-1.29.0-osx-arm64.tar.gz",),
            ("istioctl-1.29.0-win-amd64.zip", "istioctl-1.29.0-win.zip"),
            ("istioctl-1.29.0-win-arm64.zip",),
        ]

    def test_programs_have_no_build_tags_and_are_stamped_with_the_hub(self) -> None:
        for step in plan(hub="docker.io/me").compiles:
            assert step.command.tags == ()
            flags = " ".join(step.command.ldflags)
            assert "-X istio.io/istio/pkg/version.buildHub=docker.io/me" in flags
            assert f"-X istio.io/istio/pkg/version.buildOS={step.platform.os}" in flags
            assert dict(step.env)["GOOS"] == step.platform.os

    def test_targets_can_be_chosen(self) -> None:
        chosen = plan("osx-arm64", "win-amd64")
        assert [step.platform for step in chosen.compiles] == [Platform("darwin", "arm64"), Platform("windows", "amd64")]

    def test_an_unknown_target_names_the_known(self) -> None:
        with pytest.raises(RequestError, match="no target 'osx'") as raised:
            plan("osx")
        assert "osx-arm64" in raised.value.hint


class TestWriting:
    def test_an_archive_holds_the_program_alone(self, tmp_path: Path) -> None:
        written = write(tmp_path, "linux-arm64", "win-amd64")
        assert [entry.path.name for entry in written] == [
            "istioctl-1.29.0-linux-arm64.tar.gz",
            "istioctl-1.29.0-win-amd64.zip",
            "istioctl-1.29.0-win.zip",
        ]
        with tarfile.open(written[0].path) as tar:
            [member] = tar.getmembers()
            assert (member.name, member.mode, member.mtime, member.uid) == ("istioctl", 0o755, COMMITTED_AT, 0)
            content = tar.extractfile(member)
            assert content
            assert content.read() == make_elf("arm64")
        with zipfile.ZipFile(written[1].path) as zipped:
            assert zipped.namelist() == ["istioctl.exe"]
            assert zipped.read("istioctl.exe") == make_pe("amd64")
        assert written[1].path.read_bytes() == written[2].path.read_bytes()

    def test_the_sum_stands_beside_it_as_istio_writes_it(self, tmp_path: Path) -> None:
        for entry in write(tmp_path, "osx-amd64"):
            digest = hashlib.sha256(entry.path.read_bytes()).hexdigest()
            assert entry.sha256 == digest
            assert entry.path.with_name(f"{entry.path.name}.sha256").read_text() == f"{digest} {entry.path.name}\n"

    def test_the_same_inputs_give_the_same_bytes(self, tmp_path: Path) -> None:
        first, second = write(tmp_path / "a"), write(tmp_path / "b")
        assert [entry.sha256 for entry in first] == [entry.sha256 for entry in second]

    @pytest.mark.parametrize("confused", ["linux/arm64", "darwin/arm64", "windows/arm64"])
    def test_a_program_for_another_machine_is_refused(self, tmp_path: Path, confused: str) -> None:
        with pytest.raises(CompileError, match=f"should be for {confused}, but is amd64"):
            write(tmp_path, compiler=FakeCompiler(confuses=confused))

    def test_what_fails_ends_the_others(self, tmp_path: Path) -> None:
        compiler = FakeCompiler(fails_on="linux/amd64")
        with pytest.raises(CompileError, match="undefined: x"):
            write(tmp_path, compiler=compiler)
        assert len(compiler.builds) < len(plan().compiles)
        assert list((tmp_path / "archives").glob("*.partial")) == []

    def test_an_interruption_is_one(self, tmp_path: Path) -> None:
        cancellation = Cancellation()
        cancellation.set()
        with pytest.raises(Interrupted, match="archives that are there are whole"):
            write_archives(
                plan(),
                tmp_path,
                CompileContext(
                    tree=tmp_path,
                    work=tmp_path,
                    find_compiler=FakeCompiler,
                    progress=Progress(lambda event: None),
                    cancellation=cancellation.group(),
                ),
            )
