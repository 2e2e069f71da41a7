"""What git says of a tree, while nothing runs that others have set; and releases fetched once, by however many runs."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.errors import Interrupted, SourceError
from builder.host.git import Git
from builder.host.git_remote import remote_environment
from builder.host.process import SubprocessRunner
from builder.ports import Completed, ProcessFailed, ProcessSilent
from builder.runtime.cancellation import Cancellation
from builder.runtime.file_lock import locked
from builder.runtime.retry import RetryPolicy
from tests.fakes.runner import Call, FakeRunner

RETRY = RetryPolicy(sleep=lambda _: None)


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(SubprocessRunner(Cancellation()), os.environ, tmp_path / "releases", retry=RETRY)


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


def make_git(tmp_path: Path, **variables: str) -> Git:
    """Git for somebody who has these variables set."""
    return Git(SubprocessRunner(Cancellation()), {**os.environ, **variables}, tmp_path / "releases", retry=RETRY)


def content_by_git(tree: Path, *forced: str) -> str:
    """The tree id that git itself gives a commit of everything, in a copy."""
    copy = tree.with_name(f"{tree.name}-copy")
    shutil.copytree(tree, copy, symlinks=True)
    _git(copy, "add", "--all")
    if forced:
        _git(copy, "add", "--force", *forced)
    return _git(copy, "write-tree")


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
        # A program is told which part of the tree it was.
        assert [name for (name, one), (_, other) in zip(clean.parts, state.parts, strict=True) if one != other] == ["file"]
        assert dict(clean.parts)["file"] == _git(tree, "rev-parse", "HEAD:file")
        (tree / "file").write_text("tri\n")
        assert git.describe(tree).content not in (state.content, clean.content)

    def test_a_new_file_is_dirty_but_not_modified_as_istio_counts(self, git: Git, tree: Path) -> None:
        clean = git.describe(tree)
        (tree / "new").write_text("new\n")
        state = git.describe(tree)
        assert (state.dirty, state.modified) == (True, False)
        assert state.content != clean.content
        # Parts are told to everybody, and what somebody calls a file of their own is not.
        assert state.parts == clean.parts

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
        git = Git(SubprocessRunner(Cancellation()), environment, tmp_path / "releases", retry=RETRY)
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

    def test_no_git(self, tree: Path, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="git is not installed") as raised:
            make_git(tmp_path, PATH=str(tmp_path)).describe(tree)
        assert raised.value.hint

    def test_a_repository_without_commits(self, git: Git, tmp_path: Path) -> None:
        _git(tmp_path, "init", "--quiet")
        with pytest.raises(SourceError, match=r"is not a git checkout: .*does not have any commits") as raised:
            git.describe(tmp_path)
        assert raised.value.hint

    @pytest.mark.parametrize(
        ("name", "told"),
        [
            ("HEAD", "is not a git checkout: .*/tree/.git has no file HEAD"),
            ("config", "bad config line 1 in file .*/tree/.git/config"),
        ],
    )
    def test_a_broken_repository(self, git: Git, tree: Path, name: str, told: str) -> None:
        if name == "HEAD":
            (tree / ".git" / name).unlink()
        else:
            (tree / ".git" / name).write_text("no setting\n")
        with pytest.raises(SourceError, match=told):
            git.describe(tree)


def change_names(tree: Path) -> None:
    for name in ("a b", "ä", 'quo"te', "back\\slash", "line\nend", " first", "last ", "tab\t", "-dash"):
        (tree / name).write_text(name)
    (tree / os.fsdecode(b"\xff")).write_text("no UTF-8")


def change_file_to_directory(tree: Path) -> None:
    (tree / "file").unlink()
    (tree / "file").mkdir()
    (tree / "file" / "in").write_text("in\n")


def change_file_to_link(tree: Path) -> None:
    (tree / "file").unlink()
    (tree / "new").write_text("new\n")
    (tree / "file").symlink_to("new")


def change_index_only(tree: Path) -> None:
    (tree / "new").write_text("new\n")
    _git(tree, "add", "new")
    _git(tree, "mv", "file", "moved")
    (tree / "new").write_text("newer\n")
    (tree / "intended").write_text("intended\n")
    _git(tree, "add", "--intent-to-add", "intended")


def change_mode(tree: Path) -> None:
    (tree / "file").chmod(0o755)


def change_line_ends(tree: Path) -> None:
    _git(tree, "config", "core.autocrlf", "true")
    (tree / "file").write_bytes(b"two\r\n")


def change_nested_repository(tree: Path) -> None:
    make_repository(tree / "nested one")


def change_submodule(tree: Path) -> None:
    make_repository(tree / "sub")
    _git(tree, "add", "sub")
    _git(tree, "commit", "--quiet", "--message", "sub")
    _git(tree / "sub", "commit", "--quiet", "--allow-empty", "--message", "newer")


def change_split_index(tree: Path) -> None:
    _git(tree, "update-index", "--split-index")
    (tree / "file").write_text("two\n")


def make_repository(path: Path) -> None:
    path.mkdir()
    _git(path, "init", "--quiet")
    (path / "inner").write_text("inner\n")
    _git(path, "add", ".")
    _git(path, "commit", "--quiet", "--message", "inner")


class TestContent:
    @pytest.mark.parametrize(
        "change",
        [
            change_names,
            change_file_to_directory,
            change_file_to_link,
            change_index_only,
            change_mode,
            change_line_ends,
            change_nested_repository,
            change_submodule,
            change_split_index,
        ],
    )
    def test_it_is_what_a_commit_of_everything_would_be(self, git: Git, tree: Path, change: Callable[[Path], None]) -> None:
        change(tree)
        state = git.describe(tree)
        assert state.dirty
        assert state.content == content_by_git(tree)

    def test_what_a_link_leads_to_counts_though_git_ignores_it(self, git: Git, tree: Path) -> None:
        (tree / ".git" / "info" / "exclude").write_text("ignored*\n")
        (tree / "ignored.json").write_text("one")
        (tree / "ignored-directory").mkdir()
        (tree / "ignored-directory" / "in").write_text("in")
        clean = git.describe(tree)
        (tree / "link").symlink_to("ignored.json")
        (tree / "directory").symlink_to("ignored-directory")
        state = git.describe(tree)
        assert state.content == content_by_git(tree, "ignored.json", "ignored-directory") != clean.content
        (tree / "ignored.json").write_text("two")
        assert git.describe(tree).content != state.content

    def test_a_link_that_leads_outside_is_refused(self, git: Git, tree: Path) -> None:
        (tree / "link").symlink_to("/etc/hostname")
        with pytest.raises(SourceError, match=r"1 link in .* leads outside: link -> /etc/hostname"):
            git.describe(tree)


class TestKindsOfCheckouts:
    def test_a_git_worktree(self, git: Git, tree: Path, tmp_path: Path) -> None:
        _git(tree, "worktree", "add", "--quiet", "--detach", str(tmp_path / "worktree"))
        assert git.describe(tmp_path / "worktree") == git.describe(tree)

    def test_a_clone_of_a_clone_that_shares_objects(self, git: Git, tree: Path, tmp_path: Path) -> None:
        _git(tmp_path, "clone", "--quiet", "--shared", str(tree), "one")
        _git(tmp_path, "clone", "--quiet", "--shared", "one", "two")
        assert git.describe(tmp_path / "two") == git.describe(tree)

    def test_a_directory_of_a_repository(self, git: Git, tree: Path) -> None:
        (tree / "below").mkdir()
        (tree / ".git" / "info" / "exclude").write_text("ignored*\n")
        (tree / "below" / "link").symlink_to("ignored")
        (tree / "below" / "ignored").write_text("one")
        state = git.describe(tree / "below")
        assert state.tag == "1.29.0"
        assert state.content == content_by_git(tree, "below/ignored")

    def test_a_sparse_checkout(self, git: Git, tree: Path) -> None:
        (tree / "below").mkdir()
        (tree / "below" / "in").write_text("in")
        _git(tree, "add", ".")
        _git(tree, "commit", "--quiet", "--message", "two")
        _git(tree, "sparse-checkout", "set", "elsewhere")
        assert not (tree / "below").exists()
        assert not git.describe(tree).dirty

    def test_a_colon_in_its_name(self, git: Git, tree: Path) -> None:
        renamed = tree.rename(tree.with_name("a:b"))
        assert git.describe(renamed).tag == "1.29.0"

    def test_what_the_user_ignores_everywhere(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / ".gitconfig").write_text("[core]\n\texcludesFile = ~/ignored\n")
        (tmp_path / "ignored").write_text("*.swp\n")
        (tree / "file.swp").write_text("")
        assert not make_git(tmp_path, HOME=str(tmp_path)).describe(tree).dirty

    def test_what_the_trees_configuration_says_to_ignore_does_not_count(self, git: Git, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "ignored").write_text("*.go\n")
        _git(tree, "config", "core.excludesFile", str(tmp_path / "ignored"))
        (tree / "file.go").write_text("")
        assert git.describe(tree).dirty

    @pytest.mark.parametrize("name", ["config", "packed-refs", "refs/tags/2", "info/exclude"])
    def test_a_fifo_in_the_repository_is_not_opened(self, git: Git, tree: Path, name: str) -> None:
        (tree / ".git" / name).unlink(missing_ok=True)
        os.mkfifo(tree / ".git" / name)
        assert git.describe(tree).commit


# Each plants a program into a tree, or gives the variables of a user who has it; git knows many ways to run one.
Plant = Callable[[Path, str], Mapping[str, str] | None]


def plant_settings(*settings: str, attributes: str = "") -> Plant:
    def plant(tree: Path, program: str) -> None:
        if attributes:
            (tree / ".gitattributes").write_text(f"* {attributes}\n")
        for setting in settings:
            name, _, value = setting.partition("=")
            _git(tree, "config", name, value.replace("PROGRAM", program))

    return plant


def plant_include(name: str) -> Plant:
    def plant(tree: Path, program: str) -> None:
        (tree / "included").write_text(f"[core]\n\tfsmonitor = {program}\n")
        _git(tree, "config", name, str(tree / "included"))

    return plant


def plant_hooks(tree: Path, program: str) -> None:
    (tree / ".git" / "hooks").mkdir(exist_ok=True)
    for name in ("post-index-change", "post-checkout", "reference-transaction", "fsmonitor-watchman", "pre-commit"):
        shutil.copy(program, tree / ".git" / "hooks" / name)


def plant_promisor(tree: Path, program: str) -> None:
    """An object that is missing is fetched, by a program."""
    plant_settings(
        "core.repositoryformatversion=1",
        "extensions.partialClone=origin",
        "remote.origin.promisor=true",
        "remote.origin.url=ssh://nowhere.invalid/x",
        "core.sshCommand=PROGRAM",
    )(tree, program)
    # Git looks at what is committed before it decides whether line ends are changed.
    plant_settings("core.autocrlf=true")(tree, program)
    (tree / "lost").write_text("lost\n")
    blob = _git(tree, "hash-object", "-w", "lost")
    _git(tree, "update-index", "--add", "--cacheinfo", f"100644,{blob},lost")
    (tree / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    (tree / "lost").write_bytes(b"found\r\n")


def plant_signature(tree: Path, program: str) -> None:
    plant_settings("log.showSignature=true", "gpg.program=PROGRAM")(tree, program)
    signed = _git(tree, "cat-file", "commit", "HEAD").replace("\n\n", "\ngpgsig -----BEGIN PGP SIGNATURE-----\n x\n\n", 1)
    words = ["git", "hash-object", "-t", "commit", "-w", "--stdin"]
    made = subprocess.run(words, cwd=tree, check=True, capture_output=True, text=True, input=f"{signed}\n").stdout.strip()
    _git(tree, "reset", "--quiet", "--soft", made)


def plant_submodule(tree: Path, program: str) -> None:
    make_repository(tree / "sub")
    _git(tree, "add", "sub")
    (tree / ".gitmodules").write_text('[submodule "sub"]\n\tpath = sub\n\turl = ./sub\n\tignore = none\n')
    plant_settings("core.fsmonitor=PROGRAM")(tree / "sub", program)


def plant_worktree_settings(tree: Path, program: str) -> None:
    plant_settings("extensions.worktreeConfig=true")(tree, program)
    _git(tree, "config", "--worktree", "core.fsmonitor", program)


def plant_another_owner(tree: Path, program: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    plant_settings("core.fsmonitor=PROGRAM")(tree, program)
    subprocess.run(["chown", "-R", "65534:65534", tree], check=True)


def plant_users_filter(tree: Path, program: str) -> Mapping[str, str]:
    """The user's own filter, which the tree names."""
    (tree / ".gitattributes").write_text("* filter=x\n")
    (tree.parent / ".gitconfig").write_text(f'[filter "x"]\n\tclean = {program}\n')
    return {"HOME": str(tree.parent)}


def plant_variables(**variables: str) -> Plant:
    def plant(tree: Path, program: str) -> Mapping[str, str]:
        return {name: value.replace("PROGRAM", program) for name, value in variables.items()}

    return plant


PLANTS: dict[str, Plant] = {
    "fsmonitor": plant_settings("core.fsmonitor=PROGRAM"),
    "clean filter": plant_settings("filter.x.clean=PROGRAM", attributes="filter=x"),
    "required filter": plant_settings("filter.x.clean=PROGRAM", "filter.x.required=true", attributes="filter=x"),
    "filter process": plant_settings("filter.x.process=PROGRAM", attributes="filter=x"),
    "external diff": plant_settings("diff.external=PROGRAM"),
    "diff driver": plant_settings("diff.x.command=PROGRAM", "diff.x.textconv=PROGRAM", attributes="diff=x"),
    "hooks": plant_hooks,
    "include": plant_include("include.path"),
    "include on condition": plant_include("includeIf.gitdir:**.path"),
    "aliases": plant_settings("alias.status=!PROGRAM", "alias.log=!PROGRAM", "alias.describe=!PROGRAM"),
    "promisor": plant_promisor,
    "pager": plant_settings("core.pager=PROGRAM", "pager.log=PROGRAM", "pager.tag=true", "pager.status=true"),
    "signature": plant_signature,
    "submodule": plant_submodule,
    "settings of the worktree": plant_worktree_settings,
    "another owner": plant_another_owner,
    "the user's filter": plant_users_filter,
    "a variable with an external diff": plant_variables(GIT_EXTERNAL_DIFF="PROGRAM", GIT_PAGER="PROGRAM"),
    "variables with settings": plant_variables(
        GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="core.fsmonitor", GIT_CONFIG_VALUE_0="PROGRAM"
    ),
    "a variable with settings": plant_variables(GIT_CONFIG_PARAMETERS="'core.fsmonitor'='PROGRAM'"),
}


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that is there once the planted program has run."""
    return tmp_path / "it-ran"


@pytest.fixture
def program(tmp_path: Path, marker: Path) -> str:
    """What is planted."""
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\ntouch {marker}\nexit 1\n")
    path.chmod(0o755)
    return str(path)


class TestNothingRuns:
    @pytest.mark.parametrize("name", PLANTS)
    def test_describing_a_tree(self, tree: Path, tmp_path: Path, program: str, marker: Path, name: str) -> None:
        variables = PLANTS[name](tree, program) or {}
        marker.unlink(missing_ok=True)
        # Of the same length, so that git must read it; and one that it must add.
        (tree / "file").write_text("two\n")
        (tree / "new").write_text("new\n")
        state = make_git(tmp_path, **variables).describe(tree)
        assert not marker.exists()
        assert (state.dirty, state.modified) == (True, True)

    def test_a_release_that_is_checked_out(self, tree: Path, tmp_path: Path, program: str, marker: Path) -> None:
        (tree / ".gitattributes").write_text("* filter=x\n")
        _git(tree, "add", ".")
        _git(tree, "commit", "--quiet", "--message", "two")
        _git(tree, "tag", "1.29.1")
        hooks = tmp_path / "template" / "hooks"
        hooks.mkdir(parents=True)
        for name in ("post-checkout", "reference-transaction", "post-index-change"):
            shutil.copy(program, hooks / name)
        (tmp_path / ".gitconfig").write_text(
            f'[filter "x"]\n\tsmudge = {program}\n[init]\n\ttemplateDir = {hooks.parent}\n[core]\n\thooksPath = {hooks}\n'
        )
        checkout = make_git(tmp_path, HOME=str(tmp_path)).checkout_release(tree.as_uri(), "1.29.1")
        assert not marker.exists()
        assert (checkout / "file").read_text() == "one\n"


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

    def test_the_users_settings_count_for_fetching(self, tree: Path, tmp_path: Path) -> None:
        (tmp_path / ".gitconfig").write_text(f'[url "{tree.as_uri()}"]\n\tinsteadOf = https://istio.invalid/istio\n')
        git = make_git(tmp_path, HOME=str(tmp_path))
        assert (git.checkout_release("https://istio.invalid/istio", "1.29.0") / "file").exists()

    def test_a_run_that_waits_for_another_can_be_interrupted(self, tree: Path, tmp_path: Path) -> None:
        cancellation = Cancellation()
        git = Git(SubprocessRunner(cancellation), os.environ, tmp_path / "releases", retry=RetryPolicy(sleep=cancellation.wait))
        home = git.checkout_release(tree.as_uri(), "1.29.0").parent
        cancellation.set()
        with locked(home / "lock", cancellation.wait), pytest.raises(Interrupted):
            git.checkout_release(tree.as_uri(), "1.29.0")


class TestTags:
    def test_all_tags_of_a_repository_are_listed_without_fetching_any(self, git: Git, tree: Path, tmp_path: Path) -> None:
        _git(tree, "tag", "--annotate", "--message", "two", "v1.30.0-rc.0")
        assert git.list_tags(tree.as_uri()) == ("1.29.0", "v1.30.0-rc.0")
        assert git.list_tags(str(tree)) == ("1.29.0", "v1.30.0-rc.0")
        assert list(tmp_path.rglob("*.complete")) == []
        # A release that was fetched before has no part in it, nor does what is asked next.
        git.checkout_release(tree.as_uri(), "1.29.0")
        _git(tree, "tag", "1.30.0")
        assert git.list_tags(tree.as_uri()) == ("1.29.0", "1.30.0", "v1.30.0-rc.0")

    def test_what_may_pass_is_tried_again(self, tmp_path: Path) -> None:
        failures = [ProcessFailed(("git",), 128, "", "fatal: early EOF")]

        def answer(call: Call) -> Completed:
            if "ls-remote" not in call.argv:
                return Completed(stdout="", stderr="")
            if failures:
                raise failures.pop()
            return Completed(stdout="c\trefs/tags/1.29.0\n", stderr="")

        git = Git(FakeRunner(answer), {}, tmp_path, retry=RetryPolicy(attempts=4, sleep=lambda _: None))
        assert git.list_tags("https://example.org/istio") == ("1.29.0",)

    def test_a_repository_that_is_not_there_is_told_without_its_password(self, git: Git, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="git ls-remote failed") as raised:
            git.list_tags(f"file://user:secret@localhost{tmp_path}/none")
        assert "--git-url names a mirror" in raised.value.hint
        assert "secret" not in raised.value.message + raised.value.hint


SILENT = "remote: Counting objects:  50% (1/2)\nended: it printed nothing for 120 s"


class TestServer:
    @pytest.mark.parametrize(
        ("stderr", "tries"),
        [(SILENT, 2), ("fatal: early EOF", 4), ("fatal: Authentication failed", 1)],
    )
    def test_what_may_pass_is_tried_again_and_silence_once(self, tmp_path: Path, stderr: str, tries: int) -> None:
        pauses: list[float] = []

        def answer(call: Call) -> Completed:
            if "fetch" in call.argv:
                failure = ProcessSilent if stderr == SILENT else ProcessFailed
                raise failure(call.argv, 1, "", stderr)
            return Completed(stdout="", stderr="")

        runner = FakeRunner(answer)
        with pytest.raises(SourceError, match="git fetch failed") as raised:
            Git(runner, {}, tmp_path, retry=RetryPolicy(attempts=4, sleep=pauses.append)).checkout_release(
                "https://example.org/istio", "1.29.0"
            )
        assert len([call for call in runner.calls if "fetch" in call.argv]) == tries == len(pauses) + 1
        assert raised.value.message == f"git fetch failed: {stderr.splitlines()[-1]}"

    @pytest.mark.parametrize("said", ["Could not resolve host: example.org", "errno=Connection refused"])
    def test_a_host_that_is_not_there_is_asked_for_five_seconds_at_most(self, tmp_path: Path, said: str) -> None:
        """Git does not tell a name that there is not from a resolver that fails."""
        pauses: list[float] = []

        def answer(call: Call) -> Completed:
            if "fetch" in call.argv:
                raise ProcessFailed(call.argv, 128, "", f"fatal: unable to access: {said}")
            return Completed(stdout="", stderr="")

        git = Git(FakeRunner(answer), {}, tmp_path, retry=RetryPolicy(sleep=pauses.append))
        with pytest.raises(SourceError, match=f"git fetch failed: .*{said}") as raised:
            git.checkout_release("https://example.org/istio", "1.29.0")
        assert raised.value.hint.startswith("Is https://example.org/istio right, and does this machine reach it?")
        assert pauses
        assert sum(pauses) <= 5

    def test_what_is_wrong_is_told_and_not_what_git_says_whatever_is_wrong(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="does not appear to be a git repository") as raised:
            make_git(tmp_path).checkout_release(str(tmp_path / "nothing-here"), "1.29.0")
        assert str(tmp_path / "nothing-here") in raised.value.message
        assert "access rights" not in raised.value.message

    def test_a_server_that_says_nothing_is_given_up(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"git://127.0.0.1:{server.getsockname()[1]}/istio"
            git = Git(SubprocessRunner(Cancellation()), os.environ, tmp_path, retry=RETRY, silence=0.6)
            with pytest.raises(SourceError, match=r"git fetch failed: .*it printed nothing for 1 s"):
                git.checkout_release(url, "1.29.0")

    @pytest.mark.parametrize(
        "url",
        [
            "https://user:secret@example.org/istio?token=secret",
            "ssh://user:secret@example.org/istio",
            "file://user:secret@localhost/istio",
        ],
    )
    def test_a_password_is_in_no_command(self, tmp_path: Path, url: str) -> None:
        runner = FakeRunner()
        Git(runner, {}, tmp_path, retry=RETRY).checkout_release(url, "1.29.0")
        Git(runner, {}, tmp_path, retry=RETRY)._suggest_tag(tmp_path, url, "1.29.0")
        assert {"fetch", "ls-remote"} <= {word for call in runner.calls for word in call.argv}
        assert "secret" not in " ".join(word for call in runner.calls for word in call.argv)

    def test_a_password_goes_to_its_server_alone(self, tmp_path: Path) -> None:
        remote = remote_environment("https://us%40er:pass%20word'$x@example.org:8443/istio")
        assert remote["GIT_CONFIG_VALUE_0"] == "https://example.org:8443/istio"
        (tmp_path / ".gitconfig").write_text('[credential]\n\thelper = "!echo username=other; echo password=other; :"\n')

        def ask(host: str) -> list[str]:
            environment = {**os.environ, "HOME": str(tmp_path), **remote, "GIT_TERMINAL_PROMPT": "0"}
            words, given = ["git", "credential", "fill"], f"protocol=https\nhost={host}\n\n"
            done = subprocess.run(words, env=environment, cwd=tmp_path, check=True, input=given, capture_output=True, text=True)
            return done.stdout.splitlines()[2:]

        assert ask("example.org:8443") == ["username=us@er", "password=pass word'$x"]
        assert ask("example.org") == ask("elsewhere.org") == ["username=other", "password=other"]


class TestLooking:
    """What is asked before a run, and leaves nothing."""

    def test_which_git_it_is(self, git: Git) -> None:
        assert git.version().split(".")[0].isdigit()

    def test_a_server_is_asked_for_a_tag_and_nothing_is_written(self, tree: Path, tmp_path: Path) -> None:
        cache = tmp_path / "no-cache"
        git = Git(SubprocessRunner(Cancellation()), os.environ, cache, retry=RETRY)
        assert (git.has_tag(tree.as_uri(), "1.29.0"), git.has_tag(tree.as_uri(), "1.29")) == (True, False)
        assert git.known_release(tree.as_uri(), "1.29.0") is None
        assert not cache.exists()

    def test_a_server_that_does_not_say_is_told(self, git: Git, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match="ls-remote failed"):
            git.has_tag((tmp_path / "nowhere").as_uri(), "1.29.0")

    def test_what_was_fetched_before_is_known(self, git: Git, tree: Path) -> None:
        fetched = git.checkout_release(tree.as_uri(), "1.29.0")
        assert git.known_release(tree.as_uri(), "1.29.0") == fetched
        fetched.with_name("1.29.0.complete").unlink()
        assert git.known_release(tree.as_uri(), "1.29.0") is None
