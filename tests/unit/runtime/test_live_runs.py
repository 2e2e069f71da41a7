"""Runs are known as at work for as long as they live, however they end."""

import fcntl
import os
import time
from pathlib import Path

from builder.runtime.live_runs import LiveRuns


def test_a_run_is_known_to_others_until_it_leaves(tmp_path: Path) -> None:
    mine, others = LiveRuns(tmp_path / "runs"), LiveRuns(tmp_path / "runs")
    mine.enter()
    [found] = others.others()
    assert found.process == os.getpid()
    assert time.time() - found.started < 60
    assert mine.others() == ()
    mine.leave()
    assert others.others() == ()
    assert list((tmp_path / "runs").iterdir()) == []


def test_one_that_died_is_not_at_work_and_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "1-2-3.run").write_text("{}")
    runs = LiveRuns(tmp_path)
    assert runs.others() == ()
    assert list(tmp_path.iterdir()) != []
    runs.sweep()
    assert list(tmp_path.iterdir()) == []


def test_one_of_which_nothing_can_be_read_is_at_work_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "1-2-3.run"
    path.write_bytes(b"\xff{")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        [found] = LiveRuns(tmp_path).others()
        LiveRuns(tmp_path).sweep()
    assert found.started == 0
    assert path.exists()


def test_nothing_is_made_where_nobody_enters(tmp_path: Path) -> None:
    runs = LiveRuns(tmp_path / "runs")
    assert runs.others() == ()
    runs.sweep()
    runs.leave()
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_to_is_used_without(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file where the directory should be")
    runs = LiveRuns(tmp_path / "runs")
    runs.enter()
    runs.leave()


def test_who_enters_sweeps_away_what_others_left_that_were_killed(tmp_path: Path) -> None:
    """Else each night that was killed would leave a file for good."""
    (tmp_path / "1-1-dead.run").write_text("{}")
    half_made, entering = tmp_path / "1-2-dead.new", tmp_path / "1-3-now.new"
    half_made.touch()
    os.utime(half_made, (0, 0))
    entering.touch()
    runs = LiveRuns(tmp_path)
    runs.enter()
    left = {path.name for path in tmp_path.iterdir()}
    runs.leave()
    assert left > {entering.name}
    assert not left & {"1-1-dead.run", half_made.name}
