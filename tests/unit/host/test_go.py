"""Which Go is found, and which of its owner's settings are kept."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import ToolchainError
from builder.host.go import InstalledGo
from builder.ports import Completed, GoUnavailable, ProcessFailed
from tests.fakes.runner import Call, FakeRunner


def answering(version: str = "go1.26.8", **settings: str) -> FakeRunner:
    return FakeRunner(lambda call: Completed(stdout=json.dumps({"GOVERSION": version, **settings}), stderr=""))


@pytest.fixture
def go_on_path(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.touch(mode=0o755)
    return program


def test_the_machines_go_with_its_owners_module_settings(go_on_path: Path) -> None:
    runner = answering(GOPROXY="https://proxy.corp.example", GOPRIVATE="", GOMODCACHE="/modules")
    toolchain = InstalledGo(runner, {"PATH": str(go_on_path.parent), "GOFLAGS": "-mod=mod"}).installed()
    assert (toolchain.program, toolchain.version) == (go_on_path, "1.26.8")
    assert toolchain.settings == (("GOMODCACHE", "/modules"), ("GOPROXY", "https://proxy.corp.example"))


def test_it_is_asked_for_its_own_version_outside_any_module(go_on_path: Path) -> None:
    runner = answering()
    InstalledGo(runner, {"PATH": str(go_on_path.parent)}).installed()
    [call] = runner.calls
    assert call.env["GOTOOLCHAIN"] == "local"
    assert call.cwd is not None
    assert not (call.cwd / "go.mod").exists()


def test_a_version_with_experiments_is_read(go_on_path: Path) -> None:
    assert InstalledGo(answering("go1.25.1 X:boringcrypto"), {"PATH": str(go_on_path.parent)}).installed().version == "1.25.1"


def test_one_from_pypi_stands_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "venv" / "bin" / "go"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    assert InstalledGo(answering(), {"PATH": str(tmp_path)}).installed().program == program


def test_no_go_at_all_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("builder.host.go.USUAL_PLACE", str(tmp_path))
    with pytest.raises(ToolchainError, match="no Go compiler") as raised:
        InstalledGo(answering(), {"PATH": str(tmp_path)}).installed()
    assert "pip install 'istio-build[go]'" in raised.value.hint


def test_a_go_that_does_not_start_is_told(go_on_path: Path) -> None:
    def fail(call: Call) -> Completed:
        raise ProcessFailed(call.argv, 2, "", "runtime: out of memory")

    with pytest.raises(ToolchainError, match="does not work: runtime: out of memory"):
        InstalledGo(FakeRunner(fail), {"PATH": str(go_on_path.parent)}).installed()


class TestOthers:
    """Those that the machine's Go fetches; it is told which by GOTOOLCHAIN."""

    def go(self, go_on_path: Path, answer: Callable[[Call], Completed], **environment: str) -> tuple[InstalledGo, FakeRunner]:
        def first(call: Call) -> Completed:
            if call.env["GOTOOLCHAIN"] == "local" and call.argv[1] == "env":
                return answering(GOPROXY="https://proxy.corp.example").answer(call)
            return answer(call)

        runner = FakeRunner(first)
        return InstalledGo(runner, {"PATH": str(go_on_path.parent), "HOME": "/home/me", **environment}), runner

    def test_the_fetched_program_itself_is_used_with_the_owners_settings(self, go_on_path: Path) -> None:
        found = json.dumps({"GOVERSION": "go1.16.15", "GOROOT": "/modules/go1.16.15"})
        go, runner = self.go(go_on_path, lambda call: Completed(stdout=found, stderr=""), GOFLAGS="-buildvcs=false", GOENV="/x")
        toolchain = go.fetch("1.16.15")
        assert (toolchain.program, toolchain.version) == (Path("/modules/go1.16.15/bin/go"), "1.16.15")
        assert toolchain.settings == go.installed().settings
        env = runner.calls[-1].env
        assert env["GOTOOLCHAIN"] == "go1.16.15"
        # A Go that does not know a flag of the owner's would not even start.
        assert (env["GOENV"], env["GOPROXY"], "GOFLAGS" in env) == ("off", "https://proxy.corp.example", False)

    def test_one_that_does_not_switch_is_told(self, go_on_path: Path) -> None:
        found = json.dumps({"GOVERSION": "go1.20.14", "GOROOT": "/usr/local/go"})
        go, _ = self.go(go_on_path, lambda call: Completed(stdout=found, stderr=""))
        with pytest.raises(GoUnavailable, match=r"cannot fetch another one; Go 1\.21"):
            go.fetch("1.25.0")

    def test_all_versions_are_those_that_are_served(self, go_on_path: Path) -> None:
        go, runner = self.go(go_on_path, lambda call: Completed(stdout="go 1.2.2 1.27rc1 1.27.0\n", stderr=""))
        assert go.versions() == ("1.2.2", "1.27rc1", "1.27.0")
        assert runner.calls[-1].argv[1:] == ("list", "-m", "-versions", "go")

    def test_the_reason_is_gos_own_without_credentials(self, go_on_path: Path) -> None:
        def fail(call: Call) -> Completed:
            said = "go: download go1.25.0: reading https://me:pw@proxy/x: 403\n\tserver: no\n"
            raise ProcessFailed(call.argv, 1, "", f"go: downloading go1.25.0 (linux/amd64)\n{said}")

        go, _ = self.go(go_on_path, fail)
        with pytest.raises(GoUnavailable) as raised:
            go.fetch("1.25.0")
        assert str(raised.value) == "download go1.25.0: reading https://proxy/x: 403"
