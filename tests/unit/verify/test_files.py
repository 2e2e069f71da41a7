"""Layers on each other are what a container sees."""

import tarfile
from pathlib import Path

import pytest

from builder.errors import CheckError
from builder.verify.contents import LayerContents, read_contents
from builder.verify.files import stack
from tests.samples.images import SampleFile, compress, make_digest, make_tar
from tests.samples.programs import make_elf, make_go_program


def contents(tmp_path: Path, *files: SampleFile, compression: str = "gzip") -> LayerContents:
    content, media_type = compress(make_tar(files), compression)
    blob = tmp_path / make_digest(repr(files)).hex
    blob.write_bytes(content)
    return read_contents(blob, media_type, tmp_path)


def test_a_file_above_replaces_one_below(tmp_path: Path) -> None:
    below = contents(tmp_path, SampleFile(path="/a", content=make_go_program("amd64", package="old")))
    above = contents(tmp_path, SampleFile(path="/a", content=b"#!/bin/sh\n"))
    files = stack([below, above])
    assert files.entries["/a"].architecture == ""
    assert files.programs == {}


def test_whiteouts_remove_what_is_below(tmp_path: Path) -> None:
    paths = ("/d/a", "/d/b", "/e/c", "/f")
    below = contents(tmp_path, *(SampleFile(path=path, content=make_go_program("amd64")) for path in paths))
    above = contents(tmp_path, *(SampleFile(path=path) for path in ("/d/.wh.a", "/e/.wh..wh..opq", "/e/new", "/.wh.f")))
    files = stack([below, above])
    assert sorted(files.entries) == ["/d/b", "/e/new"]
    assert sorted(files.programs) == ["/d/b"]


def test_a_link_in_place_of_a_directory_takes_what_was_in_it(tmp_path: Path) -> None:
    below = contents(
        tmp_path, SampleFile(path="/lib", kind=tarfile.DIRTYPE), SampleFile(path="/lib/a", content=make_elf("amd64"))
    )
    above = contents(tmp_path, SampleFile(path="/lib", kind=tarfile.SYMTYPE, target="usr/lib"))
    files = stack([below, above])
    assert sorted(files.entries) == ["/lib"]
    assert files.is_hidden("/lib/a")
    assert not files.is_hidden("/usr/lib/a")


@pytest.mark.parametrize("compression", ["", "gzip", "zstd"])
def test_the_digest_of_what_a_layer_unpacks_to(compression: str, tmp_path: Path) -> None:
    import hashlib

    file = SampleFile(path="/a", content=b"text", mode=0o644)
    found = contents(tmp_path, file, compression=compression)
    assert found.diff_id == f"sha256:{hashlib.sha256(make_tar([file])).hexdigest()}"


def test_only_programs_that_may_run_are_looked_into(tmp_path: Path) -> None:
    program = make_go_program("amd64")
    found = contents(tmp_path, SampleFile(path="/run", content=program), SampleFile(path="/data", content=program, mode=0o644))
    assert [entry.path for entry in found.programs] == ["/run"]


def test_a_cut_layer_is_an_error(tmp_path: Path) -> None:
    content, media_type = compress(make_tar([SampleFile(path="/a", content=bytes(10_000))]), "gzip")
    blob = tmp_path / "cut"
    blob.write_bytes(content[:-12])
    with pytest.raises(CheckError, match="damaged"):
        read_contents(blob, media_type, tmp_path)
