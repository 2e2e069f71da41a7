"""Which platform a program is for, whatever its format: ELF, Mach-O or PE, by the machine that its header names."""

import struct
from typing import IO

from builder.oci.elf import Executable, read_executable
from builder.oci.reference import Platform

# cputype of a 64-bit Mach-O header, little-endian (mach/machine.h: CPU_TYPE_X86_64, CPU_TYPE_ARM64).
_MACH_O_MAGIC = b"\xcf\xfa\xed\xfe"
_MACH_O = {0x01000007: "amd64", 0x0100000C: "arm64"}
# Machine of a COFF header (Microsoft's PE format: IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_ARM64).
_PE = {0x8664: "amd64", 0xAA64: "arm64"}
_PE_OFFSET = 0x3C
_FORMATS = {"linux": "ELF", "darwin": "Mach-O", "windows": "PE"}


def is_program_for(file: IO[bytes], platform: Platform) -> tuple[bool, str]:
    """Whether this is a program for the platform, and what it is, for people. Reads from the start, and needs to seek."""
    read = {"linux": read_executable, "darwin": _read_mach_o, "windows": _read_pe}[platform.os]
    found = read(file)
    if found is None:
        return False, f"no {_FORMATS[platform.os]} program at all"
    return found.fits(platform), found.architecture


def _read_mach_o(file: IO[bytes]) -> Executable | None:
    file.seek(0)
    header = file.read(8)
    if len(header) < 8 or not header.startswith(_MACH_O_MAGIC):
        return None
    return _named(_MACH_O, struct.unpack_from("<I", header, 4)[0])


def _read_pe(file: IO[bytes]) -> Executable | None:
    file.seek(0)
    header = file.read(_PE_OFFSET + 4)
    if len(header) < _PE_OFFSET + 4 or not header.startswith(b"MZ"):
        return None
    file.seek(struct.unpack_from("<I", header, _PE_OFFSET)[0])
    signature = file.read(6)
    if len(signature) < 6 or not signature.startswith(b"PE\0\0"):
        return None
    return _named(_PE, struct.unpack_from("<H", signature, 4)[0])


def _named(machines: dict[int, str], machine: int) -> Executable:
    return Executable(architecture=machines.get(machine, f"machine {machine:#x}"))
