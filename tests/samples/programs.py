"""The smallest headers of programs, for the formats of Linux, macOS and Windows."""

import struct
from collections.abc import Sequence

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


def make_go_program(
    architecture: str,
    *,
    package: str = "istio.io/istio/pilot/cmd/pilot-discovery",
    stamps: Sequence[str] = (),
    settings: Sequence[tuple[str, str]] = (),
    go: str = "go1.26.0",
) -> bytes:
    """An ELF header, what the linker writes with -X (texts that end in a zero byte), and Go's build information behind it.

    As `go version -m` reads it, and as no machine runs it.
    """
    lines = [f"path\t{package}", "mod\tistio.io/istio\t(devel)\t", f"build\tGOARCH={architecture}", "build\tGOOS=linux"]
    lines += [f"build\t{name}={value}" for name, value in settings]
    modules = b"0" * 16 + "".join(f"{line}\n" for line in lines).encode() + b"1" * 16
    texts = b"\0".join(text.encode() for text in ("", go, *stamps, ""))
    before = make_elf(architecture) + texts
    padding = bytes(-len(before) % 16)
    return before + padding + b"\xff Go buildinf:\x08\x02".ljust(32, b"\0") + _counted(go.encode()) + _counted(modules)


def make_old_go_program(*, package: str = "istio.io/istio/pilot/cmd/pilot-agent", go: str = "go1.16.5") -> bytes:
    """The same as Go wrote it up to 1.17: addresses of its texts, which are loaded at 0x400000."""
    base, table = 0x400000, 64
    modules = b"0" * 16 + f"path\t{package}\nmod\tistio.io/istio\t(devel)\t\n".encode() + b"1" * 16
    start = table + 56
    texts = go.encode() + modules
    strings = start + len(texts)
    blob = strings + 32 + (-(strings + 32) % 16)
    header = bytearray(make_elf("amd64")[:table])
    struct.pack_into("<Q", header, 32, table)
    struct.pack_into("<HH", header, 54, 56, 1)
    size = blob + 32
    segment = struct.pack("<IIQQQQQQ", 1, 4, 0, base, base, size, size, 0x1000)
    go_string = struct.pack("<QQ", base + start, len(go))
    modules_string = struct.pack("<QQ", base + start + len(go), len(modules))
    info = b"\xff Go buildinf:\x08\0" + struct.pack("<QQ", base + strings, base + strings + 16)
    return (bytes(header) + segment + texts + go_string + modules_string).ljust(blob, b"\0") + info


def _counted(data: bytes) -> bytes:
    """A text behind its length as a varint."""
    length, encoded = len(data), b""
    while length >= 0x80:
        encoded += bytes([length & 0x7F | 0x80])
        length >>= 7
    return encoded + bytes([length]) + data
