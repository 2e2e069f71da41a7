"""Programs of any size: an ELF header with bytes behind it that no compression makes smaller."""

import os
import struct
from pathlib import Path

MEGABYTE = 1_000_000
_MACHINES = {"amd64": 62, "arm64": 183}


def write_blob(path: Path, architecture: str, megabytes: int) -> Path:
    """Write such a program, never the same twice."""
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    # e_type EXEC, this machine, one segment behind the header with nothing in it, no sections (the System V ABI, chapters 4, 5).
    header = ident + struct.pack("<HHIQQQIHHHHHH", 2, _MACHINES[architecture], 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    header += struct.pack("<I", 1).ljust(56, b"\0")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(header)
        left = megabytes * MEGABYTE - len(header)
        while left > 0:
            left -= file.write(os.urandom(min(left, MEGABYTE)))
    path.chmod(0o755)
    return path
