"""What is another in a lock than in the one before it, and what that means for the images. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from builder.recipe.schema import BuiltImage, ImageRecipe
from builder.resolve.lock_file import (
    ArtifactEntry,
    BaseEntry,
    GoEntry,
    LockFile,
    MirrorEntry,
    PackagesEntry,
    PatchEntry,
    PlatformText,
    SourceEntry,
)
from builder.runtime.text import counted

Entry = TypeVar("Entry", BaseEntry, MirrorEntry, ArtifactEntry, PackagesEntry)
# As `plan.selection.select_images` gives them: each with its variants.
Chosen = Sequence[tuple[ImageRecipe, tuple[str, ...]]]
_SHOWN_PACKAGES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LockChange:
    """One thing that is another. `name` is what `lock --update` calls it; `before` or `after` is "" where it is not there."""

    name: str
    what: str
    before: str
    after: str
    why: str


def compare_locks(before: LockFile | None, after: LockFile, chosen: Chosen) -> tuple[LockChange, ...]:
    """All that changed, everything where there was no lock; `chosen` are the images that the lock is for."""
    changes = [*_source(before.source if before else None, after.source)]
    if before and before.recipes != after.recipes:
        why = "what images hold, and how it comes there, may be another"
        changes.append(LockChange(name="recipes", what="recipes", before=before.recipes, after=after.recipes, why=why))
    changes += _patches(before.patches if before else (), after.patches)
    changes += _go(before.go if before else None, after.go)
    changes += _each(
        "base", before.bases if before else {}, after.bases, lambda name, old, new: _base(old, new, _on_base(chosen, name))
    )
    changes += _each(
        "artifact",
        _flat(before.artifacts if before else {}),
        _flat(after.artifacts),
        lambda name, old, new: _artifact(old, new, _with_artifact(chosen, name.partition(" ")[0])),
    )
    changes += _each("mirror", before.mirrors if before else {}, after.mirrors, lambda name, old, new: _mirror(name))
    changes += _each("packages", _flat(before.packages if before else {}), _flat(after.packages), _packages)
    return tuple(changes)


def _each(
    kind: str, before: Mapping[str, Entry], after: Mapping[str, Entry], explain: Callable[[str, Entry, Entry], str]
) -> Iterator[LockChange]:
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        why = explain(name, old, new) if old and new else "it is bound now" if new else "nothing that is asked for needs it"
        short = name.partition(" ")[0]
        yield LockChange(
            name=short, what=f"{kind} {name}", before=_value(old) if old else "", after=_value(new) if new else "", why=why
        )


def _value(entry: BaseEntry | MirrorEntry | ArtifactEntry | PackagesEntry) -> str:
    if isinstance(entry, PackagesEntry):
        return counted(len(entry.packages), "package")
    return f"sha256:{entry.sha256}" if isinstance(entry, ArtifactEntry) else entry.digest


def _source(before: SourceEntry | None, after: SourceEntry) -> Iterator[LockChange]:
    if before == after:
        return
    if before is None or before.commit != after.commit:
        why = "everything is compiled anew" if before else "it is bound now"
        yield LockChange(name="source", what="source", before=before.commit if before else "", after=after.commit, why=why)
        return
    told = f"{before.tag or before.description}", f"{after.tag or after.description}"
    why = "the version that is stamped into programs comes from it" if before.tag != after.tag else "the commit is the same"
    yield LockChange(name="source", what="source", before=told[0], after=told[1], why=why)


def _patches(before: tuple[PatchEntry, ...], after: tuple[PatchEntry, ...]) -> Iterator[LockChange]:
    if before != after:
        same = [patch.sha256 for patch in before] == [patch.sha256 for patch in after]
        why = "their sums are the same" if same else "everything is compiled anew"
        old, new = (", ".join(f"{patch.name} sha256:{patch.sha256[:12]}" for patch in patches) for patches in (before, after))
        yield LockChange(name="source", what="patches", before=old, after=new, why=why)


def _go(before: GoEntry | None, after: GoEntry | None) -> Iterator[LockChange]:
    if before == after:
        return
    if not (before and after):
        why = "it is bound now" if after else "nothing that is asked for is compiled"
    elif before.version != after.version or before.image != after.image:
        why = "everything is compiled anew"
    else:
        why = f"the Go is the same, asked for as `{after.asked}`"
    yield LockChange(name="go", what="Go", before=_go_value(before, after), after=_go_value(after, before), why=why)


def _go_value(entry: GoEntry | None, other: GoEntry | None) -> str:
    """The version, or the image where two of them have one version."""
    if entry is None:
        return ""
    return entry.image if entry.image and (not entry.version or not other or other.version == entry.version) else entry.version


def _base(before: BaseEntry, after: BaseEntry, images: Sequence[str]) -> str:
    changed = [platform for platform, digest in after.platforms.items() if before.platforms.get(platform) != digest]
    if before.digest == after.digest:
        return f"the image is the same, asked for as {after.asked}" if not changed else f"{', '.join(changed)} is bound, too"
    moved = "" if before.asked == after.asked else f"{before.asked} was asked for, and {after.asked} is now; "
    if not changed:
        return f"{moved}its index alone: the image of each platform is the same"
    on = "" if len(changed) == len(after.platforms) else f" for {', '.join(changed)}"
    return f"{moved}{_list(images)} {'is' if len(images) == 1 else 'are'} built anew{on}"


def _artifact(before: ArtifactEntry, after: ArtifactEntry, images: Sequence[str]) -> str:
    if (before.sha256, before.kind) == (after.sha256, after.kind):
        return "the bytes are the same, from another place" if before.found != after.found else "the bytes are the same"
    anew = f"{_list(images)} {'is' if len(images) == 1 else 'are'} built anew"
    if before.found == after.found and after.kind == "url":
        return f"the sum is another although the URL is the same ({after.found}): the file there was replaced; {anew}"
    return anew


def _mirror(name: str) -> str:
    return f"{name} is copied anew"


def _packages(name: str, before: PackagesEntry, after: PackagesEntry) -> str:
    old, new = ({f"{file}@{package.sha256}" for file, package in entry.packages.items()} for entry in (before, after))
    changed = sorted({entry.partition("@")[0] for entry in new - old})
    gone = sorted({entry.partition("@")[0] for entry in old - new} - set(changed))
    if not changed and not gone:
        return "the packages are the same"
    shown = changed[:_SHOWN_PACKAGES] + ["…"] * (len(changed) > _SHOWN_PACKAGES)
    told = f"{', '.join(shown)} in place of {len(gone)}" if changed else f"without {', '.join(gone[:_SHOWN_PACKAGES])}"
    return f"{name.partition(' ')[0]} is built anew: {told}"


def _flat(entries: Mapping[str, Mapping[PlatformText, Entry]]) -> dict[str, Entry]:
    return {f"{name} {platform}": entry for name, by_platform in entries.items() for platform, entry in by_platform.items()}


def _on_base(chosen: Chosen, name: str) -> list[str]:
    return [
        f"{recipe.image} ({variant})"
        for recipe, variants in chosen
        if isinstance(recipe, BuiltImage)
        for variant in variants
        if recipe.variants[variant].base == name
    ]


def _with_artifact(chosen: Chosen, name: str) -> list[str]:
    built = [recipe for recipe, _ in chosen if isinstance(recipe, BuiltImage)]
    return [recipe.image for recipe in built if any(file.artifact == name for file in recipe.artifacts)]


def _list(images: Sequence[str]) -> str:
    return ", ".join(images) or "nothing"
