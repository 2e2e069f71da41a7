"""The change that the benchmark makes, to the sample tree, with the real compiler."""

import os
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

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
        with program.open("rb") as file:
            symbols = ELFFile(file).get_section_by_name(".symtab")
            assert isinstance(symbols, SymbolTableSection)
            sizes |= {symbol["st_size"] for symbol in symbols.get_symbol_by_name("main.benchChange") or ()}
    assert len(sizes) > 1
