"""What is another in the inputs that an image was made from than in those that it is to be made from, in words. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from builder.plan.noted import ARTIFACT, BASE, PACKAGE, PACKAGES, RECIPE, SOURCE, STAMP, TREE, Notes

ChangeKind = Literal[
    "base",
    "go",
    "commit",
    "version",
    "source",
    "artifact",
    "packages",
    "recipe",
    "flags",
    "stamp",
    "compression",
    "builder",
    "other",
]

_SHOWN = 8
_COMMIT_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One input that is another. `before` and `after` are as noted, "" where it is not among the inputs; `text` tells it."""

    kind: ChangeKind
    what: str
    text: str
    before: str = ""
    after: str = ""


def find_changes(before: Notes, after: Notes) -> tuple[Change, ...]:
    """All that changed, what matters most first. What only follows from another change is not told besides it."""
    old, new = dict(before), dict(after)
    names = [name for name in sorted({*old, *new}) if old.get(name, "") != new.get(name, "")]
    return tuple(change for find in _FINDERS for change in find(names, old, new))


_Finder = Callable[[list[str], Mapping[str, str], Mapping[str, str]], Iterator[Change]]


def _builder(names: list[str], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    if "istio-build" in names:
        yield _moved("builder", "istio-build", old, new)


def _commit(names: list[str], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    """The commit with the parts of the tree that differ; of one commit, these parts by themselves."""
    parts = _list([name.removeprefix(SOURCE) for name in names if name.startswith(SOURCE)])
    before, after = old.get("commit", ""), new.get("commit", "")
    if "commit" in names:
        inside = f" (in {parts})" if parts else ""
        text = f"commit {_short_commit(before)} → {_short_commit(after)}{inside}"
        yield Change(kind="commit", what="commit", text=text, before=before, after=after)
    elif parts or TREE in names:
        text = f"Istio's source changed{f' in {parts}' if parts else ''}, at the same commit"
        yield Change(kind="source", what=parts, text=text, before=old.get(TREE, ""), after=new.get(TREE, ""))


def _version(names: list[str], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    """A version that is made of the commit says nothing besides it."""
    follows = "commit" in names and new.get("commit", "")[:10] in new.get("version", "")
    if "version" in names and not follows:
        yield _moved("version", "version", old, new)


def _go(names: list[str], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for name in ("Go", "image to compile in"):
        if name in names:
            yield _moved("go", name, old, new)


def _bases(names: list[str], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for name in (name for name in names if name.startswith(BASE)):
        before, after = old.get(name, ""), new.get(name, "")
        # One of them is called base.
        told = f"base image {name.removeprefix(BASE)}"
        if before and after:
            text = f"{told} moved from {_short(before)} to {_short(after)}"
            yield Change(kind="base", what=name, text=text, before=before, after=after)
        else:
            yield _moved("base", name, old, new, told=told)


def _artifacts(names: list[str], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for name in (name for name in names if name.startswith(ARTIFACT)):
        yield _moved("artifact", name, old, new, told=name.removeprefix(ARTIFACT))


def _packages(names: list[str], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    told = [_told(name.removeprefix(PACKAGE), old.get(name, ""), new.get(name, "")) for name in names if name.startswith(PACKAGE)]
    if told or PACKAGES in names:
        what = f"packages: {_list(told)}" if told else "its packages changed"
        yield Change(kind="packages", what="packages", text=what)
    if "package archives" in names:
        yield Change(kind="packages", what="package archives", text="the package archives that it names changed")


def _others(names: list[str], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    """Sums, of which there is no more to tell than that they differ."""
    sums: tuple[tuple[str, ChangeKind, str], ...] = (
        (RECIPE, "recipe", "the recipe, or its template, changed"),
        ("debug", "flags", "a debug build" if new.get("debug") else "no debug build any more"),
        ("flags", "flags", "the flags of `go build` changed"),
        ("environment", "flags", "Go's environment changed"),
    )
    for name, kind, text in sums:
        if name in names:
            yield Change(kind=kind, what=name, text=text, before=old.get(name, ""), after=new.get(name, ""))
    if STAMP in names and not {"commit", "version", "flags"} & {*names}:
        yield Change(kind="stamp", what=STAMP, text="what programs are stamped with changed (the hub, or what git says)")
    if "compression" in names:
        yield _moved("compression", "compression", old, new)
    for name in (name for name in names if not name.startswith(_KNOWN)):
        yield _moved("other", name, old, new)


_FINDERS: Final[tuple[_Finder, ...]] = (_commit, _version, _go, _bases, _artifacts, _packages, _others, _builder)
# What the finders above look for; anything else was noted by a later istio-build.
_KNOWN = (
    *(BASE, ARTIFACT, PACKAGE, SOURCE, RECIPE, TREE, PACKAGES, STAMP, "package archives", "istio-build", "commit", "version"),
    *("Go", "image to compile in", "debug", "flags", "environment", "compression"),
)


def _moved(kind: ChangeKind, name: str, old: Mapping[str, str], new: Mapping[str, str], told: str = "") -> Change:
    before, after = old.get(name, ""), new.get(name, "")
    return Change(kind=kind, what=name, text=_told(told or name, before, after), before=before, after=after)


def _told(name: str, before: str, after: str) -> str:
    if before and after:
        return f"{name} {_short(before)} → {_short(after)}" if _short(before) != _short(after) else f"{name} {before} → {after}"
    return f"{name} {_short(after)} is new" if after else f"{name} {_short(before)} is gone"


def _short(text: str) -> str:
    """Of a sum the first 12 digits."""
    return text[: len("sha256:") + 12] if text.startswith("sha256:") else text


def _short_commit(revision: str) -> str:
    """With `-dirty` behind it where there were changes."""
    commit, dash, more = revision.partition("-")
    return f"{commit[:_COMMIT_DIGITS]}{dash}{more}"


def _list(names: list[str]) -> str:
    return ", ".join((*names[:_SHOWN], *((f"and {len(names) - _SHOWN} more",) if len(names) > _SHOWN else ())))
