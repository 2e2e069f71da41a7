"""How buildx is called, and how its failures are explained. What it really prints is quoted from buildx 0.29.1."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from builder.engine.bake import bake_definition
from builder.engine.buildx import Buildx, find_plugin
from builder.engine.nodes import BuilderNodes
from builder.errors import AssembleError, BaseImageError, BuilderError, EngineError
from builder.oci.image_config import AddedConfig
from builder.oci.reference import Platform
from builder.ports import AssemblyTarget, Completed, ProcessFailed
from builder.runtime.retry import RetryPolicy
from tests.fakes.runner import Call, FakeRunner

INSPECT = "Name:          default\nDriver:        docker\n\nNodes:\nName: default\n"


RETRY = RetryPolicy(sleep=lambda _: None)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    plugin = tmp_path / "docker" / "cli-plugins" / "docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.touch(mode=0o755)
    return {"DOCKER_CONFIG": str(tmp_path / "docker"), "PATH": "", "DOCKER_HOST": "unix:///there.sock"}


@pytest.fixture
def target(tmp_path: Path) -> AssemblyTarget:
    return AssemblyTarget(
        name="pilot-debug-linux_arm64",
        platform=Platform("linux", "arm64"),
        base=None,
        layers=(),
        config=AddedConfig(env=(("A", "${B} %{c}"),)),
        dockerfile='FROM scratch\nENV A="${B} %{c}"\n',
        context=tmp_path,
        destination=tmp_path / "out",
        source_date_epoch=1_700_000_000,
    )


def runner(
    version: str = "github.com/docker/buildx v0.29.1 abc", inspect: str = INSPECT, errors: Sequence[str] = ()
) -> FakeRunner:
    """A buildx that fails with each of `errors` in turn, then goes well."""
    failures = list(errors)

    def answer(call: Call) -> Completed:
        match call.argv[1]:
            case "version":
                return Completed(stdout=version, stderr="")
            case "inspect":
                return Completed(stdout=inspect, stderr="")
            case "ls":
                return Completed(stdout='{"Name":"default"}\n{"Name":"farm"}\n', stderr="")
        if failures:
            raise ProcessFailed(call.argv, 1, "", failures.pop(0))
        return Completed(stdout="", stderr="")

    return FakeRunner(answer)


def failing(error: str, times: int = 99) -> FakeRunner:
    """A buildx whose log lines reach the reader before it fails, as they do."""
    made = runner()
    answer = made.answer
    left = [times]

    class Failing(FakeRunner):
        def run(self, argv: Sequence[str], *, on_line: Callable[[str], None] | None = None, **more: object) -> Completed:
            if argv[1] == "bake" and left[0]:
                left[0] -= 1
                self.calls.append(Call(argv=tuple(argv), cwd=None, env={}, stdin=""))
                for line in error.splitlines():
                    assert on_line is not None
                    on_line(line)
                raise ProcessFailed(argv, 1, "", error)
            return super().run(argv, on_line=on_line, **more)  # type: ignore[arg-type]

    return Failing(answer)


def bakes(fake: FakeRunner) -> list[Call]:
    return [call for call in fake.calls if call.argv[1] == "bake"]


def explain(fake: FakeRunner, environment: dict[str, str], target: AssemblyTarget) -> BuilderError:
    with pytest.raises(BuilderError) as raised:
        Buildx(fake, environment, lambda: None, RETRY).assemble([target], lambda text: None)
    return raised.value


def test_it_is_fed_the_definition_and_told_which_engine(environment: dict[str, str], target: AssemblyTarget) -> None:
    fake = runner()
    Buildx(fake, environment, lambda: None, RETRY, builder="farm").assemble([target], lambda text: None)
    [call] = bakes(fake)
    assert call.argv[1:] == ("bake", "--file", "-", "--progress", "rawjson", "--builder", "farm")
    assert json.loads(call.stdin) == bake_definition([target])
    assert call.env["DOCKER_HOST"] == "unix:///there.sock"


def test_a_definition_escapes_what_bake_takes_for_templates(target: AssemblyTarget) -> None:
    [made] = bake_definition([target])["target"].values()
    assert made["dockerfile-inline"] == 'FROM scratch\nENV A="$${B} %%{c}"\n'
    assert made["args"] == {"SOURCE_DATE_EPOCH": "1700000000"}
    assert made["platforms"] == ["linux/arm64"]


def test_paths_with_commas_and_dollars_reach_buildx_as_they_are(target: AssemblyTarget) -> None:
    odd = replace(target, context=Path("/a${b"), destination=Path("/c,d"))
    [made] = bake_definition([odd])["target"].values()
    assert made["context"] == "/a$${b"
    assert made["output"] == ['type=oci,tar=false,oci-mediatypes=true,compression=zstd,compression-level=1,"dest=/c,d"']


def test_it_is_prepared_once_for_many_images(environment: dict[str, str], target: AssemblyTarget) -> None:
    fake = runner()
    asked: list[str] = []
    engine = Buildx(fake, environment, lambda: asked.append("engine"), RETRY)
    engine.prepare()
    engine.assemble([target], lambda text: None)
    engine.assemble([target], lambda text: None)
    assert [call.argv[1] for call in fake.calls] == ["version", "inspect", "bake", "bake"]
    assert asked == ["engine"]


def test_a_builder_of_its_own_driver_needs_no_image_store(environment: dict[str, str]) -> None:
    def refuse() -> None:
        raise AssertionError("the engine's image store does not matter here")

    Buildx(runner(inspect="Name: farm\nDriver:        docker-container\n"), environment, refuse, RETRY, builder="farm").prepare()


def test_no_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.engine.buildx.PLUGIN_FOLDERS", ())
    with pytest.raises(EngineError, match="buildx is not installed"):
        find_plugin({"DOCKER_CONFIG": str(tmp_path), "PATH": str(tmp_path)})


def test_a_plugin_that_is_too_old(environment: dict[str, str]) -> None:
    with pytest.raises(EngineError, match=r"buildx v0\.11\.2 is too old"):
        Buildx(runner(version="github.com/docker/buildx v0.11.2 9872040"), environment, lambda: None, RETRY).prepare()


def test_an_unknown_builder_names_the_known_ones(environment: dict[str, str]) -> None:
    def answer(call: Call) -> Completed:
        if call.argv[1] == "inspect":
            raise ProcessFailed(call.argv, 1, "", 'ERROR: no builder "nope" found')
        return runner().answer(call)

    with pytest.raises(EngineError, match='no builder "nope" found') as raised:
        Buildx(FakeRunner(answer), environment, lambda: None, RETRY, builder="nope").prepare()
    assert "Known builders: default, farm" in raised.value.hint


class TestFailures:
    def test_a_temporary_one_is_tried_again(self, environment: dict[str, str], target: AssemblyTarget) -> None:
        fake = failing("ERROR: failed to solve: Unavailable: connection reset by peer", times=2)
        waits: list[float] = []
        Buildx(fake, environment, lambda: None, RetryPolicy(attempts=4, sleep=waits.append)).assemble([target], lambda text: None)
        assert len(bakes(fake)) == 3
        assert len(waits) == 2

    def test_a_lasting_one_is_not(self, environment: dict[str, str], target: AssemblyTarget) -> None:
        fake = failing('ERROR: failed to solve: failed to compute cache key: "/1-x.tar": not found')
        error = explain(fake, environment, target)
        assert isinstance(error, AssembleError)
        assert "/1-x.tar" in error.message
        assert len(bakes(fake)) == 1

    def test_the_cause_is_the_last_error_line_and_json_lines_are_progress(
        self, environment: dict[str, str], target: AssemblyTarget
    ) -> None:
        vertex = {"vertexes": [{"name": "[1/2] FROM x", "started": "2026-01-01T00:00:00Z"}]}
        lines = [json.dumps(vertex), "Dockerfile:2", "ERROR: context canceled", "ERROR: failed to solve: the cause"]
        seen: list[str] = []
        with pytest.raises(AssembleError, match="the cause"):
            Buildx(failing("\n".join(lines)), environment, lambda: None, RETRY).assemble([target], seen.append)
        assert seen == ["[1/2] FROM x"]

    @pytest.mark.parametrize(
        ("line", "kind"),
        [
            ("failed to solve: r/base:1: failed to resolve source metadata for r/base:1: r/base:1: not found", BaseImageError),
            ("OCI exporter is not supported for the docker driver.", EngineError),
            ("Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?", EngineError),
            ("process did not complete successfully: exit code: 1", AssembleError),
        ],
    )
    def test_each_kind_has_its_own_error(
        self, environment: dict[str, str], target: AssemblyTarget, line: str, kind: type[BuilderError]
    ) -> None:
        assert type(explain(failing(f"ERROR: {line}"), environment, target)) is kind

    def test_an_image_without_a_nodes_platform_says_which_image_that_is(
        self, environment: dict[str, str], target: AssemblyTarget
    ) -> None:
        cause = "r/go:1: failed to resolve source metadata for r/go:1: no match for platform in manifest: not found"
        error = explain(failing(f"ERROR: failed to solve: {cause}"), environment, target)
        assert isinstance(error, BaseImageError)
        assert "an image lacks the platform of the node that needs it: failed to solve: r/go:1" in error.message
        assert "--compile-in" in error.hint


def test_a_context_that_is_not_there_is_named(environment: dict[str, str]) -> None:
    """What buildx 0.29.1 prints for DOCKER_CONTEXT=nowhere; DOCKER_HOST would be before it."""

    def answer(call: Call) -> Completed:
        if call.argv[1] == "inspect":
            raise ProcessFailed(call.argv, 1, "", 'ERROR: no builder "nowhere" found')
        return runner().answer(call)

    del environment["DOCKER_HOST"]
    buildx = Buildx(FakeRunner(answer), {**environment, "DOCKER_CONTEXT": "nowhere"}, lambda: None, RETRY)
    with pytest.raises(EngineError, match=r"the context 'nowhere' \(DOCKER_CONTEXT\)") as raised:
        buildx.prepare()
    assert "docker context ls" in raised.value.hint


class TestLooking:
    """What is found out of a builder before a run."""

    STOPPED = "Name:   farm\nDriver: docker-container\n\nNodes:\nName:     arm\nEndpoint: ssh://me@arm\nStatus:   inactive\n"

    def look(self, environment: dict[str, str], inspect: str) -> tuple[BuilderNodes, FakeRunner]:
        run = runner(inspect=inspect)
        return Buildx(run, environment, lambda: None, RETRY).look(), run

    def test_a_node_that_would_be_started_is_not(self, environment: dict[str, str]) -> None:
        found, run = self.look(environment, self.STOPPED)
        assert [node.name for node in found.not_running] == ["arm"]
        assert not any("--bootstrap" in call.argv for call in run.calls)

    def test_one_that_cannot_be_started_is_an_error(self, environment: dict[str, str]) -> None:
        with pytest.raises(EngineError, match="does not answer"):
            self.look(environment, self.STOPPED.replace("docker-container", "remote"))

    def test_the_docker_engine_has_to_be_able_to_do_it(self, environment: dict[str, str]) -> None:
        def refuse() -> None:
            raise EngineError("its image store cannot")

        with pytest.raises(EngineError, match="its image store cannot"):
            Buildx(runner(), environment, refuse, RETRY).look()
        assert Buildx(runner(), environment, lambda: None, RETRY).look().is_docker
