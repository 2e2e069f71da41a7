"""A lock is that of the file that others find, also where whoever had it removed the file with its directory."""

import shutil
import threading
import time
from pathlib import Path

import pytest

from builder.runtime.file_lock import locked, locked_if_free


def never(_: float) -> None:
    pytest.fail("waited")


def test_a_lock_that_is_held_is_not_free(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", never), locked_if_free(tmp_path / "lock") as free:
        assert not free
    with locked_if_free(tmp_path / "lock") as free:
        assert free


def test_where_there_is_no_file_nobody_has_it_and_none_is_made(tmp_path: Path) -> None:
    with locked_if_free(tmp_path / "lock") as free:
        assert free
    assert list(tmp_path.iterdir()) == []


def test_what_is_held_so_keeps_others_waiting(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    with locked_if_free(path) as free:
        assert free
        with locked_if_free(path) as second:
            assert not second


def test_who_waited_for_a_lock_that_was_removed_has_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "job" / "lock"
    path.parent.mkdir()
    path.touch()
    waiting, entered = threading.Event(), threading.Event()
    leave = threading.Event()

    def wait_for_it() -> None:
        with locked(path, lambda _: time.sleep(0.01), waiting.set):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=wait_for_it)
    with locked_if_free(path) as free:
        assert free
        thread.start()
        assert waiting.wait(10)
        shutil.rmtree(path.parent)
    assert entered.wait(10)
    try:
        # It is there again, and it is the very one that others meet.
        with locked_if_free(path) as free:
            assert path.exists()
            assert not free
    finally:
        leave.set()
        thread.join(10)
