"""What the go command really says."""

import os
from pathlib import Path

import pytest

from builder.host.go import InstalledGo
from builder.host.process import SubprocessRunner
from builder.ports import GoUnavailable
from builder.runtime.cancellation import Cancellation


def test_what_gos_own_refusal_says(go: Path, tmp_path: Path) -> None:
    """The hints go by these words of the go command."""
    environment = {**os.environ, "GOPROXY": "off", "GOMODCACHE": str(tmp_path)}
    real = InstalledGo(SubprocessRunner(Cancellation()), environment)
    with pytest.raises(GoUnavailable, match="toolchain not available"):
        real.fetch("1.21.1")
    with pytest.raises(GoUnavailable, match="GOPROXY=off"):
        real.versions()
