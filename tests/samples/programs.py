"""The smallest headers of programs, for the formats of Linux, macOS and Windows."""

import struct

_EM = {"amd64": 62, "arm64": 183, "386": 3, "s390x": 22, "riscv64": 243}


def make_elf(architecture: str, *, bits: int = 64, little_endian: bool = True) -> bytes:
    """The smallest ELF program: a header, and one segment with nothing in it."""
    order = "<" if little_endian else ">"
    ident = b"\x7fELF" + bytes([bits // 32, 1 if little_endian else 2, 1]) + bytes(9)
    words = "QQQ" if bits == 64 else "III"
    header_size = 64 if bits == 64 else 52
    segment_size = 56 if bits == 64 else 32
    numbers = (2, _EM[architecture], 1, 0, header_size, 0, 0, header_size, segment_size, 1, 0, 0, 0)
    return ident + struct.pack(f"{order}HHI{words}IHHHHHH", *numbers) + struct.pack(f"{order}I", 1).ljust(segment_size, b"\0")


def make_mach_o(architecture: str) -> bytes:
    """The header of a 64-bit Mach-O program (mach-o/loader.h), and no load commands."""
    return struct.pack("<8I", 0xFEEDFACF, {"amd64": 0x01000007, "arm64": 0x0100000C, "386": 7}[architecture], 0, 2, 0, 0, 0, 0)


def make_pe(architecture: str) -> bytes:
    """A DOS header that leads to a PE signature and the machine behind it."""
    machine = {"amd64": 0x8664, "arm64": 0xAA64, "386": 0x14C}[architecture]
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0" + struct.pack("<H18x", machine)
