"""What `push --from` takes up: the parts of one release, from one directory or from those that several machines wrote.

Parts belong together where they were made alike (`Plan.made`). Which are missing is known from the whole that a shard has
written down; without one, every image has to have every platform that any of them has.
"""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from builder.errors import CheckError, RequestError
from builder.images.check import ReadLayer
from builder.images.layout_notes import LayoutNotes
from builder.images.noted_inputs import read_notes
from builder.oci.manifest import Descriptor, Manifest, compose_index
from builder.oci.reference import Hub, ImageReference
from builder.plan.model import FINGERPRINT_ANNOTATION, NOTES_ANNOTATION, Shard, Unit
from builder.plan.noted import Notes, annotate_inputs
from builder.plan.tags import check_references, image_references, mirror_references, plain_tag
from builder.publish.content import ContentSource, JoinedContent, LayoutContent
from builder.publish.publication import Publication, Release
from builder.publish.release_directory import (
    HeldImage,
    ReleaseDirectory,
    ReleasePart,
    check_held,
    check_image,
    check_places,
    find_directories,
    open_directory,
)

WHOLE = ReleasePart()


def read_release(
    directories: Sequence[Path], hubs: tuple[Hub, ...], tags: tuple[str, ...], read_layer: ReadLayer, part: ReleasePart = WHOLE
) -> Release:
    """The release in these directories, checked to be whole; goes to `hubs` and `tags`, by default where it was built for.

    Raises RequestError where there is none, or not the part that is meant; CheckError where a layout is damaged or is not
    what the release says, one is missing, doubled or of another build, or one is there that is no part of it.
    """
    opened = [open_directory(directory) for directory in find_directories(directories)]
    _check_alike(opened)
    _check_names(opened, part)
    for directory in opened:
        check_held(directory, part)
    _check_complete(opened, part)
    check_places([held for directory in opened for held in directory.images])
    parts: dict[str, list[tuple[HeldImage, Manifest]]] = {}
    for directory in opened:
        for held in directory.images:
            if any(map(part.has, held.listed.units)):
                index = check_image(held, directory.release, read_layer)
                parts.setdefault(held.note.key, []).append((held, index))
    publications = tuple(_publication(own, hubs, tags, part) for _, own in sorted(parts.items()))
    check_references(publications)
    release = opened[0].release
    return Release(
        version=release.version,
        hub=release.hub,
        publications=publications,
        notes=_notes(opened, part),
        source_tag=release.source_tag,
    )


def _check_alike(opened: Sequence[ReleaseDirectory]) -> None:
    """All have to be of the same build, and shards of the same whole."""
    for one, other in combinations(opened, 2):
        differences = other.release.differences(one.release)
        if differences:
            told = "; ".join(
                f"{name} is {there or 'none'}, and {here or 'none'} in {one.root}" for name, there, here in differences
            )
            moved = [name.removeprefix("base ") for name, _, _ in differences if name.startswith("base ")]
            pin = f" A base moves between builds unless it is pinned: --base {moved[0]}=REFERENCE@sha256:…" if moved else ""
            raise CheckError(
                f"{other.root} is of another build than {one.root}: {told}",
                hint=f"Build the parts of a release from the same source with the same options: one of them again.{pin}",
            )
        shards = (one.release.shard, other.release.shard)
        if shards[0] and shards[1] and shards[0].whole != shards[1].whole:
            raise CheckError(
                f"{other.root} is shard {shards[1]} of another whole than {one.root}, which is shard {shards[0]}",
                hint="All machines get the same --image, --variant and --platform, and --shard K/N with the same N.",
            )


def _check_names(opened: Sequence[ReleaseDirectory], part: ReleasePart) -> None:
    """What is meant has to be something of the release."""
    units = {unit for directory in opened for entry in directory.release.images for unit in entry.units}
    units |= {unit for directory in opened if directory.release.shard for own in directory.release.shard.whole for unit in own}
    images, variants = {unit.image for unit in units}, {unit.variant for unit in units} - {""}
    platforms = {unit.platform for unit in units} - {""}
    unknown = [name for name in part.images if name not in images] + [name for name in part.variants if name not in variants]
    unknown += [name for name in part.platforms if name not in platforms]
    if unknown or not any(map(part.has, units)):
        named = " or ".join(unknown or (*part.images, *part.variants, *part.platforms))
        known = f"It holds {', '.join(sorted(images))}; variants: {', '.join(sorted(variants)) or 'none'}"
        raise RequestError(
            f"the release in {_names(opened)} has no {named}",
            hint=f"{known}; platforms: {', '.join(sorted(platforms)) or 'those of its mirrors'}.",
        )


def _check_complete(opened: Sequence[ReleaseDirectory], part: ReleasePart) -> None:
    """Nothing that is meant may be missing, and nothing be there that is no part of the whole."""
    where = {unit: held.root for held in opened for entry in held.release.images for unit in entry.units if part.has(unit)}
    shards = [directory.release.shard for directory in opened if directory.release.shard]
    if shards:
        _check_shards(opened, where, shards[0], part)
        return
    platforms = {unit.platform: root for unit, root in where.items() if unit.platform}
    for unit in sorted(where):
        for platform, root in sorted(platforms.items()) if unit.platform else ():
            wanted = Unit(unit.image, unit.variant, platform)
            if wanted not in where:
                variant = f" --variant {unit.variant}" if unit.variant else ""
                raise CheckError(
                    f"{wanted} is not in {_names(opened)}: {where[unit]} has {unit}, and {root} has {platform} of others",
                    hint=f"Build it with `istio-build build --image {unit.image}{variant} --platform {platform}`, with the same "
                    "options otherwise, and name its directory with --from too; or say which part is meant with --image, "
                    "--variant, --platform.",
                )


def _check_shards(opened: Sequence[ReleaseDirectory], where: dict[Unit, Path], shard: Shard, part: ReleasePart) -> None:
    whole = {unit: number for number, own in enumerate(shard.whole, start=1) for unit in own if part.has(unit)}
    strange = sorted(unit for unit in where if unit not in whole)
    if strange:
        raise CheckError(
            f"{where[strange[0]]} holds {strange[0]}, which is no part of the whole that the other directories are shards of",
            hint="Leave that directory out, or say which part is meant with --image, --variant, --platform.",
        )
    missing = sorted(unit for unit in whole if unit not in where)
    if missing:
        numbers = sorted({whole[unit] for unit in missing})
        told = "; ".join(
            f"of shard {number}/{len(shard.whole)}: {', '.join(str(unit) for unit in missing if whole[unit] == number)}"
            for number in numbers
        )
        again = " and ".join(f"`istio-build build --shard {number}/{len(shard.whole)}`" for number in numbers)
        raise CheckError(
            f"{_names(opened)}: parts of the release are missing, {told}",
            hint=f"Name the directories of {again} with --from too (each shard has one of its own); or say which part is meant "
            "with --image, --variant, --platform.",
        )


def _notes(opened: Sequence[ReleaseDirectory], part: ReleasePart) -> tuple[str, ...]:
    """What was found twice, and was the same: mirrors are, wherever a release is split by platform."""
    roots: dict[Unit, list[str]] = {}
    for directory in opened:
        for unit in (unit for entry in directory.release.images for unit in entry.units if unit.platform and part.has(unit)):
            roots.setdefault(unit, []).append(str(directory.root))
    return tuple(f"{unit} is the same in {' and '.join(own)}." for unit, own in sorted(roots.items()) if len(own) > 1)


def _publication(
    parts: Sequence[tuple[HeldImage, Manifest]], hubs: tuple[Hub, ...], tags: tuple[str, ...], part: ReleasePart
) -> Publication:
    [first, index], notes = parts[0], [held.note for held, _ in parts]
    references = tuple(dict.fromkeys(ref for note in notes for ref in _references(note, hubs, tags)))
    if first.note.mirror:
        _check_mirrors(parts)
    else:
        index = _join(parts, part)
    whole = next((held for held, own in parts if own == index), None)
    mounts = tuple(dict.fromkeys(source for note in notes for source in note.made_from))
    content: ContentSource = JoinedContent(tuple(held.layout for held, _ in parts), mounts)
    if whole:
        content = LayoutContent(whole.layout, mounts)
    return Publication(key=first.note.key, index=index, references=references, content=content)


def _check_mirrors(parts: Sequence[tuple[HeldImage, Manifest]]) -> None:
    first, index = parts[0]
    for held, other in parts[1:]:
        if other.digest != index.digest:
            raise _unlike(first.note.key, (first.directory, index.digest), (held.directory, other.digest))


def _join(parts: Sequence[tuple[HeldImage, Manifest]], part: ReleasePart) -> Manifest:
    """The index that one machine would have written: of all platforms, with what all of them were made from."""
    first, index = parts[0]
    shared = _without_inputs(index)
    children: dict[str, tuple[Descriptor, HeldImage]] = {}
    inputs: dict[str, str] = {}
    notes: dict[str, Notes] = {}
    for held, own in parts:
        noted = read_notes(own.annotations())
        for name in sorted({*shared, *_without_inputs(own)}):
            here, there = shared.get(name), _without_inputs(own).get(name)
            if here != there:
                raise _unlike(f"{name} of {first.note.key}", (first.directory, here), (held.directory, there))
        for child in own.children():
            platform = str(child.platform)
            made = dict(held.listed.inputs)[platform]
            if part.platforms and platform not in part.platforms:
                continue
            notes.setdefault(platform, noted.get(platform, ()))
            earlier, holder = children.setdefault(platform, (child, held))
            if (earlier, inputs.setdefault(platform, made)) != (child, made):
                raise _unlike(f"{first.note.key} {platform}", (holder.directory, earlier.digest), (held.directory, child.digest))
    for _, own in parts:
        if {str(child.platform) for child in own.children()} == set(children):
            return own
    return compose_index(tuple(child for child, _ in children.values()), {**shared, **annotate_inputs(inputs, notes)})


def _without_inputs(index: Manifest) -> dict[str, str]:
    own = (FINGERPRINT_ANNOTATION, NOTES_ANNOTATION)
    return {name: value for name, value in index.annotations().items() if name not in own}


def _unlike(what: str, one: tuple[Path, object], other: tuple[Path, object]) -> CheckError:
    return CheckError(
        f"{what} is not the same in {one[0]} and in {other[0]}: {one[1]} and {other[1]}",
        hint="The same inputs give the same bytes, so one of them was made of others: leave it out, or build it again.",
    )


def _names(opened: Sequence[ReleaseDirectory]) -> str:
    return ", ".join(str(directory.root) for directory in opened)


def _references(note: LayoutNotes, hubs: tuple[Hub, ...], tags: tuple[str, ...]) -> tuple[ImageReference, ...]:
    """Where an image goes: to these hubs and tags; without either, to those that it was built for."""
    if not hubs and not tags:
        return note.references
    own_hubs = dict.fromkeys(str(ref.repository).removesuffix(f"/{note.image}") for ref in note.references)
    hubs = hubs or tuple(Hub.parse(text) for text in own_hubs)
    variants = [name for name, _ in note.mirror.variants] if note.mirror else [note.variant] if note.variant else []
    tags = tags or tuple(dict.fromkeys(plain_tag(ref.tag, variants) for ref in note.references))
    if note.mirror:
        return mirror_references(hubs, tags, note.image, note.mirror.variants, note.mirror.fixed_tags)
    if not note.variant:
        # A base image: its tags are its own, and no --tag's.
        own = tuple(dict.fromkeys(reference.key for reference in note.references))
        return mirror_references(hubs, (), note.image, (), own)
    return image_references(hubs, tags, note.image, note.variant, is_default=note.is_default)
