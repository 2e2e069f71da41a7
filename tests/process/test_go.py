"""What the go command really says."""

import os
from pathlib import Path

import pytest

from builder.host.go import InstalledGo
from builder.host.go_compiler import MachineCompiler
from builder.host.process import SubprocessRunner
from builder.oci.reference import Platform
from builder.ports import GoBuild, GoCommand, GoToolchain, GoUnavailable
from builder.runtime.cancellation import Cancellation


def test_what_gos_own_refusal_says(go: Path, tmp_path: Path) -> None:
    """The hints go by these words of the go command."""
    environment = {**os.environ, "GOPROXY": "off", "GOMODCACHE": str(tmp_path)}
    real = InstalledGo(SubprocessRunner(Cancellation()), environment)
    with pytest.raises(GoUnavailable, match="toolchain not available"):
        real.fetch("1.21.1")
    with pytest.raises(GoUnavailable, match="GOPROXY=off"):
        real.versions()


def test_a_build_that_yields_is_the_same_command_at_a_lower_priority(tmp_path: Path) -> None:
    """Linux schedules sessions as groups, each with a nice value of its own: without that one the process's says nothing."""
    program = tmp_path / "go"
    program.write_text('#!/bin/sh\n{ nice; cat /proc/self/autogroup; printf "%s\\n" "$@"; } >&2\n')
    program.chmod(0o755)
    command = GoCommand(flags=("-a b", "$HOME"), ldflags=(), tags=(), packages=("./*",))
    build = GoBuild(command=command, env=(), platform=Platform("linux", "arm64"), tree=tmp_path, into=tmp_path, yields=True)
    toolchain = GoToolchain(program=program, version="1.26.0", settings=())
    said: list[str] = []
    MachineCompiler(toolchain, os.environ, SubprocessRunner(Cancellation())).build(build, said.append)
    niceness, *group, last = said[: 3 if Path("/proc/self/autogroup").exists() else 2]
    assert int(niceness) == os.nice(0) + 5
    assert all(line.endswith("nice 5") for line in group)
    assert said[len(group) + 1 :] == list(build.command.argv("go", f"{tmp_path}/"))[1:]
    assert last == "build"
