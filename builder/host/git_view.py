"""A git directory of our own, through which git sees a work tree's commits and files and nothing that its owner has set.

Git runs what a repository's configuration names: file system monitors, filters, hooks, external diffs, pagers. Here it
is given copies of what is data (the index, references, excluded names), the objects where they lie, and a configuration
that we write. So it does not matter who owns the tree.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.errors import SourceError
from builder.runtime.regular_file import open_regular

# What decides how files compare. Their values are words and numbers, so none can name a program or a path.
_OF_THE_TREE = re.compile(
    r"core\.(repositoryformatversion|filemode|ignorecase|symlinks|autocrlf|eol|precomposeunicode|sparsecheckout(cone)?)"
    r"|index\.[a-z]+|extensions\.(objectformat|refstorage)"
)
_HARMLESS = re.compile(r"[\w.-]*")
# The user's own, of which only what compares files differently counts. Git finds the default excludes file by itself.
_OF_THE_USER = re.compile(r"core\.(autocrlf|eol|excludesfile)")
_OURS = {
    "core.bare": "false",
    "core.fsmonitor": "false",
    "core.untrackedcache": "false",
    "core.hookspath": os.devnull,
    "core.attributesfile": os.devnull,
    "diff.ignoresubmodules": "dirty",
}
# Of a git directory, and of the one that git worktrees share.
_OWN_FILES = ("HEAD", "index", "info/sparse-checkout")
_SHARED_FILES = ("packed-refs", "shallow", "info/exclude", "info/attributes")
_SHARED_TREES = ("refs", "reftable")
_LARGEST = 1 << 30


class AskOutside(Protocol):
    """Runs git outside of any repository and gives what it prints. Raises SourceError."""

    def __call__(self, directory: Path, *words: str) -> str:
        """`directory` is an empty one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkout:
    """A work tree and where git keeps what belongs to it; `shared` is what all work trees of a repository have."""

    top: Path
    own: Path
    shared: Path


def find_checkout(tree: Path) -> Checkout:
    """The checkout that a directory belongs to, found as git does. Raises SourceError where there is none."""
    real = tree.resolve()
    # As in git, somebody who can write to a directory above ours cannot make a repository of it for us.
    owners = {real.stat().st_uid, os.geteuid()} if real.is_dir() else set()
    for top in (real, *real.parents):
        if (top / ".git").exists() and top.stat().st_uid in owners:
            own = _linked(top / ".git", "gitdir: ")
            return Checkout(top=top, own=own, shared=_linked(own / "commondir") if (own / "commondir").exists() else own)
    raise not_a_checkout(tree, SourceError("there is no .git in it or above it"))


def not_a_checkout(tree: Path, why: SourceError) -> SourceError:
    """The error to raise where git's part of a tree is missing or broken."""
    return SourceError(
        f"{tree} is not a git checkout: {why.message}",
        hint="The version stamp and all timestamps come from the commit: give a clone, or use --istio VERSION.",
    )


def open_view(checkout: Checkout, scratch: Path, ask: AskOutside, environment: Mapping[str, str]) -> dict[str, str]:
    """Make a git directory in `scratch`, which is empty; gives the environment in which git uses it.

    `environment` is the caller's, of which nothing that speaks to git is left. Raises SourceError where the checkout
    lacks what a repository has.
    """
    view, nowhere = scratch / "view", scratch / "nowhere"
    nowhere.mkdir()
    with ThreadPoolExecutor(max_workers=2) as pool:
        of_the_user = pool.submit(_users_settings, nowhere, ask)
        of_the_tree = pool.submit(_trees_settings, checkout, nowhere, ask)
        _copy_data(checkout, view)
        if not (view / "HEAD").exists():
            raise not_a_checkout(checkout.top, SourceError(f"{checkout.own} has no file HEAD"))
        settings = {**of_the_user.result(), **of_the_tree.result(), **_OURS}
    (view / "config").write_text("".join(_setting_lines(settings)), errors="surrogateescape")
    return {
        **{name: value for name, value in environment.items() if not name.startswith("GIT_")},
        **private_environment(),
        "GIT_DIR": str(view),
        "GIT_WORK_TREE": str(checkout.top),
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_NO_LAZY_FETCH": "1",
    }


def private_environment() -> dict[str, str]:
    """Lets git read no configuration and no attributes but those of the repository it is pointed to."""
    return {
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_SYSTEM": os.devnull,
    }


def _linked(path: Path, prefix: str = "") -> Path:
    """The directory that a file such as `.git` of a git worktree names, or this one."""
    if path.is_dir():
        return path
    try:
        with open_regular(path) as file:
            text = os.fsdecode(file.read(8192)).rstrip("\r\n")
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror}") from error
    target = path.parent / text.removeprefix(prefix)
    if not text.startswith(prefix) or "\0" in text or not target.is_dir():
        raise SourceError(f"{path} names no git directory")
    return target.resolve()


def _users_settings(nowhere: Path, ask: AskOutside) -> dict[str, str]:
    listed = ask(nowhere, "config", "--includes", "--null", "--list")
    return {name: value for name, value in _parse(listed) if _OF_THE_USER.fullmatch(name)}


def _trees_settings(checkout: Checkout, nowhere: Path, ask: AskOutside) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, of_this_tree_alone in ((checkout.shared / "config", False), (checkout.own / "config.worktree", True)):
        if of_this_tree_alone and found.get("extensions.worktreeconfig", "").lower() not in ("true", "yes", "on", "1"):
            continue
        found |= _read_settings(place, nowhere / place.name, ask)
    return {name: value for name, value in found.items() if _OF_THE_TREE.fullmatch(name) and _HARMLESS.fullmatch(value)}


def _read_settings(place: Path, copy: Path, ask: AskOutside) -> dict[str, str]:
    """From a copy, so that it is what was looked at; and without what it includes."""
    _copy_file(place, copy)
    if not copy.exists():
        return {}
    try:
        return dict(_parse(ask(copy.parent, "config", "--file", str(copy), "--no-includes", "--null", "--list")))
    except SourceError as error:
        raise SourceError(error.message.replace(str(copy), str(place)), hint=error.hint) from error


def _parse(listed: str) -> Iterator[tuple[str, str]]:
    """A key without a value means true."""
    for entry in listed.split("\0"):
        name, line_end, value = entry.partition("\n")
        yield name, value if line_end else "true"


def _setting_lines(settings: Mapping[str, str]) -> Iterator[str]:
    for name, value in settings.items():
        section, _, key = name.partition(".")
        quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        yield f'[{section}]\n\t{key} = "{quoted}"\n'


def _copy_data(checkout: Checkout, view: Path) -> None:
    objects = checkout.shared / "objects"
    for directory in ("info", "refs", "objects/info"):
        (view / directory).mkdir(parents=True)
    # A link, because a path with a line end in it could not stand in the file.
    (view / "their-objects").symlink_to(objects)
    (view / "objects/info/alternates").write_text("../their-objects\n")
    for name in (*_OWN_FILES, *(path.name for path in checkout.own.glob("sharedindex.*"))):
        _copy_file(checkout.own / name, view / name)
    for name in _SHARED_FILES:
        _copy_file(checkout.shared / name, view / name)
    for name in _SHARED_TREES:
        _copy_tree(checkout.shared / name, view / name)


def _copy_tree(source: Path, target: Path) -> None:
    for directory, _, names in os.walk(source):
        into = target / os.path.relpath(directory, source)
        into.mkdir(parents=True, exist_ok=True)
        for name in names:
            _copy_file(Path(directory, name), into / name)


def _copy_file(source: Path, target: Path) -> None:
    """With its time, by which git knows which files may have changed since. What is not there or no file is left out."""
    try:
        file = open_regular(source)
    except OSError:
        return
    with file, target.open("wb") as copy:
        status = os.fstat(file.fileno())
        if status.st_size > _LARGEST:
            raise SourceError(f"{source} is larger than {_LARGEST >> 20} MiB")
        shutil.copyfileobj(file, copy)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
