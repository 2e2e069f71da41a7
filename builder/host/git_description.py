"""Asks git the questions that a `TreeState` answers, side by side."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from builder.errors import SourceError
from builder.host.git_view import not_a_checkout
from builder.ports import TreeState

# The longest command line is 2 MiB, and a path 4 KiB.
_PATHS_AT_ONCE = 256
# Git would otherwise run itself in each submodule, with that one's configuration; and `.gitmodules` must not say otherwise.
_NOT_INSIDE = "--ignore-submodules=dirty"


class AskGit(Protocol):
    """Runs git on one checkout and gives what it prints. Raises SourceError."""

    def __call__(self, *words: str, stdin: str = "") -> str:
        """`words` are the command and its arguments."""
        ...


def describe_checkout(git: AskGit, tree: Path, top: Path, find_linked: Callable[[], Sequence[str]]) -> TreeState:
    """What git says of `tree`, whose checkout begins at `top`; `find_linked` gives what links in it lead to.

    Raises SourceError where there is no commit, and what `find_linked` raises.
    """
    # Side by side, because somebody waits for the compiler to start.
    with ThreadPoolExecutor(max_workers=6) as pool:
        links = pool.submit(find_linked)
        head = pool.submit(git, "log", "-1", "--format=%H %T %ct")
        # It also refreshes the index, without which diff-index reports files that were only touched.
        changes = pool.submit(git, "status", "--porcelain", "--no-renames", "--untracked-files=all", _NOT_INSIDE)
        tags = pool.submit(git, "tag", "--points-at", "HEAD")
        description = pool.submit(git, "describe", "--tags", "--always")
        # Go compiles these although git leaves them out.
        ignored_go = pool.submit(_ignored, git, ["*.go"])
        try:
            commit, committed, committed_at = head.result().split()
        except SourceError as error:
            raise not_a_checkout(tree, error) from error
        ignored = ignored_go.result() + _ignored(git, _pathspecs(links.result(), tree, top))
        status = changes.result().splitlines()
        # Before `_content`, which changes the index.
        modified = bool(status) and not _succeeds(git, "diff-index", "--quiet", _NOT_INSIDE, "HEAD", "--")
        content = _content(git, status, ignored) if status or ignored else committed
        return TreeState(
            commit=commit,
            committed_at=int(committed_at),
            modified=modified,
            content=content,
            parts=_parts(git, content, committed),
            tag=tags.result().split()[0] if tags.result() else "",
            description=description.result(),
            dirty=bool(status),
        )


def _pathspecs(linked: Sequence[str], tree: Path, top: Path) -> list[str]:
    here = os.path.relpath(tree.resolve(), top)
    return [f":(top,literal){os.path.normpath(os.path.join(here, path))}" for path in linked]


def _ignored(git: AskGit, pathspecs: Sequence[str]) -> list[str]:
    parts = [pathspecs[first : first + _PATHS_AT_ONCE] for first in range(0, len(pathspecs), _PATHS_AT_ONCE)]
    listed = (git("ls-files", "--others", "--ignored", "--exclude-standard", "--", *part) for part in parts)
    return [line for text in listed for line in text.splitlines()]


def _content(git: AskGit, status: Sequence[str], ignored: Sequence[str]) -> str:
    """The tree id that committing everything would give. The index and the objects are our own.

    Not by `git add`, which would run git in submodules. Names are passed on as git quoted them.
    """
    # What is only in the index, as " " in the second column says, is there already. A repository within ends in "/".
    changed = [line[3:] for line in status if line[1] != " "]
    paths = [f'{path[:-2]}"' if path.endswith('/"') else path.removesuffix("/") for path in (*changed, *ignored)]
    git("update-index", "--add", "--remove", "--replace", "--stdin", stdin="".join(f"{path}\n" for path in paths))
    # Of a partial clone some objects may be missing; their names are known.
    return git("write-tree", "--missing-ok")


def _parts(git: AskGit, content: str, committed: str) -> tuple[tuple[str, str], ...]:
    """What lies directly in a tree, of what the commit has, too: what somebody calls other files is nobody's business."""
    found = _list_tree(git, content)
    known = found if content == committed else _list_tree(git, committed)
    return tuple((name, entry) for name, entry in found.items() if name in known)


def _list_tree(git: AskGit, tree: str) -> dict[str, str]:
    """The ids by name; `MODE TYPE ID\tNAME` a line is what git prints."""
    entries = (line.partition("\t") for line in git("ls-tree", tree).splitlines())
    return {name: fields.split()[2] for fields, _, name in entries}


def _succeeds(git: AskGit, *words: str) -> bool:
    try:
        git(*words)
    except SourceError:
        return False
    return True
