"""What would fill the disk or the memory of the whole program, or never end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Ours, with 2 GB of memory and half a minute."""
    limited = ["bash", "-c", 'ulimit -v 2000000; exec "$@"', "-", sys.executable, "-m", "builder", *words]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(limited, env=env, capture_output=True, timeout=30, check=False)


class TestWholeRuns:
    """In a process of their own, as what these look for would be the end of this one."""

    @pytest.mark.parametrize(
        "text",
        [
            "\n".join(["a0: &a0 [x, x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40))]),
            "[" * 60_000,
            "hub: 1" + ":1" * 400_000,
        ],
        ids=["aliases", "depth", "number"],
    )
    def test_a_project_file_is_refused_at_once(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "x.yaml").write_text(text)
        done = run("plan", "--file", str(tmp_path / "x.yaml"), HOME=str(tmp_path))
        assert done.returncode == 3
        assert b"Traceback" not in done.stderr

    def test_a_project_file_that_is_a_device_is_refused(self, tmp_path: Path) -> None:
        done = run("plan", "--file", "/dev/zero", HOME=str(tmp_path))
        assert done.returncode in (2, 3)
        assert b"Traceback" not in done.stderr


class TestPathsThatAreNoText:
    @pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
    @pytest.mark.parametrize("option", ["--source", "--recipes", "--file"])
    def test_are_told_and_no_traceback(self, tmp_path: Path, option: str, locale: str) -> None:
        path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
        done = run("plan", "--source", str(tmp_path), option, path, "--hub", "x.test/y", LC_ALL=locale, HOME=str(tmp_path))
        assert done.returncode in (2, 3, 4)
        assert b"Traceback" not in done.stderr
        assert b"\\udcff" in done.stderr
