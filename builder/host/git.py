"""Git: what a work tree says of itself, and releases fetched into a cache."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from builder.errors import SourceError
from builder.host.git_description import describe_checkout
from builder.host.git_remote import REMOTE, remote_environment
from builder.host.git_view import find_checkout, open_view, private_environment
from builder.oci.reference import redact_url
from builder.ports import ProcessFailed, ProcessRunner, ProcessSilent, TreeState
from builder.runtime.file_lock import locked
from builder.runtime.last_use import mark_used
from builder.runtime.retry import RetryableError, RetryPolicy
from builder.runtime.tree_links import find_linked

# What git (its transports are curl and ssh) prints when trying again may help.
# Of these, most often the address is wrong, or the network away: see `RetryableError.brief`.
_BRIEF = ("could not resolve host", "connection refused")
_TEMPORARY = (
    *_BRIEF,
    "connection reset",
    "connection timed out",
    "operation timed out",
    "early eof",
    "rpc failed",
    "unexpected disconnect",
    "the remote end hung up",
    "error: 5",
)

# What `git rev-parse --local-env-vars` lists (git 2.39).
_REPOSITORY_VARIABLES = frozenset(
    (
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NO_REPLACE_OBJECTS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    )
)

_OTHER_SOURCES = "--git-url names a mirror, --source a checkout."
# What git says at the end of whatever goes wrong with a server, and what is wrong stands before it.
_SAID_OF_ANY = ("Please make sure you have the correct access rights", "and the repository exists.")
_PROGRESS = re.compile(r"\d+% \(\d+/\d+\)")


class Git:
    """The git program. `silence` is for how many seconds a server may say nothing."""

    def __init__(
        self,
        run: ProcessRunner,
        environment: Mapping[str, str],
        cache: Path,
        *,
        retry: RetryPolicy,
        silence: float = 120.0,
    ) -> None:
        self._run = run
        # Git's answers are read, so they must not be translated; and no prompt may wait for a person who is not there.
        # Nor may we be led to another repository than the one asked about, as the variables of a git hook would.
        ours = {name: value for name, value in environment.items() if name not in _REPOSITORY_VARIABLES}
        self._environment = {**ours, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        self._cache = cache
        self._retry = retry
        self._silence = silence

    def checkout_release(self, url: str, tag: str) -> Path:
        """A work tree of this tag. Shallow; a run that was cut off is taken up again; two runs wait for each other.

        Raises SourceError where the tag or the repository cannot be had.
        """
        home = self._home(url)
        home.mkdir(parents=True, exist_ok=True)
        tree, complete = home / tag, home / f"{tag}.complete"
        with locked(home / "lock", self._retry.sleep):
            mark_used(tree)
            if complete.exists() and tree.is_dir():
                return tree
            mirror = self._open_mirror(home)
            self._fetch_tag(mirror, url, tag)
            # What a cut-off checkout left is no work tree anybody has edited: it has no completion mark.
            shutil.rmtree(tree, ignore_errors=True)
            alone = self._alone(mirror)
            self._git(home, alone, "worktree", "prune")
            self._git(home, alone, "worktree", "add", "--quiet", "--force", "--detach", str(tree), f"refs/tags/{tag}")
            complete.touch()
        return tree

    def version(self) -> str:
        """Such as `2.39.5`. Raises SourceError where there is no git."""
        return self._git(Path("/"), self._environment, "--version").removeprefix("git version ").partition(" ")[0]

    def known_release(self, url: str, tag: str) -> Path | None:
        """The work tree of this tag, where it was fetched before; nobody is asked."""
        tree = self._home(url) / tag
        return tree if tree.is_dir() and tree.with_name(f"{tag}.complete").exists() else None

    def has_tag(self, url: str, tag: str) -> bool:
        """Whether the server has it; nothing is fetched, or written. Raises SourceError where it does not say."""
        with tempfile.TemporaryDirectory(prefix="istio-build-git-") as scratch:
            mirror = self._open_mirror(Path(scratch))
            return bool(self._ask_server(mirror, url, "ls-remote", "--tags", "--refs", REMOTE, f"refs/tags/{tag}"))

    def list_tags(self, url: str) -> tuple[str, ...]:
        """The names of all tags of a repository, asked of its server; nothing is fetched, or kept. Raises SourceError."""
        with tempfile.TemporaryDirectory(prefix="istio-build-git-") as scratch:
            return self._ask_for_tags(self._open_mirror(Path(scratch)), url)

    def describe(self, tree: Path) -> TreeState:
        """What git says of a work tree. Nothing is run that its configuration, attributes or hooks name.

        Raises SourceError where it is no work tree, or where a link in it leads outside: then nothing says what it holds.
        """
        with tempfile.TemporaryDirectory(prefix="istio-build-git-") as scratch:
            checkout = find_checkout(tree)
            view = open_view(checkout, Path(scratch), self._ask_outside, self._environment)

            def git(*words: str, stdin: str = "") -> str:
                return self._git(checkout.top, view, *words, stdin=stdin)

            return describe_checkout(git, tree, checkout.top, lambda: find_linked(tree))

    def patch(self, tree: Path, patches: Sequence[tuple[str, bytes]], into: Path) -> tuple[Path, str]:
        """A copy of a work tree, as it is on disk, with these patches (name and content) applied in order, and its git tree id.

        Copies are kept below `into` by that id. What git ignores is not in them, but for what decides the tree's content.
        Raises PatchError where one does not apply, and SourceError as `describe` does.
        """
        from builder.host.git_patches import LINES_AS_COMMITTED, PatchedTrees, apply_patches

        with tempfile.TemporaryDirectory(prefix="istio-build-git-") as scratch:
            checkout = find_checkout(tree)
            view = open_view(checkout, Path(scratch), self._ask_outside, self._environment)

            def git(*words: str, stdin: str = "") -> str:
                return self._git(checkout.top, view, *words, stdin=stdin)

            def ask(words: Sequence[str], work_tree: Path, index: Path) -> str:
                here = {"GIT_WORK_TREE": str(work_tree), "GIT_INDEX_FILE": str(index)}
                return self._git(work_tree, {**view, **LINES_AS_COMMITTED, **here}, *words)

            # It leaves in the index what the work tree holds.
            describe_checkout(git, tree, checkout.top, lambda: find_linked(tree))
            content = apply_patches(git, patches, Path(scratch))
            with locked(into / "lock", self._retry.sleep):
                copy = PatchedTrees(root=into, index=Path(view["GIT_DIR"], "index"), ask=ask).provide(content)
        copy = copy / os.path.relpath(tree.resolve(), checkout.top)
        # A link may have led to the tree itself, by its whole path.
        find_linked(copy)
        return copy, content

    def _home(self, url: str) -> Path:
        return self._cache / hashlib.sha256(url.encode()).hexdigest()[:12]

    def _open_mirror(self, home: Path) -> Path:
        mirror = home / "mirror.git"
        if not (mirror / "HEAD").exists():
            self._git(home, self._alone(mirror), "init", "--quiet", "--bare", "--template=")
        return mirror

    def _alone(self, mirror: Path) -> dict[str, str]:
        """What is done there needs nothing that anybody has set, and a checkout runs filters and hooks."""
        return {**self._environment, **private_environment(), "GIT_DIR": str(mirror)}

    def _ask_outside(self, directory: Path, *words: str) -> str:
        return self._git(directory, {**self._environment, "GIT_CEILING_DIRECTORIES": str(directory.parent.resolve())}, *words)

    def _fetch_tag(self, mirror: Path, url: str, tag: str) -> None:
        refspec = f"+refs/tags/{tag}:refs/tags/{tag}"

        try:
            # With --progress, so that only one that hangs is silent.
            self._ask_patiently(mirror, url, "fetch", "--progress", "--depth=1", "--no-tags", REMOTE, refspec)
        except SourceError as error:
            if "couldn't find remote ref" not in error.message:
                raise
            raise SourceError(
                f"there is no release {tag} at {redact_url(url)}", hint=self._suggest_tag(mirror, url, tag)
            ) from error

    def _ask_patiently(self, mirror: Path, url: str, *words: str) -> str:
        """Ask again where that may help. Raises SourceError, which says what else there is."""

        def attempt() -> str:
            try:
                return self._ask_server(mirror, url, *words)
            except SourceError as error:
                silent, said = isinstance(error.__cause__, ProcessSilent), error.message.lower()
                error.hint = error.hint or f"Is {redact_url(url)} right, and does this machine reach it? {_OTHER_SOURCES}"
                if silent or any(sign in said for sign in _TEMPORARY):
                    brief = any(sign in said for sign in _BRIEF)
                    raise RetryableError(error, silent=silent, brief=brief) from error.__cause__
                raise

        return self._retry.run(attempt)

    def _ask_for_tags(self, mirror: Path, url: str) -> tuple[str, ...]:
        listing = self._ask_patiently(mirror, url, "ls-remote", "--tags", "--refs", REMOTE)
        return tuple(line.rpartition("refs/tags/")[2] for line in listing.splitlines())

    def _suggest_tag(self, mirror: Path, url: str, tag: str) -> str:
        there = self._ask_for_tags(mirror, url)
        # The letters of 1.9.7 are as near to those of 1.29.77, but who wrote that means its line.
        of_the_line = [other for other in there if other.rpartition(".")[0] == tag.rpartition(".")[0]]
        close = get_close_matches(tag, of_the_line or there, n=3)
        return f"Nearest tags: {', '.join(close)}." if close else "See the repository's tags for what there is."

    def _ask_server(self, mirror: Path, url: str, *words: str) -> str:
        """With what the user has set about proxies, credentials and ssh; of hooks, none."""
        environment = {**self._environment, **remote_environment(url), "GIT_DIR": str(mirror)}
        return self._git(mirror, environment, "-c", f"core.hooksPath={os.devnull}", *words, idle_timeout=self._silence)

    def _git(
        self,
        directory: Path,
        environment: Mapping[str, str],
        *arguments: str,
        stdin: str = "",
        idle_timeout: float | None = None,
    ) -> str:
        try:
            done = self._run.run(["git", *arguments], cwd=directory, env=environment, stdin=stdin, idle_timeout=idle_timeout)
        except ProcessFailed as error:
            if error.returncode == 127:
                raise SourceError("git is not installed", hint="Install git, then run the same again.") from error
            command = arguments[2] if arguments[0] == "-c" else arguments[0]
            raise SourceError(f"git {command} failed: {_last_words(error)}") from error
        # A status line begins with a space.
        return done.stdout.rstrip("\n")


def _last_words(error: ProcessFailed) -> str:
    said = (line.strip() for line in error.stderr.splitlines())
    lines = [redact_url(line) for line in said if line and line not in _SAID_OF_ANY and not _PROGRESS.search(line)]
    return " / ".join(lines[-3:])[:500] or f"status {error.returncode}"
