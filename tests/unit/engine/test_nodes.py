"""What is read of a builder's nodes, and what is said of them. What buildx prints is quoted from 0.29.1."""

from collections.abc import Callable
from pathlib import Path

import pytest

from builder.engine.buildx import Buildx
from builder.engine.nodes import BuilderNodes, Node, misled_platforms, read_builder
from builder.errors import AssembleError, EngineError
from builder.ports import Completed, ProcessFailed
from builder.runtime.retry import RetryPolicy
from tests.fakes.runner import Call, FakeRunner

RUNNING = """\
Name:             {name}
Endpoint:         unix:///run/{name}.sock
Status:           running
BuildKit version: v0.25.2
Platforms:        {platforms}
Labels:
 org.mobyproject.buildkit.worker.executor: oci
Devices:
 Name:                  vendor.com/gpu=0
GC Policy rule#0:
 All:            false
 Filters:        type==source.local,type==exec.cachemount
File#buildkitd.toml:
 > Name: not a node
"""
DOWN = """\
Name:      {name}
Endpoint:  tcp://me:hunter2@{name}.corp.example:1234
Status:    inactive
Platforms: linux/arm64*
"""
AMD = RUNNING.format(name="amd", platforms="linux/amd64*, linux/amd64/v2, linux/arm64")
ARM = RUNNING.format(name="arm", platforms="linux/arm64*, linux/arm/v7")


def printed(*nodes: str, driver: str = "remote") -> str:
    return f"Name:          farm\nDriver:        {driver}\nLast Activity: 2026-11-25 09:14:48 +0000 UTC\n\nNodes:\n" + "\n".join(
        nodes
    )


class TestReading:
    def test_nodes_have_names_states_and_platforms(self) -> None:
        found = read_builder(printed(AMD, DOWN.format(name="arm")))
        assert found == BuilderNodes(
            name="farm",
            driver="remote",
            nodes=(
                Node(
                    name="amd",
                    endpoint="unix:///run/amd.sock",
                    status="running",
                    declared=("linux/amd64",),
                    found=("linux/amd64/v2", "linux/arm64"),
                ),
                Node(name="arm", endpoint="tcp://me:hunter2@arm.corp.example:1234", status="inactive", declared=("linux/arm64",)),
            ),
        )
        assert [node.name for node in found.not_running] == ["arm"]

    def test_a_node_in_error_is_not_running(self) -> None:
        [node] = read_builder(printed("Name: a\nEndpoint: ssh://a\nError: no such host: a\n")).not_running
        assert node.error == "no such host: a"

    def test_where_no_engine_answers_the_builder_is_still_dockers(self) -> None:
        text = "Name:          default\nDriver:        \nError:         Cannot connect to the Docker daemon at unix:///x.\n"
        found = read_builder(text)
        assert (found.is_docker, found.nodes, found.error) == (True, (), "Cannot connect to the Docker daemon at unix:///x.")


class TestMisledPlatforms:
    """Which node buildx takes is its build/driver.go: the first that was given a platform, else the first that says it can."""

    EMULATES = Node(name="amd", found=("linux/amd64", "linux/arm64"))
    NATIVE = Node(name="arm", found=("linux/arm64",))

    def test_are_those_that_a_node_emulates_before_a_native_one(self) -> None:
        assert misled_platforms([self.EMULATES, self.NATIVE]) == (("linux/arm64", self.EMULATES, self.NATIVE),)

    @pytest.mark.parametrize(
        "nodes",
        [
            [NATIVE, EMULATES],
            [EMULATES],
            [Node(name="amd", found=("linux/amd64",)), NATIVE],
            [EMULATES, Node(name="arm", declared=("linux/arm64",), found=("linux/arm/v7",))],
            [EMULATES, Node(name="arm")],
        ],
    )
    def test_are_none_where_each_node_gets_its_own(self, nodes: list[Node]) -> None:
        assert misled_platforms(nodes) == ()


class Farm:
    """A buildx whose builder is in one state after the other, the last of them for good."""

    def __init__(self, tmp_path: Path, *states: str, bootstrap: str = "", bake: str = "") -> None:
        plugin = tmp_path / "docker" / "cli-plugins" / "docker-buildx"
        plugin.parent.mkdir(parents=True)
        plugin.touch(mode=0o755)
        self.states = list(states)
        self.errors = {"--bootstrap": bootstrap, "bake": bake}
        self.runner = FakeRunner(self.answer)
        self.warnings: list[str] = []
        environment = {"DOCKER_CONFIG": str(tmp_path / "docker"), "PATH": ""}
        retry = RetryPolicy(sleep=lambda _: None)
        self.engine = Buildx(self.runner, environment, self.refuse, retry, "farm", self.warnings.append)

    @staticmethod
    def refuse() -> None:
        raise AssertionError("no Docker engine is to be asked")

    def answer(self, call: Call) -> Completed:
        if call.argv[1] == "version":
            return Completed(stdout="v0.29.1", stderr="")
        kind = "--bootstrap" if "--bootstrap" in call.argv else call.argv[1]
        if self.errors.get(kind):
            raise ProcessFailed(call.argv, 1, "", self.errors[kind])
        if kind == "inspect":
            return Completed(stdout=self.states.pop(0) if len(self.states) > 1 else self.states[0], stderr="")
        return Completed(stdout="", stderr="")

    def words(self) -> list[str]:
        return [" ".join(call.argv[1:]) for call in self.runner.calls]

    def failure(self, do: Callable[[], None]) -> EngineError:
        with pytest.raises(EngineError) as raised:
            do()
        return raised.value


class TestTheBuilder:
    def test_whose_nodes_all_run_is_asked_once_and_nothing_else_is(self, tmp_path: Path) -> None:
        farm = Farm(tmp_path, printed(AMD, ARM))
        farm.engine.prepare()
        assert farm.words() == ["version", "inspect farm"]
        assert farm.warnings == []

    def test_of_which_a_remote_node_is_down_is_not_waited_for(self, tmp_path: Path) -> None:
        farm = Farm(tmp_path, printed(AMD, DOWN.format(name="arm")))
        error = farm.failure(farm.engine.prepare)
        assert error.message == "builder farm: a node does not answer [arm (tcp://arm.corp.example:1234): inactive]"
        assert "docker buildx create --name farm --node arm --leave" in error.hint
        assert farm.words() == ["version", "inspect farm"]

    def test_of_another_driver_is_started(self, tmp_path: Path) -> None:
        down = printed(DOWN.format(name="amd"), driver="kubernetes")
        farm = Farm(tmp_path, down, printed(AMD, driver="kubernetes"))
        farm.engine.prepare()
        assert farm.words()[1:] == ["inspect farm", "inspect --bootstrap farm", "inspect farm"]

    def test_that_cannot_be_started_says_why_and_where(self, tmp_path: Path) -> None:
        why = "#1 [internal] booting buildkit\nERROR: expected 1 replicas to be ready, got 0"
        farm = Farm(tmp_path, printed(DOWN.format(name="a"), DOWN.format(name="b"), driver="kubernetes"), bootstrap=why)
        error = farm.failure(farm.engine.prepare)
        assert error.message == (
            "builder farm: nodes do not answer: expected 1 replicas to be ready, got 0 "
            "[a (tcp://a.corp.example:1234): inactive; b (tcp://b.corp.example:1234): inactive]"
        )

    def test_that_cannot_even_list_its_nodes_is_named(self, tmp_path: Path) -> None:
        farm = Farm(tmp_path, "Name: farm\nDriver: kubernetes\nError: cannot determine Kubernetes namespace\n")
        assert farm.failure(farm.engine.prepare).message == "builder farm cannot be used: cannot determine Kubernetes namespace"

    def test_that_would_leave_a_native_node_idle_is_told(self, tmp_path: Path) -> None:
        amd = RUNNING.format(name="amd", platforms="linux/amd64, linux/arm64")
        farm = Farm(tmp_path, printed(amd, RUNNING.format(name="arm", platforms="linux/arm64")))
        farm.engine.prepare()
        [told] = farm.warnings
        assert "does linux/arm64 on its node amd, which emulates it, and not on arm" in told


class TestABuildThatFails:
    def test_because_a_node_went_away_names_it(self, tmp_path: Path) -> None:
        cause = "ERROR: context deadline exceeded"
        farm = Farm(tmp_path, printed(AMD, ARM), printed(AMD, DOWN.format(name="arm")), bake=cause)
        error = farm.failure(lambda: farm.engine.assemble([], lambda _: None))
        assert "context deadline exceeded [arm (tcp://arm.corp.example:1234): inactive]" in error.message

    @pytest.mark.parametrize(
        "cause", ["ERROR: the cause", 'ERROR: process "go build" did not complete successfully: exit code: 1']
    )
    def test_for_another_reason_says_that(self, tmp_path: Path, cause: str) -> None:
        farm = Farm(tmp_path, printed(AMD, ARM), bake=cause)
        with pytest.raises(AssembleError, match=cause.removeprefix("ERROR: ")):
            farm.engine.assemble([], lambda _: None)
