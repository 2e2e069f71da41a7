"""Adapters are put together from what was locked and asked for, and nothing is kept between two calls."""

import json
from pathlib import Path

import pytest

from builder.engine.buildx import Buildx
from builder.engine.builtin import Builtin
from builder.engine.container_compiler import ContainerCompiler
from builder.engine.either import Either
from builder.engine.late import LateEngine
from builder.errors import DiskFull, EngineError, RequestError, ToolchainError
from builder.host.go_compiler import MachineCompiler
from builder.oci.reference import ImageReference
from builder.pipeline.wiring import Adapters
from builder.plan.assembly import assembly_target
from builder.plan.lock import LockedGo
from builder.ports import Completed, GoBuild, GoCommand, ProcessFailed
from builder.runtime.cancellation import Cancellation
from tests.fakes.engine import FakeEngine
from tests.fakes.runner import Call, FakeRunner
from tests.samples.images import AMD64, make_digest, make_tar
from tests.samples.plans import image_of, load_book, make_sample_plan

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


class TestEngine:
    """Which engine assembles, and that nothing is asked of Docker before one is needed."""

    def test_one_that_is_named_is_taken(self, machine: Machine) -> None:
        assert isinstance(machine.adapters.engine_for("builtin", ""), Builtin)
        assert isinstance(machine.adapters.engine_for("buildx", ""), Buildx)
        assert machine.runner.calls == []

    def test_what_only_docker_can_do_is_told_of_the_built_in_one(self, machine: Machine) -> None:
        with pytest.raises(RequestError, match="--compile-in needs Docker, which --engine builtin does without"):
            machine.adapters.engine_for("builtin", "--compile-in")

    def test_what_only_docker_can_do_is_not_tried_without_it(self, machine: Machine) -> None:
        assert isinstance(machine.adapters.engine_for("auto", "--load"), Buildx)

    def test_one_is_made_when_something_is_to_be_assembled(self) -> None:
        made: list[FakeEngine] = []

        def make() -> FakeEngine:
            made.append(FakeEngine())
            return made[-1]

        engine = LateEngine(make)
        assert made == []
        engine.prepare()
        engine.assemble([], lambda text: None)
        assert len(made) == 1

    def test_what_it_cannot_do_is_told_before(self, machine: Machine) -> None:
        assert isinstance(machine.adapters.late_engine("builtin", ""), LateEngine)
        with pytest.raises(RequestError, match="--compile-in needs Docker, which --engine builtin does without"):
            machine.adapters.late_engine("builtin", "--compile-in")

    def test_where_no_docker_answers_the_built_in_one_assembles_and_the_run_says_so(self) -> None:
        told: list[str] = []
        docker = FakeEngine(ready=no_docker)
        either = Either(docker, Builtin(), told.append)
        either.prepare()
        either.assemble([], lambda text: None)
        assert told == ["Images are assembled without Docker: no Docker engine answers."]

    def test_where_docker_answers_it_assembles(self, tmp_path: Path) -> None:
        told: list[str] = []
        docker = FakeEngine()
        image = image_of(make_sample_plan(), "pilot-debug")
        target = assembly_target(image, image.platforms[0], tmp_path, 0)
        target.context.mkdir(parents=True)
        for name in target.layers:
            (target.context / name).write_bytes(make_tar([]))
        Either(docker, Builtin(), told.append).assemble([target], lambda text: None)
        assert docker.targets == [target]
        assert told == ["Images are assembled by Docker's buildx, which answers."]

    def test_another_failure_than_that_of_an_engine_is_no_reason_to_do_without(self) -> None:
        def fail() -> None:
            raise DiskFull("full")

        with pytest.raises(DiskFull):
            Either(FakeEngine(ready=fail), Builtin(), lambda text: None).prepare()


def no_docker() -> None:
    raise EngineError("no Docker engine answers")
