"""Git: what a work tree says of itself, and releases fetched into a cache."""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from builder.errors import SourceError
from builder.file_lock import locked
from builder.ports import ProcessFailed, ProcessRunner, TreeState
from builder.reference import redact_url
from builder.trust import trust_directory

# What git (its transports are curl and ssh) prints when trying again may help.
_TEMPORARY = (
    "could not resolve host",
    "connection refused",
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


class Git:
    """Fulfils `ports.Repositories` with the git program."""

    def __init__(self, run: ProcessRunner, environment: Mapping[str, str], cache: Path) -> None:
        self._run = run
        # Git's answers are read, so they must not be translated; and no prompt may wait for a person who is not there.
        # Nor may we be led to another repository than the one asked about, as the variables of a git hook would.
        ours = {name: value for name, value in environment.items() if name not in _REPOSITORY_VARIABLES}
        self._environment = {**ours, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        self._cache = cache

    def checkout_release(self, url: str, tag: str) -> Path:
        """A work tree of this tag. Shallow; a run that was cut off is taken up again; two runs wait for each other.

        Raises SourceError where the tag or the repository cannot be had.
        """
        home = self._cache / hashlib.sha256(url.encode()).hexdigest()[:12]
        home.mkdir(parents=True, exist_ok=True)
        tree, complete = home / tag, home / f"{tag}.complete"
        with locked(home / "lock", time.sleep):
            if complete.exists() and tree.is_dir():
                return tree
            mirror = home / "mirror.git"
            if not (mirror / "HEAD").exists():
                self._git(None, "init", "--quiet", "--bare", str(mirror))
            self._fetch_tag(mirror, url, tag)
            # What a cut-off checkout left is no work tree anybody has edited: it has no completion mark.
            shutil.rmtree(tree, ignore_errors=True)
            self._git(mirror, "worktree", "prune")
            self._git(mirror, "worktree", "add", "--quiet", "--force", "--detach", str(tree), f"refs/tags/{tag}")
            complete.touch()
        return tree

    def describe(self, tree: Path) -> TreeState:
        """What git says of a work tree. Raises SourceError where it is not one."""
        try:
            commit = self._git(tree, "rev-parse", "HEAD")
        except SourceError as error:
            raise SourceError(
                f"{tree} is not a git checkout: {error.message}",
                hint="The version stamp and all timestamps come from the commit: give a clone, or use --istio VERSION.",
            ) from error
        questions = (
            # It also refreshes the index, without which diff-index reports files that were only touched.
            ("status", "--porcelain"),
            ("log", "-1", "--format=%ct"),
            ("rev-parse", "HEAD^{tree}"),
            ("tag", "--points-at", "HEAD"),
            ("describe", "--tags", "--always"),
            # Go compiles these although git leaves them out.
            ("ls-files", "--others", "--ignored", "--exclude-standard", "--", "*.go"),
        )
        # Side by side, because somebody waits for the compiler to start.
        with ThreadPoolExecutor(max_workers=len(questions)) as pool:
            answers = pool.map(lambda words: self._git(tree, *words), questions)
            status, committed_at, content, tags, description, ignored = answers
        return TreeState(
            commit=commit,
            committed_at=int(committed_at),
            content=self._dirty_tree_id(tree, ignored.splitlines()) if status or ignored else content,
            tag=tags.split()[0] if tags else "",
            description=description,
            dirty=bool(status),
            modified=bool(status) and not self._succeeds(tree, "diff-index", "--quiet", "HEAD", "--"),
        )

    def _dirty_tree_id(self, tree: Path, ignored: Sequence[str]) -> str:
        """The tree id that committing everything would give, computed without touching the user's repository."""
        git_dir = Path(self._git(tree, "rev-parse", "--absolute-git-dir"))
        objects = self._git(tree, "rev-parse", "--path-format=absolute", "--git-path", "objects")
        with tempfile.TemporaryDirectory() as scratch:
            index = Path(scratch, "index")
            if (git_dir / "index").exists():
                shutil.copy2(git_dir / "index", index)
            aside = {
                "GIT_INDEX_FILE": str(index),
                "GIT_OBJECT_DIRECTORY": scratch,
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": objects,
            }
            self._git(tree, "add", "--all", extra=aside)
            if ignored:
                self._git(tree, "add", "--force", "--", *ignored, extra=aside)
            return self._git(tree, "write-tree", extra=aside)

    def _fetch_tag(self, mirror: Path, url: str, tag: str) -> None:
        attempts = Retrying(
            retry=retry_if_exception(_is_temporary),
            stop=stop_after_attempt(4),
            wait=wait_exponential_jitter(initial=1, max=10),
            reraise=True,
        )
        try:
            attempts(
                self._git,
                mirror,
                "fetch",
                "--quiet",
                "--depth=1",
                "--no-tags",
                url,
                f"+refs/tags/{tag}:refs/tags/{tag}",
            )
        except SourceError as error:
            if "couldn't find remote ref" not in error.message:
                raise
            raise SourceError(
                f"there is no release {tag} at {redact_url(url)}", hint=self._suggest_tag(mirror, url, tag)
            ) from error

    def _suggest_tag(self, mirror: Path, url: str, tag: str) -> str:
        listing = self._git(mirror, "ls-remote", "--tags", "--refs", url)
        known = [line.rpartition("refs/tags/")[2] for line in listing.splitlines()]
        close = get_close_matches(tag, known, n=3)
        return f"Nearest tags: {', '.join(close)}." if close else "See the repository's tags for what there is."

    def _succeeds(self, tree: Path, *arguments: str) -> bool:
        try:
            self._git(tree, *arguments)
        except SourceError:
            return False
        return True

    def _git(self, directory: Path | None, *arguments: str, extra: Mapping[str, str] | None = None) -> str:
        environment = {**self._environment, **(extra or {})}
        if directory:
            environment |= trust_directory(directory)
        try:
            return self._run.run(["git", *arguments], cwd=directory, env=environment).stdout.strip()
        except ProcessFailed as error:
            if error.returncode == 127:
                raise SourceError("git is not installed", hint="Install git, then run the same again.") from error
            shown = " ".join(redact_url(argument) for argument in arguments[:1])
            raise SourceError(f"git {shown} failed: {_last_words(error)}") from error


def _is_temporary(error: BaseException) -> bool:
    return isinstance(error, SourceError) and any(sign in error.message.lower() for sign in _TEMPORARY)


def _last_words(error: ProcessFailed) -> str:
    lines = [redact_url(line.strip()) for line in error.stderr.splitlines() if line.strip()]
    return " / ".join(lines[-3:])[:500] or f"status {error.returncode}"
