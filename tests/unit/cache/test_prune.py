"""Pruning frees what is out of its limits, and nothing that a run may be using, whatever it does meanwhile."""

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from builder.cache.entry import Kind
from builder.cache.prune import prune
from builder.cache.survey import Surveyor
from builder.cache.workspace import Workspace
from builder.config.request import CacheLimits
from builder.errors import Interrupted
from builder.runtime.last_use import mark_used

DAY = 86400.0
EVERYTHING = CacheLimits(max_size=0)


def go_on() -> None:
    """Interrupt nothing."""


def age(path: Path, days: float) -> None:
    """As if it, and all in it, had been written so long ago."""
    then = time.time() - days * DAY
    for one in [path, *path.rglob("*")]:
        os.utime(one, (then, then))


def write(path: Path, size: int = 10_000, days: float = 9) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    age(path, days)
    return path


def add_job(workspace: Workspace, tree: str = "1.29.0", days: float = 9) -> Path:
    with workspace.job(Path("/src", tree), "r.test/istio", go_on, time.sleep) as directory:
        (directory / "programs").mkdir()
        (directory / "programs" / "pilot").write_bytes(b"x" * 10_000)
    then = time.time() - days * DAY
    age(directory, days)
    os.utime(directory.parent / ".used" / directory.name, (then, then))
    return directory


def add_release(workspace: Workspace, tag: str, days: float = 9) -> Path:
    home = workspace.releases / "abc"
    write(home / "mirror.git" / "HEAD", days=days)
    write(home / f"{tag}.complete", 0, days)
    write(home / "lock", 0)
    write(home / tag / "go.mod", days=days)
    age(home / tag, days)
    age(home / "mirror.git", days)
    return home / tag


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "cache")


class TestSurvey:
    def test_an_empty_cache_has_nothing_and_stays_away(self, workspace: Workspace) -> None:
        assert Surveyor(workspace).survey().size == 0
        assert not workspace.root.exists()

    def test_everything_is_found_with_what_it_belongs_to(self, workspace: Workspace) -> None:
        add_job(workspace)
        add_release(workspace, "1.29.0")
        write(workspace.downloads / "aa")
        write(workspace.downloads / "bb.123.member")
        write(workspace.downloads / "bb.123.member.sum", 65)
        for directory in (workspace.documents, workspace.layers, workspace.looks):
            write(directory / "cc")
        write(workspace.packages / "dd" / "lists" / "x")
        survey = Surveyor(workspace).survey()
        about = {(entry.kind, entry.path): entry.about for entry in survey.entries}
        [job] = [path for kind, path in about if kind is Kind.JOB]
        assert about == {
            (Kind.DOWNLOAD, "artifacts/aa"): "",
            (Kind.DOWNLOAD, "artifacts/bb.123.member"): "",
            (Kind.DOCUMENT, "documents/cc"): "",
            (Kind.LAYER, "layers/cc"): "",
            (Kind.LOOK, "looks/cc"): "",
            (Kind.PACKAGES, "apt/dd"): "",
            (Kind.JOB, job): "1.29.0 for r.test/istio",
            (Kind.SOURCE, "releases/abc/1.29.0"): "1.29.0",
            (Kind.SOURCE, "releases/abc"): "git objects of the releases",
        }
        assert all(entry.size >= 10_000 for entry in survey.entries)

    def test_what_is_linked_within_the_cache_counts_once(self, workspace: Workspace) -> None:
        blob = write(workspace.downloads / "aa", 1_000_000)
        job = add_job(workspace)
        (job / "layouts").mkdir()
        os.link(blob, job / "layouts" / "aa")
        assert 1_000_000 <= Surveyor(workspace).survey().size < 1_500_000

    def test_checksums_at_first_sight_and_journals_are_no_copies_and_stay(self, workspace: Workspace) -> None:
        kept = [write(workspace.downloads / "aa.first-use", 65), write(workspace.journals / "x.json")]
        prune(workspace, EVERYTHING, go_on)
        assert all(path.exists() for path in kept)


class TestPrune:
    def test_all_kinds_go_with_what_belongs_to_them(self, workspace: Workspace) -> None:
        job, tree = add_job(workspace), add_release(workspace, "1.29.0")
        blob, member = write(workspace.downloads / "aa"), write(workspace.downloads / "bb.1.member")
        write(workspace.downloads / "bb.1.member.sum", 65)
        state = write(workspace.packages / "dd" / "lists" / "x").parent.parent
        age(state, 9)
        document = write(workspace.documents / "cc")
        pruned = prune(workspace, EVERYTHING, go_on)
        assert [path for path in (job, tree, tree.parent, blob, member, state, document) if path.exists()] == []
        assert not (workspace.downloads / "bb.1.member.sum").exists()
        assert (len(pruned.out), pruned.in_use, pruned.stuck) == (7, (), ())
        assert Surveyor(workspace).survey().entries == ()

    def test_only_what_is_too_old_goes(self, workspace: Workspace) -> None:
        old, new = write(workspace.downloads / "aa", days=31), write(workspace.downloads / "bb", days=29)
        [out] = prune(workspace, CacheLimits(keep=30 * DAY), go_on).out
        assert out.path == "artifacts/aa"
        assert (old.exists(), new.exists()) == (False, True)

    def test_a_mark_of_use_counts_and_not_when_it_was_written(self, workspace: Workspace) -> None:
        used, unused = write(workspace.downloads / "aa", days=90), write(workspace.downloads / "bb", days=90)
        mark_used(used)
        prune(workspace, CacheLimits(keep=30 * DAY), go_on)
        assert (used.exists(), unused.exists()) == (True, False)

    def test_dry_run_changes_nothing(self, workspace: Workspace) -> None:
        add_job(workspace)
        blob = write(workspace.downloads / "aa")
        before = sorted(workspace.root.rglob("*"))
        pruned = prune(workspace, EVERYTHING, go_on, dry_run=True)
        assert len(pruned.out) == 2
        assert sorted(workspace.root.rglob("*")) == before
        assert blob.exists()

    def test_the_git_objects_stay_while_a_tree_does(self, workspace: Workspace) -> None:
        old, new = add_release(workspace, "1.28.0", 60), add_release(workspace, "1.29.0", 1)
        prune(workspace, CacheLimits(keep=30 * DAY), go_on)
        assert (old.exists(), new.exists(), (new.parent / "mirror.git").exists()) == (False, True, True)
        assert not (old.parent / "1.28.0.complete").exists()

    def test_an_interruption_ends_it(self, workspace: Workspace) -> None:
        blob = write(workspace.downloads / "aa")

        def interrupt() -> None:
            raise Interrupted("interrupted")

        with pytest.raises(Interrupted):
            prune(workspace, EVERYTHING, interrupt)
        assert blob.exists()

    def test_what_cannot_be_removed_is_told_and_the_rest_goes(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(workspace.downloads / "aa")
        blob = write(workspace.downloads / "bb")
        unlink = Path.unlink

        def refuse(path: Path, missing_ok: bool = False) -> None:
            if path.name == "aa":
                raise PermissionError(13, "Permission denied")
            unlink(path, missing_ok=missing_ok)

        monkeypatch.setattr(Path, "unlink", refuse)
        pruned = prune(workspace, EVERYTHING, go_on)
        assert [(entry.path, reason) for entry, reason in pruned.stuck] == [("artifacts/aa", "Permission denied")]
        assert not blob.exists()

    def test_what_a_pruning_that_was_killed_left_goes_next_time(self, workspace: Workspace) -> None:
        job = add_job(workspace)
        going = job.rename(job.with_name(".going-1234"))
        prune(workspace, CacheLimits(keep=30 * DAY), go_on)
        assert not going.exists()


class TestBesideRuns:
    def test_a_job_at_work_stays(self, workspace: Workspace) -> None:
        job = add_job(workspace)
        with workspace.job(Path("/src/1.29.0"), "r.test/istio", go_on, time.sleep):
            age(job, 9)
            stamp = job.parent / ".used" / job.name
            os.utime(stamp, (1, 1))
            pruned = prune(workspace, EVERYTHING, go_on)
            assert (job / "programs" / "pilot").exists()
        assert [entry.kind for entry in pruned.in_use] == [Kind.JOB]

    def test_what_was_used_since_the_oldest_run_began_stays(self, workspace: Workspace) -> None:
        before, since = write(workspace.downloads / "aa", days=5), write(workspace.downloads / "bb", days=1)
        run = workspace.runs
        run.enter()
        [path] = (workspace.root / "runs").iterdir()
        path.write_text(json.dumps({"process": 1, "host": "here", "started": time.time() - 2 * DAY}))
        try:
            pruned = prune(workspace, EVERYTHING, go_on)
        finally:
            run.leave()
        assert (before.exists(), since.exists()) == (False, True)
        assert [entry.path for entry in pruned.in_use] == ["artifacts/bb"]

    def test_what_is_used_after_it_was_chosen_stays(self, workspace: Workspace) -> None:
        first, second = write(workspace.downloads / "aa"), write(workspace.downloads / "bb")
        pruned = prune(workspace, EVERYTHING, lambda: mark_used(second))
        assert (first.exists(), second.exists()) == (False, True)
        assert [entry.path for entry in pruned.in_use] == ["artifacts/bb"]

    def test_what_is_being_fetched_stays(self, workspace: Workspace) -> None:
        part = write(workspace.downloads / "aa.part")
        with part.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            prune(workspace, EVERYTHING, go_on)
        assert part.exists()
        prune(workspace, EVERYTHING, go_on)
        assert not part.exists()

    def test_a_release_that_is_being_fetched_stays(self, workspace: Workspace) -> None:
        tree = add_release(workspace, "1.29.0")
        with (tree.parent / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            prune(workspace, EVERYTHING, go_on)
        assert (tree / "go.mod").exists()

    def test_runs_that_died_keep_nothing(self, workspace: Workspace) -> None:
        blob = write(workspace.downloads / "aa")
        left = write(workspace.root / "runs" / "1-2-3.run")
        prune(workspace, EVERYTHING, go_on)
        assert not blob.exists()
        assert not left.exists()
