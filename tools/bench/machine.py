"""What the figures were measured on."""

import datetime
import os
import platform
from pathlib import Path

from builder.engine.buildx import find_plugin
from tools.bench.process import run


def describe_machine(tree: Path, source_name: str, go_version: str) -> dict[str, str]:
    """Cores, memory, and the version of everything that is compared."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "source": f"{source_name} {run(['git', 'describe', '--tags', '--always'], os.environ, cwd=tree).strip()}",
        "cores": str(os.cpu_count()),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "Go": go_version,
        "Python": platform.python_version(),
        "buildx": run([str(find_plugin(os.environ)), "version"], os.environ).split()[1],
    }
