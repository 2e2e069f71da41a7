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
from builder.plan.tags import image_references, mirror_references
from builder.publish.publication import Publication
from builder.publish.release_file import RELEASE_FILE, ReleaseFile


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRelease:
    """A set of layouts that belong together. `hub` is the one stamped into the programs."""

    version: str
    hub: str
    publications: tuple[Publication, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePart:
    """Which images of a release are meant: those of these names, in these variants; all where none is given."""

    images: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()

    def has(self, notes: LayoutNotes) -> bool:
        """Whether this one is."""
        return (not self.images or notes.image in self.images) and (not self.variants or notes.variant in self.variants)


WHOLE = ReleasePart()


def read_release(
    directory: Path, hubs: tuple[Hub, ...], tags: tuple[str, ...], read_layer: ReadLayer, part: ReleasePart = WHOLE
) -> BuiltRelease:
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
            layout=layout,
            mount_from=(note.mirror.source.repository,) if note.mirror else (),
        )
        for layout, note in notes.items()
        if part.has(note)
    )
    return BuiltRelease(version=release.version, hub=release.hub, publications=publications)


def _check_members(directory: Path, release: ReleaseFile, notes: Mapping[Layout, LayoutNotes], part: ReleasePart) -> None:
    """What is there has to be what the release lists, unless only a part of it is meant."""
    listed, there = [key for key, _ in release.images], [note.key for note in notes.values()]
    unlisted = sorted(set(there) - set(listed))
    doubled = sorted({key for key in there if there.count(key) > 1})
    if unlisted or doubled:
        raise CheckError(
            f"{directory} holds {', '.join(unlisted + doubled)}, which {RELEASE_FILE} does not list"
            f"{' or lists once' if doubled else ''}",
            hint="Is it of another build? Move it elsewhere, or build into an empty directory.",
        )
    missing = [key for key in listed if key not in there]
    if part == WHOLE and missing:
        raise CheckError(
            f"{directory} lacks {', '.join(missing)}: {len(there)} of the {len(listed)} images of its release are there",
            hint="Carry the whole directory across; or say which images are meant with --image, --variant.",
        )
    chosen = [note for note in notes.values() if part.has(note)]
    absent = [name for name in part.images if name not in {note.image for note in chosen}]
    if absent or not chosen:
        known = ", ".join(sorted({note.image for note in notes.values()}))
        raise RequestError(
            f"{directory} holds no {' or '.join(absent or part.images or part.variants)}"
            f"{f' in variant {chr(32).join(part.variants)}' if absent and part.variants else ''}",
            hint=f"It holds {known}.",
        )
    half = sorted({key for key in missing if any(_may_be_of(key, name) for name in part.images)}) if not part.variants else []
    if half:
        raise CheckError(f"{directory} lacks {', '.join(half)}", hint="Carry it across, too, or choose --variant.")


def _may_be_of(key: str, image: str) -> bool:
    """Whether this is the key of a variant of the image: `pilot-debug` of `pilot`."""
    return key == image or key.rpartition("-")[0] == image


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
        "digest": str(dict(release.images)[note.key]),
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
    if not hubs and not tags:
        return note.references
    hubs, tags = hubs or (Hub.parse(note.hub),), tags or (note.version,)
    if note.mirror:
        return mirror_references(hubs, tags, note.image, note.mirror.variants, note.mirror.fixed_tags)
    if not note.variant:
        # A base image: its tags are its own, and no --tag's.
        own = tuple(reference.key for reference in note.references)
        return mirror_references(hubs, (), note.image, (), own)
    return image_references(hubs, tags, note.image, note.variant, is_default=note.is_default)
