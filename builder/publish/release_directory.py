"""A directory of image layouts, one for each image and variant: what `build` leaves and `push --from` takes up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.errors import CheckError, RequestError
from builder.images.check import ReadLayer, check_integrity
from builder.images.layout_notes import LayoutNotes
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.reference import Hub, ImageReference
from builder.plan.tags import check_references, image_references, mirror_references, plain_tag
from builder.publish.content import LayoutContent
from builder.publish.publication import Publication, Release
from builder.publish.release_file import RELEASE_FILE, ListedImage, ReleaseFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePart:
    """Which images of a release are meant: those of these names, in these variants; all where none is given."""

    images: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()

    def has(self, image: ListedImage | LayoutNotes) -> bool:
        """Whether this one is."""
        return (not self.images or image.image in self.images) and (not self.variants or image.variant in self.variants)


WHOLE = ReleasePart()


def read_release(
    directory: Path, hubs: tuple[Hub, ...], tags: tuple[str, ...], read_layer: ReadLayer, part: ReleasePart = WHOLE
) -> Release:
    """The release in a directory, checked to be whole; goes to `hubs` and `tags`, by default where it was built for.

    Raises RequestError where there is none, or not the part that is meant; CheckError where a layout is damaged or is not
    what the release says, one is missing, or one is there that is no part of it.
    """
    layouts = [Layout(path.parent) for path in sorted(directory.glob("*/oci-layout"))]
    if not layouts:
        raise RequestError(
            f"{directory} holds no image layouts",
            hint="--from names the directory that `istio-build build --output` wrote.",
        )
    release = ReleaseFile.read(directory)
    if release is None:
        raise CheckError(
            f"{directory} does not say what its release holds: there is no {RELEASE_FILE}",
            hint="Carry the whole directory that `istio-build build` wrote; one of an earlier version has to be built again.",
        )
    notes = {layout: LayoutNotes.read(layout) for layout in layouts}
    _check_members(directory, release, notes, part)
    _check_places(directory, notes)
    publications = tuple(
        Publication(
            key=note.key,
            index=_check_image(layout, note, release, read_layer),
            references=_references(note, hubs, tags),
            content=LayoutContent(layout, (note.mirror.source.repository,) if note.mirror else ()),
        )
        for layout, note in notes.items()
        if part.has(note)
    )
    check_references(publications)
    return Release(version=release.version, hub=release.hub, publications=publications)


def _check_members(directory: Path, release: ReleaseFile, notes: Mapping[Layout, LayoutNotes], part: ReleasePart) -> None:
    """What is there has to be what the release lists, or all of the part that is meant."""
    listed, there = [entry.key for entry in release.images], [note.key for note in notes.values()]
    unlisted = sorted(set(there) - set(listed))
    doubled = sorted({key for key in there if there.count(key) > 1})
    if unlisted or doubled:
        raise CheckError(
            f"{directory} holds {', '.join(unlisted + doubled)}, which {RELEASE_FILE} does not list"
            f"{' or lists once' if doubled else ''}",
            hint="Is it of another build? Move it elsewhere, or build into an empty directory.",
        )
    _check_part(directory, release, part)
    meant = [entry.key for entry in release.images if part.has(entry)]
    missing = [key for key in meant if key not in there]
    if missing:
        raise CheckError(
            f"{directory} lacks {', '.join(missing)}: {len(meant) - len(missing)} of the {len(meant)} images that are meant are "
            "there",
            hint="Carry the whole directory across; or say which images are meant with --image, --variant.",
        )


def _check_part(directory: Path, release: ReleaseFile, part: ReleasePart) -> None:
    """What is meant has to be something of the release."""
    images, variants = {entry.image for entry in release.images}, {entry.variant for entry in release.images} - {""}
    unknown = [name for name in part.images if name not in images] + [name for name in part.variants if name not in variants]
    if unknown or not any(part.has(entry) for entry in release.images):
        named = " or ".join(unknown or (*part.images, *part.variants))
        known = f"It holds {', '.join(sorted(images))}; variants: {', '.join(sorted(variants)) or 'none'}."
        raise RequestError(f"the release in {directory} has no {named}", hint=known)


def _check_places(directory: Path, notes: Mapping[Layout, LayoutNotes]) -> None:
    """All images of a release go to the same hubs, each to a repository of its own name."""
    places = {
        note.key: frozenset(str(reference.repository).removesuffix(f"/{note.image}") for reference in note.references)
        for note in notes.values()
    }
    for layout, note in notes.items():
        strange = [ref for ref in note.references if not str(ref.repository).endswith(f"/{note.image}")]
        if strange or note.hub not in places[note.key] or len(set(places.values())) > 1:
            hubs = "; ".join(f"{key} to {', '.join(sorted(hubs))}" for key, hubs in sorted(places.items()))
            raise CheckError(
                f"{layout.root} is not to go where the rest of its release goes, or not under its own name: {hubs}",
                hint=f"Its notes have been changed since `istio-build build` wrote {directory}: build it again.",
            )


def _check_image(layout: Layout, note: LayoutNotes, release: ReleaseFile, read_layer: ReadLayer) -> Manifest:
    """The index of a layout that is whole, and the one that was built as this image of this release."""
    index = check_integrity(layout, read_layer)
    annotations = index.annotations()
    said = {
        "release": f"{note.version} for {note.hub}",
        "digest": str(index.digest),
        "image": note.image if note.mirror else annotations.get("org.opencontainers.image.title", ""),
        "version": annotations.get("org.opencontainers.image.version", note.version) if note.variant else note.version,
    }
    wanted = {
        "release": f"{release.version} for {release.hub}",
        "digest": str({entry.key: entry.digest for entry in release.images}[note.key]),
        "image": note.image,
        "version": release.version,
    }
    wrong = [f"{name} is {said[name]}, not {wanted[name]}" for name in wanted if said[name] != wanted[name]]
    if wrong:
        raise CheckError(
            f"{layout.root} is not the {note.key} of its release: {'; '.join(wrong)}",
            hint="It was exchanged, or is of another build: build the release again, into an empty directory.",
        )
    return index


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
