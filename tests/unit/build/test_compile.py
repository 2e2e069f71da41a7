"""How `go build` is called, that nothing of the machine gets into it, and what is said where it fails."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from builder.build.compile import check_executable, compile_step
from builder.errors import BuilderError, CompileError, ToolchainError
from builder.host.go_compiler import MachineCompiler, compiler_environment
from builder.plan.model import CompileStep
from builder.ports import Completed, GoBuild, GoToolchain, ProcessFailed
from builder.runtime.atomic_file import sum_file
from builder.runtime.extracted_file import is_intact
from tests.fakes.runner import Call, FakeRunner, go_build
from tests.samples.images import AMD64, ARM64
from tests.samples.plans import make_sample_plan
from tests.samples.programs import make_elf

STEPS = {step.key: step for step in make_sample_plan().compiles}
STEP = STEPS["linux_arm64/standard"]
BUILD = GoBuild(command=STEP.command, env=STEP.env, platform=STEP.platform, tree=Path("/src"), into=Path("/out"))
TOOLCHAIN = GoToolchain(
    program=Path("/usr/local/go/bin/go"),
    version="1.26.0",
    settings=(("GOMODCACHE", "/modules"), ("GOPROXY", "https://proxy.corp.example")),
)
MACHINE = {
    "PATH": "/usr/bin",
    "HOME": "/home/me",
    "GOFLAGS": "-mod=mod",
    "GOOS": "windows",
    "GOARCH": "386",
    "GOAMD64": "v4",
    "GOPROXY": "https://elsewhere.example",
    "GOEXPERIMENT": "boringcrypto",
    "GOTOOLCHAIN": "auto",
    "GODEBUG": "x=1",
    "GOROOT": "/other",
    "GOSOMETHING_NEW": "1",
    "GO111MODULE": "off",
    "GOWORK": "/home/me/go.work",
    "CGO_ENABLED": "1",
    "CGO_CFLAGS": "-march=native",
    "CGO_LDFLAGS": "-L/home/me",
    "BUILD_WITH_CONTAINER": "1",
}


def build(answer: Callable[[Call], Completed], into: Path, step: CompileStep = STEP, tree: Path = Path("/src")) -> FakeRunner:
    runner = FakeRunner(answer)
    compiler = MachineCompiler(TOOLCHAIN, MACHINE, runner)
    compile_step(step, tree=tree, into=into, compiler=compiler, on_line=lambda line: None)
    return runner


def failing(stderr: str, returncode: int = 1) -> Callable[[Call], Completed]:
    def answer(call: Call) -> Completed:
        raise ProcessFailed(call.argv, returncode, "", stderr)

    return answer


class TestTheCall:
    def test_builds_all_mains_at_once_into_the_directory(self, tmp_path: Path) -> None:
        [call] = build(go_build, tmp_path / "out").calls
        assert call.argv[:5] == (str(TOOLCHAIN.program), "build", "-o", f"{tmp_path / 'out'}/", "-trimpath")
        assert call.argv[4:] == (*STEP.command.options, *STEP.command.packages)
        assert call.argv[-2:] == ("./istioctl/cmd/istioctl", "./pilot/cmd/pilot-discovery")
        assert call.cwd == Path("/src")

    def test_gives_each_programs_path(self, tmp_path: Path) -> None:
        programs = compile_step(
            STEP,
            tree=Path("/src"),
            into=tmp_path,
            compiler=MachineCompiler(TOOLCHAIN, {}, FakeRunner(go_build)),
            on_line=lambda line: None,
        )
        assert programs == {name: tmp_path / name for name in ("istioctl", "pilot-discovery")}

    def test_shows_what_go_says_meanwhile(self, tmp_path: Path) -> None:
        def answer(call: Call) -> Completed:
            return Completed(stdout=go_build(call).stdout, stderr="go: downloading k8s.io/api v0.35.0\n")

        lines: list[str] = []
        compile_step(
            STEP,
            tree=tmp_path,
            into=tmp_path,
            compiler=MachineCompiler(TOOLCHAIN, {}, FakeRunner(answer)),
            on_line=lines.append,
        )
        assert lines == ["go: downloading k8s.io/api v0.35.0"]


@dataclass
class Go:
    """As Go: what has the build ID of what it would link is left alone, and only its time is set.

    It writes into the file that is there, as Go does where its temporary directory is on another file system.
    """

    revision: str = "1"
    linked: list[str] = field(default_factory=list)

    def __call__(self, call: Call) -> Completed:
        into = Path(call.argv[call.argv.index("-o") + 1])
        for package in (word for word in call.argv if word.startswith("./")):
            path = into / Path(package).name
            if path.exists() and self._build_id() in path.read_bytes()[:4096]:
                os.utime(path)
            else:
                path.write_bytes(self.program())
                self.linked.append(path.name)
        return Completed(stdout="", stderr="")

    def program(self) -> bytes:
        return make_elf("arm64") + self._build_id() + bytes(100_000) + f"all of {self.revision}".encode()

    def _build_id(self) -> bytes:
        return f"build ID {self.revision};".encode()


class TestWhatIsThereAlready:
    @pytest.fixture
    def into(self, tmp_path: Path) -> Path:
        return tmp_path / "out"

    @pytest.fixture
    def go(self, into: Path) -> Go:
        """It has built everything once."""
        go = Go()
        build(go, into)
        go.linked.clear()
        return go

    def check(self, go: Go, into: Path) -> None:
        """All programs are whole, and known as that."""
        for name in ("istioctl", "pilot-discovery"):
            assert (into / name).read_bytes() == go.program()
            assert is_intact(into / name)

    def test_is_left_alone_where_it_is_up_to_date(self, into: Path, go: Go) -> None:
        assert len(build(go, into).calls) == 1
        assert go.linked == []
        self.check(go, into)

    def test_is_not_even_read_where_it_is_linked_anew(self, into: Path, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
        summed: list[bytes] = []

        def sum_and_note(path: Path) -> str:
            summed.append(path.read_bytes())
            return sum_file(path)

        monkeypatch.setattr("builder.runtime.extracted_file.sum_file", sum_and_note)
        monkeypatch.setattr("builder.runtime.atomic_file.sum_file", sum_and_note)
        go.revision = "2"
        assert len(build(go, into).calls) == 1
        assert go.linked == ["istioctl", "pilot-discovery"]
        assert summed == [go.program()] * 2
        self.check(go, into)

    @pytest.mark.parametrize("place", [5, 17, 200, 50_000, -1])
    def test_is_linked_anew_where_it_was_damaged_since(self, into: Path, go: Go, place: int) -> None:
        """Go would take it for up to date by the build ID near its beginning."""
        damaged = bytearray(go.program())
        damaged[place] ^= 4
        (into / "pilot-discovery").write_bytes(damaged)
        build(go, into)
        assert go.linked == ["pilot-discovery"]
        self.check(go, into)

    @pytest.mark.parametrize("size", [0, 40, 5000, 100_000])
    def test_is_linked_anew_where_it_was_cut_off_since(self, into: Path, go: Go, size: int) -> None:
        (into / "pilot-discovery").write_bytes(go.program()[:size])
        build(go, into)
        assert go.linked == ["pilot-discovery"]
        self.check(go, into)

    def test_is_linked_anew_where_nobody_has_summed_it(self, into: Path, go: Go) -> None:
        (into / "istioctl.sum").unlink()
        build(go, into)
        assert go.linked == ["istioctl"]
        self.check(go, into)

    def test_is_linked_anew_where_a_run_was_ended_before_it_was_summed(self, into: Path, go: Go) -> None:
        go.revision = "2"
        for name in ("istioctl", "pilot-discovery"):
            (into / name).write_bytes(go.program())
        build(go, into)
        assert go.linked == ["istioctl", "pilot-discovery"]
        self.check(go, into)

    def test_may_be_damaged_where_it_is_linked_anew_in_any_case(self, into: Path, go: Go) -> None:
        (into / "istioctl").write_bytes(go.program()[:-1] + b"!")
        go.revision = "2"
        assert len(build(go, into).calls) == 1
        self.check(go, into)

    def test_that_is_damaged_and_cannot_be_built_is_gone(self, into: Path, go: Go) -> None:
        """What fails is the second build, the first having left it alone."""
        (into / "istioctl").write_bytes(go.program()[:-1] + b"!")
        answers: Iterator[Callable[[Call], Completed]] = iter([go, failing("killed")])
        with pytest.raises(CompileError):
            build(lambda call: next(answers)(call), into)
        assert not (into / "istioctl").exists()
        build(go, into)
        self.check(go, into)


class TestAfterAnInterruption:
    def test_programs_are_linked_anew(self, tmp_path: Path) -> None:
        """Go would take one that was cut off for up to date, by the build ID near its beginning."""
        into = tmp_path / "out"
        build(go_build, into)
        with pytest.raises(CompileError):
            build(failing("interrupted"), into)
        (into / "pilot-discovery").write_bytes(make_elf("arm64")[:40])
        there: list[bool] = []

        def answer(call: Call) -> Completed:
            there.append((into / "pilot-discovery").exists())
            return go_build(call)

        build(answer, into)
        build(answer, into)
        assert there == [False, True]


class TestTheEnvironment:
    def test_nothing_of_the_machine_speaks_to_go_or_c(self) -> None:
        env = compiler_environment(BUILD, TOOLCHAIN, MACHINE)
        decided = {**dict(TOOLCHAIN.settings), **dict(STEP.env)}
        of_go = {name: value for name, value in env.items() if name.startswith(("GO", "CGO_", "BUILD_"))}
        # How often garbage is collected decides nothing about what is built.
        of_go.pop("GOGC")
        assert of_go == decided
        assert (env["PATH"], env["HOME"]) == ("/usr/bin", "/home/me")

    def test_two_machines_differ_in_nothing_that_decides_bytes(self) -> None:
        one = compiler_environment(BUILD, TOOLCHAIN, MACHINE)
        other = compiler_environment(BUILD, TOOLCHAIN, {"PATH": "/usr/bin", "HOME": "/home/me"})
        assert one == other

    def test_the_plan_has_the_last_word(self) -> None:
        stubborn = GoToolchain(program=Path("go"), version="1.26.0", settings=(("GOOS", "plan9"), ("CGO_ENABLED", "1")))
        env = compiler_environment(BUILD, stubborn, MACHINE)
        assert (env["GOOS"], env["GOARCH"], env["CGO_ENABLED"]) == ("linux", "arm64", "0")

    def test_how_much_of_the_machine_go_may_use_is_the_callers(self) -> None:
        limits = {"GOMAXPROCS": "1", "GOMEMLIMIT": "1GiB", "GOGC": "50", "GOTMPDIR": "/scratch"}
        env = compiler_environment(BUILD, TOOLCHAIN, {**MACHINE, **limits})
        assert {name: env[name] for name in limits} == limits


class TestCgo:
    STEP = replace(STEP, env=(*STEP.env, ("CC", "aarch64-linux-gnu-gcc")))

    def test_without_a_c_compiler_for_the_platform_nothing_is_started(self, tmp_path: Path) -> None:
        runner = FakeRunner(go_build)
        compiler = MachineCompiler(TOOLCHAIN, {"PATH": str(tmp_path)}, runner)
        with pytest.raises(ToolchainError, match="C compiler for linux/arm64, and there is no aarch64-linux-gnu-gcc") as raised:
            compile_step(self.STEP, tree=tmp_path, into=tmp_path / "out", compiler=compiler, on_line=lambda line: None)
        assert "gcc-aarch64-linux-gnu" in raised.value.hint
        assert "--go-env CC_linux_arm64=" in raised.value.hint
        assert runner.calls == []

    def test_with_one_it_goes_on(self, tmp_path: Path) -> None:
        (tmp_path / "aarch64-linux-gnu-gcc").touch(mode=0o755)
        compiler = MachineCompiler(TOOLCHAIN, {"PATH": str(tmp_path)}, FakeRunner(go_build))
        compile_step(self.STEP, tree=tmp_path, into=tmp_path / "out", compiler=compiler, on_line=lambda line: None)


class TestWhatComesOut:
    @pytest.mark.parametrize(
        ("content", "found"),
        [
            (make_elf("amd64"), "is amd64"),
            (make_elf("386"), "is EM_386"),
            (make_elf("arm64")[:30], "is malformed ELF"),
            (b"#!/bin/sh\n", "is no ELF program at all"),
            (b"", "is no ELF program at all"),
        ],
    )
    def test_a_program_for_another_platform_is_refused(self, tmp_path: Path, content: bytes, found: str) -> None:
        def answer(call: Call) -> Completed:
            done = go_build(call)
            (tmp_path / "pilot-discovery").write_bytes(content)
            return done

        with pytest.raises(CompileError, match=f"pilot-discovery should be for linux/arm64, but {found}") as raised:
            build(answer, tmp_path)
        assert "exec format error" in raised.value.hint

    def test_a_program_that_is_missing_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(CompileError, match="istioctl for linux/arm64 was not built: No such file"):
            build(lambda call: Completed(stdout="", stderr=""), tmp_path)

    def test_both_platforms_pass_with_their_own(self, tmp_path: Path) -> None:
        for platform in (AMD64, ARM64):
            path = tmp_path / platform.slug
            path.write_bytes(make_elf(platform.architecture))
            check_executable(path, platform)


class TestFailures:
    def fail(self, tmp_path: Path, stderr: str, returncode: int = 1) -> BuilderError:
        with pytest.raises(BuilderError) as raised:
            build(failing(stderr, returncode), tmp_path)
        return raised.value

    def test_show_what_go_said_without_its_downloads(self, tmp_path: Path) -> None:
        error = self.fail(tmp_path, "go: downloading a v1\n# istio.io/istio/pilot\npilot/x.go:3:2: undefined: y\n")
        assert isinstance(error, CompileError)
        assert error.message == (
            "go build for linux/arm64 (istioctl, pilot-discovery) failed:\n# istio.io/istio/pilot\npilot/x.go:3:2: undefined: y"
        )
        assert "cd /src && GOOS=linux GOARCH=arm64 go build" in error.hint

    def test_show_the_end_of_long_output(self, tmp_path: Path) -> None:
        error = self.fail(tmp_path, "\n".join(f"line {number}" for number in range(1000)))
        assert error.message.splitlines()[1:] == [f"line {number}" for number in range(970, 1000)]

    @pytest.mark.parametrize(
        ("stderr", "returncode"),
        [("pilot: /usr/local/go/pkg/tool/linux_amd64/link: signal: killed\n", 1), ("", -9), ("", 137)],
    )
    def test_for_lack_of_memory_say_so(self, tmp_path: Path, stderr: str, returncode: int) -> None:
        assert "memory" in self.fail(tmp_path, stderr, returncode).hint

    @pytest.mark.parametrize(
        "stderr",
        [
            'go: a@v1: Get "https://proxy": dial tcp: lookup proxy: no such host',
            "go: a@v1: reading https://proxy/a/@v/v1.mod: 404 Not Found",
        ],
    )
    def test_for_lack_of_a_module_say_so(self, tmp_path: Path, stderr: str) -> None:
        assert "GOPROXY" in self.fail(tmp_path, stderr).hint

    def test_of_a_go_that_does_not_start_are_the_toolchains(self, tmp_path: Path) -> None:
        assert isinstance(self.fail(tmp_path, "no such file", 127), ToolchainError)


def test_a_module_that_cannot_be_had_is_told_once(tmp_path: Path) -> None:
    """Go says it at each import: of a release whose `istio.io/api` is refused some hundred times."""
    refused = "istio.io/api@v1.29.2-0.2026: reading https://proxy.corp.example/istio.io/api/@v/v1.29.2-0.2026.zip: 403 Forbidden"
    reason = "\tserver response: This module version is not available."
    other = refused.replace("istio.io/api", "istio.io/client-go")
    stderr = "".join(f"pkg/config/a.go:{line}:2: {module}\n{reason}\n" for line in range(40) for module in (refused, other))
    with pytest.raises(CompileError) as raised:
        build(failing(f"go: downloading x v1\n{stderr}"), tmp_path)
    assert raised.value.message.splitlines()[1:] == [refused, reason, other, reason]
    assert "check GOPROXY" in raised.value.hint


def test_what_else_go_says_is_told_as_it_is(tmp_path: Path) -> None:
    said = "# istio.io/istio/pkg\npkg/a.go:7:2: cannot use x (variable of type int) as string value:\n\thave int\n\twant string"
    with pytest.raises(CompileError) as raised:
        build(failing(said), tmp_path)
    assert raised.value.message.partition("\n")[2] == said
