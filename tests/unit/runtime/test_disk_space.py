"""A full disk is told by its place, and by how much room there is."""

import errno
import os
import re
from pathlib import Path

import pytest

from builder.runtime.disk_space import free_space, full_disk


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("told", ["by the error", "by the caller", "by nobody"])
def test_a_message_says_where_and_how_much_is_left(
    tmp_path: Path, number: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTIO_BUILD_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "not" / "there" / "yet"
    error = OSError(number, os.strerror(number), *([str(place)] if told == "by the error" else []))
    message = full_disk(error, place if told == "by the caller" else None).message
    assert os.strerror(number) in message
    assert "Errno" not in message
    assert re.search(r"; the file system at /\S* has \d+ MB free", message)
    assert (str(place) in message) == (told != "by nobody")


def test_the_file_system_is_the_one_that_holds_the_path(tmp_path: Path) -> None:
    assert free_space(Path("/proc/self")).startswith("the file system at /proc has ")
    assert free_space(tmp_path / "x" / "y") == free_space(tmp_path)
