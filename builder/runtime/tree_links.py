"""Symbolic links of a source tree: where they lead, and that none leads out of it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.errors import SourceError

# As many as Linux follows before it gives up.
_MOST_HOPS = 40
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """A path followed to its end, where there may be nothing; `links` are those on the way."""

    links: tuple[str, ...]
    end: str

    def leaves(self, tree: str) -> bool:
        """Whether any step is outside the tree, or in what belongs to git."""
        return any(not _is_within(tree, step) for step in (*self.links, self.end))


def find_linked(tree: Path) -> tuple[str, ...]:
    """All links of a tree and what they lead to, as paths in it, sorted. What is git's and Istio's own `out` are left out.

    Raises SourceError where a link leads outside: its content would be in an image, and in no fingerprint.
    """
    top = os.path.realpath(tree)
    ways = {os.path.join(directory, name): _follow(directory, name) for directory, name in _links(top)}
    strays = sorted(path for path, way in ways.items() if way.leaves(top))
    if strays:
        shown = [f"{_show(os.path.relpath(path, top))} -> {_show(os.readlink(path))}" for path in strays[:_SHOWN]]
        more = f" and {len(strays) - _SHOWN} more" if len(strays) > _SHOWN else ""
        count = "1 link" if len(strays) == 1 else f"{len(strays)} links"
        raise SourceError(
            f"{count} in {tree} {'leads' if len(strays) == 1 else 'lead'} outside: {', '.join(shown)}{more}",
            hint="An image may hold nothing but the tree's own: remove the links, put files in their place, "
            "or give a fresh clone.",
        )
    return tuple(sorted({os.path.relpath(step, top) for way in ways.values() for step in (*way.links, way.end)}))


def find_inside(tree: Path, name: str) -> Path:
    """Where a path of the tree leads, which may be nowhere. Raises SourceError where it leads outside."""
    top = os.path.realpath(tree)
    way = _follow(top, name)
    if way.leaves(top):
        raise SourceError(
            f"{tree / name} leads outside of the source, to {_show(way.end)}",
            hint="Put the file itself there, or give a fresh clone.",
        )
    return Path(way.end)


def find_file(tree: Path, name: str) -> Path:
    """Where a file of the tree is, which is not opened: a FIFO would keep us waiting. Raises SourceError."""
    path = find_inside(tree, name)
    if not path.is_file():
        problem = f"{tree / name} is no ordinary file" if path.exists() else f"the source lacks {tree / name}"
        raise SourceError(
            f"{problem}, which an image needs",
            hint="Is this a complete checkout of an Istio release that the recipe is for?",
        )
    return path


def _links(top: str) -> Iterator[tuple[str, str]]:
    waiting = [top]
    while waiting:
        directory = waiting.pop()
        try:
            entries = list(os.scandir(directory))
        except OSError:
            # What we may not read, or is gone by now, gets into no image.
            continue
        for entry in entries:
            if entry.name == ".git" or (entry.name == "out" and directory == top):
                continue
            if entry.is_symlink():
                yield directory, entry.name
            elif entry.is_dir(follow_symlinks=False):
                waiting.append(entry.path)


def _follow(start: str, name: str) -> _Way:
    """Go a path link by link, as the kernel does; `start` is a directory without links."""
    at, rest, links = "/" if name.startswith("/") else start, name.split("/")[::-1], []
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        step = os.path.dirname(at) if part == ".." else os.path.join(at, part)
        try:
            target = os.readlink(step)
        except OSError:
            at = step
            continue
        links.append(step)
        if len(links) > _MOST_HOPS:
            break
        at = "/" if target.startswith("/") else at
        rest += target.split("/")[::-1]
    return _Way(links=tuple(links), end=at)


def _is_within(tree: str, path: str) -> bool:
    return path == tree or (path.startswith(f"{tree}/") and ".git" not in path[len(tree) :].split("/"))


def _show(name: str) -> str:
    return name if name.isprintable() else ascii(name)
