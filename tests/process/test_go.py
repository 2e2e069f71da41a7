"""What the go command really says and does."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from builder.build.compile import compile_step
from builder.host.go import InstalledGo
from builder.host.go_compiler import MachineCompiler
from builder.host.process import SubprocessRunner
from builder.plan.model import CompileStep
from builder.ports import GoBuild, GoToolchain, GoUnavailable
from builder.runtime.cancellation import Cancellation
from tests.samples.plans import make_sample_plan


def test_what_gos_own_refusal_says(go: Path, tmp_path: Path) -> None:
    """The hints go by these words of the go command."""
    environment = {**os.environ, "GOPROXY": "off", "GOMODCACHE": str(tmp_path)}
    real = InstalledGo(SubprocessRunner(Cancellation()), environment)
    with pytest.raises(GoUnavailable, match="toolchain not available"):
        real.fetch("1.21.1")
    with pytest.raises(GoUnavailable, match="GOPROXY=off"):
        real.versions()


def compile_of(program: str) -> CompileStep:
    return next(step for step in make_sample_plan().compiles if program in step.programs)


@dataclass
class Builds:
    """Builds istioctl and pilot-discovery of the sample tree, again and again in one place."""

    compiler: MachineCompiler
    tree: Path
    into: Path
    count: int = 0
    step: CompileStep = field(default_factory=lambda: compile_of("pilot-discovery"))

    def build(self, build: GoBuild, on_line: Callable[[str], None]) -> None:
        self.count += 1
        self.compiler.build(build, on_line)

    def run(self, hub: str = "docker.io/me") -> Path:
        """Gives where pilot-discovery is."""
        ldflags = (*self.step.command.ldflags, "-X", f"istio.io/istio/pkg/version.buildHub={hub}")
        step = replace(self.step, command=replace(self.step.command, ldflags=ldflags))
        return compile_step(step, tree=self.tree, into=self.into, compiler=self, on_line=lambda _: None)["pilot-discovery"]


@pytest.fixture(params=["here", "/dev/shm"])
def builds(request: pytest.FixtureRequest, go: Path, source: Path, tmp_path: Path) -> Builds:
    """Go works here, or on another file system: from there it copies a program over the one that is there."""
    scratch = tmp_path if request.param == "here" else Path(request.param)
    if not scratch.is_dir():
        pytest.skip(f"there is no {scratch}")
    environment = {**os.environ, "TMPDIR": str(scratch)}
    compiler = MachineCompiler(GoToolchain(program=go, version="", settings=()), environment, SubprocessRunner(Cancellation()))
    return Builds(compiler, source, tmp_path / "out")


def test_what_is_up_to_date_is_left_alone_and_what_is_not_is_linked(builds: Builds) -> None:
    first = builds.run().read_bytes()
    assert builds.run().read_bytes() == first
    other = builds.run("docker.io/we").read_bytes()
    assert other != first
    assert builds.run().read_bytes() == first
    # None of this was done twice.
    assert builds.count == 4


@pytest.mark.parametrize("place", [20, 5_000, 100_000, -1000])
def test_a_program_that_was_damaged_since_is_linked_anew(builds: Builds, place: int) -> None:
    path = builds.run()
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[place] ^= 1
    path.write_bytes(damaged)
    assert builds.run().read_bytes() == whole
