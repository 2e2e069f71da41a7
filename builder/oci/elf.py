"""Which platform a program is for: its ELF header, the one thing that decides between running and `exec format error`."""

from dataclasses import dataclass
from typing import IO

from elftools.elf.enums import ENUM_E_MACHINE

from builder.oci.reference import Platform

# e_machine names of the ELF specification (System V ABI, and its supplements for AMD64 and AArch64).
_ARCHITECTURES = {"EM_X86_64": "amd64", "EM_AARCH64": "arm64"}
_MACHINES = {number: name for name, number in ENUM_E_MACHINE.items() if isinstance(number, int)}
_MAGIC = b"\x7fELF"
# EI_CLASS and EI_DATA of e_ident, the sizes of the header for both classes, and where e_machine stands in either.
_BITS = {1: 32, 2: 64}
_ORDERS = {1: "little", 2: "big"}
_HEADER = {32: 52, 64: 64}
_MACHINE = slice(18, 20)
# e_type and e_phnum of a 64-bit header. A program or shared library is loaded by its program headers, an object file has none.
_TYPE = slice(16, 18)
_PROGRAM_HEADERS = slice(56, 58)
_LOADED = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """What an ELF header says: the architecture, by Go's name where it has one."""

    architecture: str

    def fits(self, platform: Platform) -> bool:
        """Whether it can run there."""
        return self.architecture == platform.architecture


def read_executable(file: IO[bytes]) -> Executable | None:
    """The header of an ELF file, None for any other file. Reads from the start, and needs to seek.

    Any bytes have an answer: only the header is looked at, and none of the tables that it speaks of.
    """
    file.seek(0)
    header = file.read(_HEADER[64])
    if not header.startswith(_MAGIC):
        return None
    bits, order = _BITS.get(int.from_bytes(header[4:5], "big")), _ORDERS.get(int.from_bytes(header[5:6], "big"))
    if bits is None or order is None or len(header) < _HEADER[bits]:
        return Executable(architecture="malformed ELF")
    number = int.from_bytes(header[_MACHINE], "little" if order == "little" else "big")
    machine = _MACHINES.get(number, str(number))
    if bits != 64 or order != "little":
        return Executable(architecture=f"{machine}, {bits}-bit")
    if int.from_bytes(header[_TYPE], "little") in _LOADED and not any(header[_PROGRAM_HEADERS]):
        return Executable(architecture=f"{machine} without anything to load")
    return Executable(architecture=_ARCHITECTURES.get(machine, machine))
