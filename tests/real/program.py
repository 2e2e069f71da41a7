"""Runs istio-build as a user does: the whole program, in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import ROOT


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run of the program ended, and what it printed."""

    code: int
    stdout: str
    stderr: str

    def report(self) -> dict[str, Any]:
        """The JSON report of a push or build that went well."""
        assert self.code == 0, self.stderr
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    def digests(self) -> dict[str, str]:
        """Each image's digest."""
        return {image["image"]: image["digest"] for image in self.report()["images"]}


def istio_build(
    *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout: float = 300
) -> Ended:
    """Run `istio-build` with these arguments; `env` is added to the environment."""
    done = subprocess.run(
        command(*arguments),
        env=environment(env),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=timeout,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    return Ended(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def command(*arguments: str | Path) -> Sequence[str]:
    """The words that start it with the Python that runs the tests."""
    return [sys.executable, "-m", "builder", *(str(argument) for argument in arguments)]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The tests' own environment without settings of istio-build, and with our modules in reach of any directory."""
    of_the_terminal = ("COLUMNS", "LINES")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("ISTIO_BUILD_") and name not in of_the_terminal
    }
    root = str(ROOT)
    return {**kept, "PYTHONPATH": root, "ISTIO_BUILD_PROGRESS": "plain", **(extra or {})}
