"""Removes from a cache what its limits leave out, beside runs that are at work with it.

Each run is known as at work from before it uses anything, and marks what it uses before it looks whether it is there. So what
was used since the oldest of them began stays; and right before something is removed, its mark is looked at once more.
"""

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.cache.choice import choose
from builder.cache.entry import Entry, Kind
from builder.cache.survey import COMPLETE, GOING, MIRROR, SUM, Surveyor
from builder.cache.workspace import LOCK_FILE, Workspace
from builder.config.request import CacheLimits
from builder.runtime.file_lock import locked_if_free
from builder.runtime.last_use import STAMPS, forget, last_used, marks_held_off

# By how much the clocks of machines that share a cache may differ, or one clock may be set while a run is at work.
_SLACK_SECONDS = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What has gone (or would go), what stays although it is too old or too much, and what is there afterwards, in bytes.

    `in_use` is used by a run that is at work; `stuck` are those that could not be removed, each with the reason.
    """

    out: tuple[Entry, ...]
    in_use: tuple[Entry, ...]
    stuck: tuple[tuple[Entry, str], ...]
    left: int


def prune(workspace: Workspace, limits: CacheLimits, check_interrupted: Callable[[], None], *, dry_run: bool = False) -> Pruned:
    """Remove what is out of the limits, the longest unused first; with `dry_run` only say what.

    `check_interrupted`, asked before each removal, raises Interrupted.
    """
    now = time.time()
    runs = workspace.runs
    spared = min([now, *(run.started for run in runs.others())]) - _SLACK_SECONDS
    survey = Surveyor(workspace).survey()
    choice = choose(survey, limits, now, spared)
    if dry_run:
        left = survey.size - sum(entry.size for entry in choice.out)
        return Pruned(out=choice.out, in_use=choice.in_use, stuck=(), left=left)
    runs.sweep()
    out: list[Entry] = []
    in_use = list(choice.in_use)
    stuck: list[tuple[Entry, str]] = []
    for entry in choice.out:
        check_interrupted()
        try:
            (out if _remove(workspace, entry, spared) else in_use).append(entry)
        except OSError as error:
            stuck.append((entry, error.strerror or str(error)))
    left = survey.size - sum(entry.size for entry in out)
    return Pruned(out=tuple(out), in_use=tuple(in_use), stuck=tuple(stuck), left=left)


def _remove(workspace: Workspace, entry: Entry, spared: float) -> bool:
    """Whether it has gone; if not, somebody uses it. Raises OSError."""
    path = workspace.root / entry.path
    with _locked(entry, path) as free:
        if not free:
            return False
        with marks_held_off(path):
            # Used since it was looked at.
            if _holds_trees(path) if entry.shared else _used(path) >= spared:
                return False
            going = _take_away(path)
            forget(path)
        # Nobody is kept waiting for this.
        if going:
            shutil.rmtree(going)
    return True


@contextmanager
def _locked(entry: Entry, path: Path) -> Iterator[bool]:
    """Hold the lock that whoever works there holds; gives whether nobody does."""
    locks = {
        Kind.JOB: path / LOCK_FILE,
        Kind.PACKAGES: path / LOCK_FILE,
        Kind.SOURCE: (path if entry.shared else path.parent) / LOCK_FILE,
        # What is being fetched is locked itself.
        Kind.DOWNLOAD: path,
    }
    if entry.kind not in locks:
        yield True
        return
    with locked_if_free(locks[entry.kind]) as free:
        yield free


def _used(path: Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return 0.0 if path.name.startswith(GOING) else last_used(path)
    return 0.0


def _holds_trees(home: Path) -> bool:
    return any(path.is_dir() and path.name not in (MIRROR, STAMPS) for path in home.iterdir())


def _take_away(path: Path) -> Path | None:
    """It is no longer there, all at once. Gives the directory that is left to be removed, None for a file."""
    # First what says that it is whole.
    for suffix in (COMPLETE, SUM):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
    if path.is_dir() and not path.is_symlink():
        return path if path.name.startswith(GOING) else path.rename(path.with_name(f"{GOING}{uuid.uuid4().hex[:8]}"))
    path.unlink(missing_ok=True)
    return None
