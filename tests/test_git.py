"""What git says of a tree, and releases fetched once, by however many runs."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.errors import SourceError
from builder.git import Git
from builder.interruption import Interruption
from builder.process import SubprocessRunner

pytestmark = pytest.mark.process


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(SubprocessRunner(Interruption()), os.environ, tmp_path / "releases")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one commit, tagged 1.29.0."""
    path = tmp_path / "tree"
    path.mkdir()
    _git(path, "init", "--quiet")
    (path / "file").write_text("one\n")
    _git(path, "add", ".")
    _git(path, "commit", "--quiet", "--message", "one")
    _git(path, "tag", "1.29.0")
    return path


def _git(tree: Path, *arguments: str) -> str:
    words = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(words, cwd=tree, check=True, capture_output=True, text=True).stdout.strip()


class TestDescribe:
    def test_a_clean_tree_at_a_release(self, git: Git, tree: Path) -> None:
        state = git.describe(tree)
        assert state.commit == _git(tree, "rev-parse", "HEAD")
        assert state.content == _git(tree, "rev-parse", "HEAD^{tree}")
        assert (state.tag, state.description, state.dirty, state.modified) == ("1.29.0", "1.29.0", False, False)
        assert state.committed_at == int(_git(tree, "log", "-1", "--format=%ct"))

    def test_a_commit_after_a_release(self, git: Git, tree: Path) -> None:
        _git(tree, "commit", "--quiet", "--allow-empty", "--message", "two")
        state = git.describe(tree)
        assert state.tag == ""
        assert state.description.startswith("1.29.0-1-g")

    def test_an_edit_is_dirty_and_modified_and_changes_the_content(self, git: Git, tree: Path) -> None:
        clean = git.describe(tree)
        (tree / "file").write_text("two\n")
        state = git.describe(tree)
        assert (state.dirty, state.modified) == (True, True)
        assert state.content != clean.content
        (tree / "file").write_text("tri\n")
        assert git.describe(tree).content not in (state.content, clean.content)

    def test_a_new_file_is_dirty_but_not_modified_as_istio_counts(self, git: Git, tree: Path) -> None:
        clean = git.describe(tree)
        (tree / "new").write_text("new\n")
        state = git.describe(tree)
        assert (state.dirty, state.modified) == (True, False)
        assert state.content != clean.content

    def test_a_go_file_that_git_ignores_changes_the_content(self, git: Git, tree: Path) -> None:
        (tree / ".git" / "info" / "exclude").write_text("local.go\n")
        clean = git.describe(tree)
        (tree / "local.go").write_text("package one\n")
        one = git.describe(tree)
        (tree / "local.go").write_text("package two\n")
        assert len({clean.content, one.content, git.describe(tree).content}) == 3
        assert not one.dirty

    def test_a_hooks_variables_do_not_lead_elsewhere(self, tree: Path, tmp_path: Path) -> None:
        environment = {**os.environ, "GIT_DIR": str(tmp_path / "other"), "GIT_INDEX_FILE": "/nowhere"}
        git = Git(SubprocessRunner(Interruption()), environment, tmp_path / "releases")
        assert git.describe(tree).tag == "1.29.0"

    def test_a_file_that_was_only_touched_is_clean(self, git: Git, tree: Path) -> None:
        os.utime(tree / "file", (1, 1))
        state = git.describe(tree)
        assert (state.dirty, state.modified) == (False, False)

    def test_describing_a_dirty_tree_leaves_the_repository_as_it_was(self, git: Git, tree: Path) -> None:
        (tree / "new").write_text("new\n")
        objects = sorted((tree / ".git" / "objects").rglob("*"))
        git.describe(tree)
        assert sorted((tree / ".git" / "objects").rglob("*")) == objects
        assert _git(tree, "status", "--porcelain") == "?? new"

    def test_a_tree_of_another_owner(self, git: Git, tree: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        subprocess.run(["chown", "-R", "65534:65534", tree], check=True)
        assert git.describe(tree).tag == "1.29.0"

    def test_no_repository(self, git: Git, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="is not a git checkout"):
            git.describe(tmp_path)


class TestCheckout:
    def test_a_release_is_fetched_once_shallow_and_at_its_tag(self, git: Git, tree: Path, tmp_path: Path) -> None:
        _git(tree, "commit", "--quiet", "--allow-empty", "--message", "two")
        _git(tree, "tag", "1.30.0")
        checkout = git.checkout_release(tree.as_uri(), "1.30.0")
        assert _git(checkout, "log", "--format=%s") == "two"
        assert git.describe(checkout) == git.describe(tree)
        tree.rename(tmp_path / "gone")
        assert git.checkout_release(tree.as_uri(), "1.30.0") == checkout

    def test_a_checkout_that_was_cut_off_is_made_again(self, git: Git, tree: Path) -> None:
        checkout = git.checkout_release(tree.as_uri(), "1.29.0")
        checkout.with_name("1.29.0.complete").unlink()
        (checkout / "file").unlink()
        assert git.checkout_release(tree.as_uri(), "1.29.0") == checkout
        assert (checkout / "file").read_text() == "one\n"

    def test_two_runs_at_once_get_the_same_tree(self, git: Git, tree: Path) -> None:
        with ThreadPoolExecutor() as pool:
            checkouts = list(pool.map(lambda _: git.checkout_release(tree.as_uri(), "1.29.0"), range(4)))
        assert len(set(checkouts)) == 1
        assert not git.describe(checkouts[0]).dirty

    def test_an_unknown_release_names_near_ones(self, git: Git, tree: Path) -> None:
        with pytest.raises(SourceError, match=r"there is no release 1\.29\.9") as raised:
            git.checkout_release(tree.as_uri(), "1.29.9")
        assert raised.value.hint == "Nearest tags: 1.29.0."

    def test_a_password_in_the_url_is_not_printed(self, git: Git, tmp_path: Path) -> None:
        url = f"file://user:secret@localhost{tmp_path}/none"
        with pytest.raises(SourceError) as raised:
            git.checkout_release(url, "1.29.0")
        assert "secret" not in raised.value.message + raised.value.hint
