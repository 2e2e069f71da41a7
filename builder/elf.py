"""Which platform a program is for: its ELF header, the one thing that decides between running and `exec format error`."""

from dataclasses import dataclass
from typing import IO

from elftools.common.exceptions import ELFError
from elftools.elf.elffile import ELFFile

from builder.reference import Platform

# e_machine names of the ELF specification (System V ABI, and its supplements for AMD64 and AArch64).
_ARCHITECTURES = {"EM_X86_64": "amd64", "EM_AARCH64": "arm64"}
_MAGIC = b"\x7fELF"


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """What an ELF header says: the architecture, by Go's name where it has one."""

    architecture: str

    def fits(self, platform: Platform) -> bool:
        """Whether it can run there."""
        return self.architecture == platform.architecture


def read_executable(file: IO[bytes]) -> Executable | None:
    """The header of an ELF file, None for any other file. Reads from the start, and needs to seek."""
    file.seek(0)
    if file.read(4) != _MAGIC:
        return None
    file.seek(0)
    try:
        elf = ELFFile(file)
    except ELFError:
        return Executable(architecture="malformed ELF")
    machine = str(elf["e_machine"])
    if elf.elfclass != 64 or not elf.little_endian:
        return Executable(architecture=f"{machine}, {elf.elfclass}-bit")
    return Executable(architecture=_ARCHITECTURES.get(machine, machine))
