"""tools/with-engine, beside an engine script that does as the test says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

ENGINE = """\
#!/bin/sh
echo "$1" >>"$(dirname "$0")/calls"
case $1 in
status) test -e "$(dirname "$0")/is-up" ;;
up)
    if test -e "$(dirname "$0")/cannot"; then
        echo 'engine: no Docker engine answers, and only root can start one' >&2
        echo 'engine: failed: tools/engine down removes what was started' >&2
        exit 1
    fi
    ;;
go) echo /false/go/bin ;;
registries) echo /false/registries ;;
env) echo "export ISTIO_BUILD_TEST_REGISTRY=127.0.0.1:5" ;;
esac
"""
ASK = 'echo "registry=${ISTIO_BUILD_TEST_REGISTRY:-} reason=${ISTIO_BUILD_NO_ENGINE:-}"'


class Tools:
    """A directory with with-engine and the false engine; files in it say how that one does."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        shutil.copy(ROOT / "tools" / "with-engine", directory)
        (directory / "engine").write_text(ENGINE)
        (directory / "engine").chmod(0o755)

    def run(self, *words: str, script: str = ASK, **extra: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTIO_BUILD_")}
        argv = [str(self.directory / "with-engine"), *words, "sh", "-c", script]
        return subprocess.run(argv, env={**kept, **extra}, capture_output=True, text=True, timeout=60, check=False)

    def calls(self) -> list[str]:
        return (self.directory / "calls").read_text().split()


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path)


@pytest.mark.parametrize("mode", [(), ("--if-possible",)])
def test_starts_one_and_stops_it_again_whatever_the_command_does(tools: Tools, mode: tuple[str, ...]) -> None:
    ran = tools.run(*mode, script=f"{ASK}; exit 7")
    assert (ran.returncode, ran.stdout) == (7, "registry=127.0.0.1:5 reason=\n")
    assert tools.calls() == ["status", "up", "env", "down"]


@pytest.mark.parametrize("mode", [(), ("--if-possible",), ("--if-up",)])
def test_leaves_one_alone_that_was_up(tools: Tools, mode: tuple[str, ...]) -> None:
    (tools.directory / "is-up").touch()
    assert tools.run(*mode).stdout == "registry=127.0.0.1:5 reason=\n"
    assert tools.calls() == ["status", "env"]


def test_if_up_starts_none(tools: Tools) -> None:
    assert tools.run("--if-up").stdout == "registry= reason=\n"
    assert tools.calls() == ["status"]


def test_if_possible_goes_on_without_and_says_why(tools: Tools) -> None:
    (tools.directory / "cannot").touch()
    ran = tools.run("--if-possible")
    why = "no Docker engine answers, and only root can start one"
    assert (ran.returncode, ran.stdout) == (0, f"registry= reason={why}\n")
    assert f"NO ENGINE: {why}" in ran.stderr
    assert tools.calls() == ["status", "up", "down", "registries", "go"]


def test_if_possible_has_go_and_registries_all_the_same(tools: Tools) -> None:
    (tools.directory / "cannot").touch()
    script = 'echo "$PATH"; echo "$ISTIO_BUILD_TEST_REGISTRIES"'
    path, registries = tools.run("--if-possible", script=script).stdout.splitlines()
    assert path.startswith("/false/go/bin:")
    assert registries == "/false/registries"


@pytest.mark.parametrize(("mode", "extra"), [((), {}), (("--if-possible",), {"ISTIO_BUILD_REQUIRE_ENGINE": "1"})])
def test_what_needs_one_does_not_run_without(tools: Tools, mode: tuple[str, ...], extra: dict[str, str]) -> None:
    (tools.directory / "cannot").touch()
    ran = tools.run(*mode, **extra)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "no Docker engine answers" in ran.stderr
    assert tools.calls() == ["status", "up", "down"]


def test_an_engine_test_that_is_skipped_says_its_name_and_why_and_fails_where_it_has_to_run() -> None:
    test = "tests/engine/test_both_engines.py::test_what_needs_docker_is_told_before_any_work"
    why = "no Docker engine answers, and only root can start one"
    skipped = run_pytest(test, ISTIO_BUILD_NO_ENGINE=why)
    assert skipped.returncode == 0, skipped.stdout
    assert f"{test}: NO ENGINE: {why}" in skipped.stdout
    required = run_pytest(test, ISTIO_BUILD_REQUIRE_ENGINE="1")
    assert required.returncode == 1, required.stdout
    assert "skipped although ISTIO_BUILD_REQUIRE_ENGINE=1" in required.stdout


def run_pytest(test: str, **extra: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ISTIO_BUILD_")}
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", test]
    # A terminal's width cuts names short.
    env = {**kept, "COLUMNS": "300", **extra}
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False)
