"""A file is read once for as long as it is the same, wherever it is linked to."""

import hashlib
import os
from pathlib import Path

import pytest

from builder.runtime import file_sums
from builder.runtime.file_sums import FileSums


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read."""
    read: list[Path] = []

    def sum_file(path: Path) -> str:
        read.append(path)
        return hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(file_sums, "sum_file", sum_file)
    return read


def test_a_file_is_read_once_also_where_it_is_linked_to(tmp_path: Path, reads: list[Path]) -> None:
    sums, file = FileSums(), tmp_path / "layer.tar"
    file.write_bytes(b"content")
    wanted = hashlib.sha256(b"content").hexdigest()
    assert sums(file) == wanted
    os.link(file, tmp_path / "blob")
    assert sums(tmp_path / "blob") == wanted
    assert reads == [file]


def test_what_took_its_place_is_read(tmp_path: Path, reads: list[Path]) -> None:
    sums, file = FileSums(), tmp_path / "layer.tar"
    file.write_bytes(b"content")
    sums(file)
    (tmp_path / "next").write_bytes(b"CONTENT")
    os.utime(tmp_path / "next", ns=(0, file.stat().st_mtime_ns))
    (tmp_path / "next").replace(file)
    assert sums(file) == hashlib.sha256(b"CONTENT").hexdigest()


def test_what_was_written_to_since_is_read_again(tmp_path: Path, reads: list[Path]) -> None:
    sums, file = FileSums(), tmp_path / "layer.tar"
    file.write_bytes(b"content")
    sums(file)
    file.write_bytes(b"CONTENT")
    os.utime(file, ns=(0, 1))
    assert sums(file) == hashlib.sha256(b"CONTENT").hexdigest()


def test_what_was_summed_on_its_way_is_not_read(tmp_path: Path, reads: list[Path]) -> None:
    sums, file = FileSums(), tmp_path / "layer.tar.partial"
    file.write_bytes(b"content")
    sums.know(file, "told")
    file.replace(tmp_path / "layer.tar")
    assert sums(tmp_path / "layer.tar") == "told"
    assert reads == []
    os.utime(tmp_path / "layer.tar", ns=(0, 1))
    assert sums(tmp_path / "layer.tar") == hashlib.sha256(b"content").hexdigest()


def test_what_is_not_there_is_an_error_each_time(tmp_path: Path) -> None:
    sums = FileSums()
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            sums(tmp_path / "missing")
