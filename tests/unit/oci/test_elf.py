"""Which platform a program is for, by its first bytes."""

import io

import pytest

from builder.oci.elf import read_executable
from builder.oci.reference import Platform
from tests.samples.images import AMD64, ARM64
from tests.samples.programs import make_elf


def architecture(content: bytes) -> str:
    executable = read_executable(io.BytesIO(content))
    assert executable is not None
    return executable.architecture


@pytest.mark.parametrize("platform", [AMD64, ARM64])
def test_a_program_fits_its_own_platform_and_no_other(platform: Platform) -> None:
    executable = read_executable(io.BytesIO(make_elf(platform.architecture)))
    assert executable is not None
    assert [other for other in (AMD64, ARM64) if executable.fits(other)] == [platform]


@pytest.mark.parametrize("content", [b"", b"\x7f", b"\x7fEL", b"#!/bin/sh\n", b"\x1f\x8b\x08" + bytes(100), b"MZ" + bytes(62)])
def test_other_files_are_no_programs(content: bytes) -> None:
    assert read_executable(io.BytesIO(content)) is None


@pytest.mark.parametrize("name", ["386", "s390x", "riscv64"])
def test_other_machines_fit_nowhere(name: str) -> None:
    executable = read_executable(io.BytesIO(make_elf(name)))
    assert executable is not None
    assert not executable.fits(AMD64)
    assert not executable.fits(ARM64)


def test_the_machine_alone_does_not_make_it_fit() -> None:
    # x32 has the machine of amd64 and 32 bits; big-endian ARM the one of arm64.
    assert architecture(make_elf("amd64", bits=32)) == "EM_X86_64, 32-bit"
    assert architecture(make_elf("arm64", little_endian=False)).startswith("EM_AARCH64")


@pytest.mark.parametrize("length", [4, 5, 16, 20, 63])
def test_a_header_cut_off_fits_nowhere(length: int) -> None:
    assert architecture(make_elf("amd64")[:length]) == "malformed ELF"


@pytest.mark.parametrize(
    ("kind", "expected"), [(2, "EM_X86_64 without anything to load"), (3, "EM_X86_64 without anything to load")]
)
def test_a_bare_header_is_no_program(kind: int, expected: str) -> None:
    header = bytearray(make_elf("amd64")[:64])
    header[16:18] = kind.to_bytes(2, "little")
    header[56:58] = bytes(2)
    assert architecture(bytes(header)) == expected


def test_an_object_file_is_loaded_by_nobody_and_has_a_machine() -> None:
    """As kernel modules, and what is linked later."""
    header = bytearray(make_elf("amd64")[:64])
    header[16:18] = (1).to_bytes(2, "little")
    header[56:58] = bytes(2)
    assert architecture(bytes(header)) == "amd64"


def test_sections_beyond_what_is_read_do_not_matter() -> None:
    """Of a layer only a file's first bytes are looked at, while its section table is near its end."""
    header = bytearray(make_elf("arm64"))
    header[40:48] = (50_000_000).to_bytes(8, "little")
    header[58:64] = bytes([64, 0, 23, 0, 22, 0])
    assert architecture(bytes(header)) == "arm64"


def test_it_is_read_from_the_start_wherever_the_file_stands() -> None:
    file = io.BytesIO(make_elf("arm64"))
    file.read(10)
    executable = read_executable(file)
    assert executable is not None
    assert executable.architecture == "arm64"
