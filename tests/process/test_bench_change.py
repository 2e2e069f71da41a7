"""The change that the benchmark makes, to the sample tree, with the real compiler."""

import os
import subprocess
from pathlib import Path

from tools.bench.phases import change
from tools.bench.work import clone_source

FILE = "pilot/cmd/pilot-discovery/main.go"


def test_it_compiles_runs_and_is_of_another_size_each_time(go: Path, tmp_path: Path) -> None:
    clone_source(None, tmp_path / "tree")
    program = tmp_path / "pilot-discovery"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    sizes = set()
    for _ in range(3):
        change(tmp_path / "tree" / FILE)
        argv: list[str | Path] = [go, "build", "-trimpath", "-o", program, "./pilot/cmd/pilot-discovery"]
        subprocess.run(argv, cwd=tmp_path / "tree", env=environment, check=True)
        subprocess.run([program, "version"], check=True, stdout=subprocess.DEVNULL)
        symbols = subprocess.run(
            [go, "tool", "nm", "-size", program], env=environment, check=True, capture_output=True, text=True
        )
        [line] = [line for line in symbols.stdout.splitlines() if line.endswith(" main.benchChange")]
        sizes.add(line.split()[1])
    assert len(sizes) > 1
