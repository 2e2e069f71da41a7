"""What Go wrote into a program is read, whatever else is in the file."""

import struct

from builder.oci.go_build_info import is_revision, read_build_info
from tests.samples.programs import make_elf, make_go_program, make_old_go_program

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_reads_go_package_and_settings() -> None:
    found = read_build_info(make_go_program("arm64", settings=(("-trimpath", "true"), ("CGO_ENABLED", "0"))))
    assert found
    assert (found.go, found.path) == ("go1.26.0", "istio.io/istio/pilot/cmd/pilot-discovery")
    assert dict(found.settings) == {"GOARCH": "arm64", "GOOS": "linux", "-trimpath": "true", "CGO_ENABLED": "0"}


def test_finds_what_the_linker_stamped() -> None:
    found = read_build_info(
        make_go_program("amd64", stamps=("1.29.0-corp.1", COMMIT, "Clean", "docker.io/me", "istio.io/istio/pkg/env"))
    )
    assert found
    # Go's own version is stamped in the same way; the path of a package only looks like a hub.
    assert found.stamps == (("", "go1.26.0"), ("", "1.29.0-corp.1"), ("", COMMIT), ("", "docker.io/me"))


def test_a_text_that_does_not_end_in_a_zero_byte_is_no_stamp() -> None:
    found = read_build_info(make_elf("amd64") + b"1.28.0 is older" + make_go_program("amd64", stamps=("1.29.0",)).ljust(8, b"\0"))
    assert found is None or ("", "1.28.0") not in found.stamps
    found = read_build_info(make_go_program("amd64", stamps=("1.28.0 is older", "1.29.0")))
    assert found
    assert ("", "1.28.0") not in found.stamps
    assert ("", "1.29.0") in found.stamps


def test_the_flags_of_the_linker_have_names() -> None:
    flags = '"-X istio.io/istio/pkg/version.buildVersion=1.29.0 -s -X=istio.io/istio/pkg/version.buildHub=docker.io/me"'
    found = read_build_info(make_go_program("amd64", stamps=("1.1.1",), settings=(("-ldflags", flags),)))
    assert found
    names = dict(found.stamps)
    assert names == {
        "istio.io/istio/pkg/version.buildVersion": "1.29.0",
        "istio.io/istio/pkg/version.buildHub": "docker.io/me",
    }


def test_reads_programs_of_go_up_to_1_17() -> None:
    found = read_build_info(make_old_go_program())
    assert found
    assert (found.go, found.path) == ("go1.16.5", "istio.io/istio/pilot/cmd/pilot-agent")


def test_stamps_are_looked_for_in_read_only_data_alone() -> None:
    program = bytearray(make_go_program("amd64", stamps=("1.29.0",)))
    start = program.index(b"1.29.0") - 1
    names = len(program)
    program += b"\0.rodata\0" + b"1.2.3\0"
    table = len(program)
    program += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, names, 9, 0, 0, 1, 0)
    program += struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, start, 8, 0, 0, 1, 0)
    struct.pack_into("<Q", program, 40, table)
    struct.pack_into("<HHH", program, 58, 64, 2, 0)
    found = read_build_info(bytes(program))
    assert found
    assert found.stamps == (("", "1.29.0"),)


def test_other_programs_say_nothing() -> None:
    assert read_build_info(make_elf("amd64")) is None
    assert read_build_info(b"") is None
    # A program that looks for the magic holds it, too.
    assert read_build_info(make_elf("amd64") + b"\xff Go buildinf:" * 100) is None


def test_a_cut_program_is_no_error() -> None:
    program = make_go_program("amd64", stamps=("1.29.0",))
    for length in range(0, len(program), 7):
        read_build_info(program[:length])


def test_knows_a_commit() -> None:
    assert is_revision(COMMIT)
    assert is_revision(f"{COMMIT}-dirty")
    assert is_revision(f"{COMMIT}-patched-0123456789ab")
    assert is_revision(f"{COMMIT}-patched-0123456789ab-dirty")
    assert not is_revision(f"{COMMIT}-patched")
    assert not is_revision("1.29.0")
