"""Runs what is measured, each as a whole process, and takes the time."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click

# What would make the compiler of one contestant another than that of the next: each measures with its own defaults.
_TUNING = ("GOGC", "GOMEMLIMIT", "GOMAXPROCS")
_SHOWN = 3000


class BenchError(click.ClickException):
    """A contestant failed, or did not do the work. There are no figures then."""


def plain_environment(**extra: str) -> dict[str, str]:
    """The machine's environment without settings of istio-build or the compiler's tuning, and bytecode kept as installed."""
    dropped = ("PYTHONDONTWRITEBYTECODE", *_TUNING)
    kept = {name: value for name, value in os.environ.items() if name not in dropped and not name.startswith("ISTIO_BUILD_")}
    return {**kept, **extra}


def run(argv: Sequence[str], environment: Mapping[str, str], stdin: str = "", cwd: Path | None = None) -> str:
    """Run it and give its standard output. Raises BenchError with the end of what it said where it fails."""
    done = subprocess.run(argv, env=dict(environment), input=stdin, capture_output=True, text=True, cwd=cwd, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-_SHOWN:]
        raise BenchError(f"{' '.join(argv[:5])} … ended with status {done.returncode}:\n{said}")
    return done.stdout


def timed(act: Callable[[], object]) -> float:
    """Seconds that it takes."""
    started = time.monotonic()
    act()
    return time.monotonic() - started
