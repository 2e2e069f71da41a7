"""Runs istio-build on a terminal, as people do."""

import os
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path

from tests.real.program import command

_ROWS = 50


def run_on_terminal(
    *words: str, env: Mapping[str, str], cwd: Path | None = None, columns: int = 0, typed: str = ""
) -> tuple[int, str]:
    """Run it on a terminal, of so many columns where that is said; gives its exit code, and what the terminal showed."""
    ours, theirs = os.openpty()
    if columns:
        termios.tcsetwinsize(theirs, (_ROWS, columns))
    with subprocess.Popen(command(*words), cwd=cwd, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.write(ours, typed.encode())
        shown = b""
        try:
            while chunk := os.read(ours, 4096):
                shown += chunk
        except OSError:
            # Linux says so when the last process has let go of a terminal.
            pass
        code = process.wait(timeout=60)
    os.close(ours)
    return code, shown.decode()
