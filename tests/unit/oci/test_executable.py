"""Which platform a program is for, in the formats of Linux, macOS and Windows."""

import io
from collections.abc import Callable

import pytest

from builder.oci.executable import is_program_for
from builder.oci.reference import Platform
from tests.samples.programs import make_elf, make_mach_o, make_pe

FORMATS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "linux": ("ELF", make_elf),
    "darwin": ("Mach-O", make_mach_o),
    "windows": ("PE", make_pe),
}


@pytest.mark.parametrize("system", FORMATS)
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_a_program_is_for_its_own_platform_alone(system: str, architecture: str) -> None:
    program = io.BytesIO(FORMATS[system][1](architecture))
    assert is_program_for(program, Platform(system, architecture)) == (True, architecture)
    other = "arm64" if architecture == "amd64" else "amd64"
    assert is_program_for(program, Platform(system, other)) == (False, architecture)


@pytest.mark.parametrize("system", FORMATS)
def test_a_program_of_another_system_is_none(system: str) -> None:
    for other, (_, make) in FORMATS.items():
        if other != system:
            expected = (False, f"no {FORMATS[system][0]} program at all")
            assert is_program_for(io.BytesIO(make("amd64")), Platform(system, "amd64")) == expected


@pytest.mark.parametrize("system", FORMATS)
@pytest.mark.parametrize("content", [b"", b"MZ", b"#!/bin/sh\n", b"\xcf\xfa\xed\xfe", b"MZ".ljust(0x40, b"\xff")])
def test_what_is_no_program_is_told(system: str, content: bytes) -> None:
    assert is_program_for(io.BytesIO(content), Platform(system, "amd64"))[0] is False


@pytest.mark.parametrize("system", ["darwin", "windows"])
def test_an_unknown_machine_is_told_by_its_number(system: str) -> None:
    fits, found = is_program_for(io.BytesIO(FORMATS[system][1]("386")), Platform(system, "amd64"))
    assert not fits
    assert found.startswith("machine 0x")
