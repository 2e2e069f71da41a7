"""Which Go is found, and which of its owner's settings are kept."""

import json
import sys
from pathlib import Path

import pytest

from builder.errors import ToolchainError
from builder.go import InstalledGo
from builder.ports import Completed, ProcessFailed
from tests.fake_runner import Call, FakeRunner


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
    toolchain = InstalledGo(runner, {"PATH": str(go_on_path.parent), "GOFLAGS": "-mod=mod"}).find()
    assert (toolchain.program, toolchain.version) == (go_on_path, "1.26.8")
    assert toolchain.settings == (("GOMODCACHE", "/modules"), ("GOPROXY", "https://proxy.corp.example"))


def test_it_is_asked_for_its_own_version_outside_any_module(go_on_path: Path) -> None:
    runner = answering()
    InstalledGo(runner, {"PATH": str(go_on_path.parent)}).find()
    [call] = runner.calls
    assert call.env["GOTOOLCHAIN"] == "local"
    assert call.cwd is not None
    assert not (call.cwd / "go.mod").exists()


def test_a_version_with_experiments_is_read(go_on_path: Path) -> None:
    assert InstalledGo(answering("go1.25.1 X:boringcrypto"), {"PATH": str(go_on_path.parent)}).find().version == "1.25.1"


def test_one_from_pypi_stands_beside_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "venv" / "bin" / "go"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(program.with_name("python")))
    assert InstalledGo(answering(), {"PATH": str(tmp_path)}).find().program == program


def test_no_go_at_all_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("builder.go.USUAL_PLACE", str(tmp_path))
    with pytest.raises(ToolchainError, match="no Go compiler") as raised:
        InstalledGo(answering(), {"PATH": str(tmp_path)}).find()
    assert "pip install 'istio-build[go]'" in raised.value.hint


def test_a_go_that_does_not_start_is_told(go_on_path: Path) -> None:
    def fail(call: Call) -> Completed:
        raise ProcessFailed(call.argv, 2, "", "runtime: out of memory")

    with pytest.raises(ToolchainError, match="does not work: runtime: out of memory"):
        InstalledGo(FakeRunner(fail), {"PATH": str(go_on_path.parent)}).find()
