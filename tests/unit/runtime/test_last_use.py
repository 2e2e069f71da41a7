"""When something was used last is known whatever the file's own times say, and nothing is removed while it is being marked."""

import os
import threading
import time
from pathlib import Path

from builder.runtime.last_use import forget, last_used, mark_used, marks_held_off

LONG_AGO = 1_000_000_000


def old_file(directory: Path) -> Path:
    path = directory / "blob"
    path.write_text("content")
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_what_was_never_marked_was_used_when_it_was_written(tmp_path: Path) -> None:
    assert last_used(old_file(tmp_path)) == LONG_AGO


def test_a_mark_counts_and_leaves_the_files_own_times(tmp_path: Path) -> None:
    path = old_file(tmp_path)
    before = path.stat()
    mark_used(path)
    assert time.time() - last_used(path) < 60
    assert (path.stat().st_mtime_ns, path.stat().st_atime_ns) == (before.st_mtime_ns, before.st_atime_ns)


def test_a_directory_can_be_marked(tmp_path: Path) -> None:
    directory = tmp_path / "tree"
    directory.mkdir()
    os.utime(directory, (LONG_AGO, LONG_AGO))
    mark_used(directory)
    assert last_used(directory) > LONG_AGO
    forget(directory)
    assert last_used(directory) == LONG_AGO


def test_what_is_not_there_is_not_marked(tmp_path: Path) -> None:
    mark_used(tmp_path / "gone")
    assert list(tmp_path.iterdir()) == []
    mark_used(tmp_path / "no" / "directory")


def test_a_mark_waits_for_who_removes_and_then_finds_nothing(tmp_path: Path) -> None:
    path = old_file(tmp_path)
    thread = threading.Thread(target=mark_used, args=(path,))
    with marks_held_off(path):
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        path.unlink()
    thread.join(10)
    assert not thread.is_alive()
    assert not (tmp_path / ".used" / "blob").exists()
