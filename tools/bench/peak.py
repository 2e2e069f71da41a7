"""`python -m tools.bench.peak FILE COMMAND…`: runs istio-build in this process, and writes its peak memory to FILE.

That is VmHWM of /proc/self/status: what this process itself had in memory at most, in bytes, its children not counted
(proc_pid_status(5)). Unlike ru_maxrss it does not begin with what the process that started this one had.
"""

import re
import runpy
import sys
from pathlib import Path


def peak_bytes(status: str) -> int:
    """VmHWM of a status file, in bytes."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError("no VmHWM in /proc/self/status: this is measured on Linux")
    return int(found[1]) * 1024


if __name__ == "__main__":
    file, *words = sys.argv[1:]
    sys.argv = ["istio-build", *words]
    try:
        runpy.run_module("builder", run_name="__main__", alter_sys=True)
    finally:
        Path(file).write_text(str(peak_bytes(Path("/proc/self/status").read_text())))
