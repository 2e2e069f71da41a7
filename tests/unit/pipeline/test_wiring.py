"""Adapters are put together from what was locked and asked for, and nothing is kept between two calls."""

import json
from pathlib import Path

import pytest

from builder.engine.container_compiler import ContainerCompiler
from builder.errors import ToolchainError
from builder.host.go_compiler import MachineCompiler
from builder.oci.reference import ImageReference
from builder.pipeline.wiring import Adapters
from builder.plan.lock import LockedGo
from builder.ports import Completed, GoBuild, GoCommand, ProcessFailed
from builder.runtime.cancellation import Cancellation
from tests.fakes.runner import Call, FakeRunner
from tests.samples.images import AMD64, make_digest
from tests.samples.plans import load_book

FETCHED = Path("/modules/go1.25.3")


class Machine:
    """A machine with Go 1.26.0, which can fetch 1.25.3 and no other."""

    def __init__(self, root: Path) -> None:
        go = root / "bin" / "go"
        go.parent.mkdir(parents=True)
        go.touch(mode=0o755)
        self.go = go
        self.notes: list[str] = []
        self.runner = FakeRunner(self.answer)
        environment = {"PATH": str(go.parent), "ISTIO_BUILD_CACHE": str(root / "cache")}
        self.adapters = Adapters(environment, Cancellation(), lambda event: None)
        self.adapters.run = self.runner  # type: ignore[assignment]

    def answer(self, call: Call) -> Completed:
        if call.argv[1] == "build":
            return Completed(stdout="", stderr="")
        if call.env["GOTOOLCHAIN"] not in ("local", "go1.25.3"):
            raise ProcessFailed(call.argv, 1, "", "go: toolchain not available\n")
        version = "go1.26.0" if call.env["GOTOOLCHAIN"] == "local" else "go1.25.3"
        return Completed(stdout=json.dumps({"GOVERSION": version, "GOROOT": str(FETCHED)}), stderr="")

    def program_for(self, go: LockedGo, into: Path) -> str:
        """Which program a `go build` with this Go runs."""
        compiler = self.adapters.compiler_for(go, load_book())
        compiler.build(
            GoBuild(
                command=GoCommand(flags=(), ldflags=(), tags=(), packages=("./a",)), env=(), platform=AMD64, tree=into, into=into
            ),
            lambda line: None,
        )
        return self.runner.calls[-1].argv[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class TestCompiler:
    def test_the_machines_own_go_is_used_where_it_is_the_locked_one(self, machine: Machine, tmp_path: Path) -> None:
        assert machine.program_for(LockedGo(version="1.26.0"), tmp_path) == str(machine.go)

    def test_another_one_is_fetched_by_its_version(self, machine: Machine, tmp_path: Path) -> None:
        assert machine.program_for(LockedGo(version="1.25.3"), tmp_path) == str(FETCHED / "bin" / "go")

    def test_two_releases_of_one_run_have_two_compilers(self, machine: Machine, tmp_path: Path) -> None:
        found = [machine.program_for(LockedGo(version=version), tmp_path) for version in ("1.25.3", "1.26.0", "1.25.3")]
        assert found == [str(FETCHED / "bin" / "go"), str(machine.go), str(FETCHED / "bin" / "go")]

    def test_one_that_is_gone_is_told_with_what_to_do(self, machine: Machine, tmp_path: Path) -> None:
        with pytest.raises(ToolchainError, match=r"Go 1\.24\.0 cannot be had: toolchain not available") as raised:
            machine.program_for(LockedGo(version="1.24.0"), tmp_path)
        assert "--go machine" in raised.value.hint

    def test_an_image_compiles_in_itself(self, machine: Machine) -> None:
        image = ImageReference.parse(f"docker.io/library/golang:1.26@{make_digest('golang')}")
        assert isinstance(machine.adapters.compiler_for(LockedGo(version="", image=image), load_book()), ContainerCompiler)
        assert isinstance(machine.adapters.compiler_for(LockedGo(version="1.26.0"), load_book()), MachineCompiler)
