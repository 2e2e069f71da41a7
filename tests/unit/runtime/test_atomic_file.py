"""Files are whole or not there, and what killed runs left of them goes."""

import errno
import os
import time
from pathlib import Path

import pytest

from builder.runtime import atomic_file
from builder.runtime.atomic_file import whole_file


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has written nothing yet."""
    monkeypatch.setattr(atomic_file, "_swept", set())


# More than any process can have: PID_MAX_LIMIT of Linux is 2**22.
GONE = 2**22 + 1


def leave(directory: Path, process: int, seconds_ago: float = 3600) -> Path:
    path = directory / f"layer.{process}-140012345678.partial"
    path.write_bytes(b"half")
    then = time.time() - seconds_ago
    os.utime(path, (then, then))
    return path


def write(path: Path) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(b"whole")


def test_what_a_killed_run_left_goes(tmp_path: Path) -> None:
    leave(tmp_path, GONE)
    write(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


def test_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    ours = leave(tmp_path, os.getpid())
    recent = leave(tmp_path, GONE, seconds_ago=60)
    foreign = tmp_path / "notes.partial"
    foreign.write_bytes(b"")
    write(tmp_path / "other")
    assert {ours, recent, foreign} <= set(tmp_path.iterdir())


def test_a_full_disk_is_told_with_its_path(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_file(tmp_path / "layer"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space left") as caught:
        fail()
    assert caught.value.filename == str(tmp_path / "layer")
    assert list(tmp_path.iterdir()) == []
