"""A directory of image layouts, one for each image and variant, as `build` leaves it: opened, and held against what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import CheckError, RequestError
from builder.images.check import ReadLayer, check_integrity
from builder.images.layout_notes import LayoutNotes
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.plan.fingerprint import join_fingerprints
from builder.plan.model import FINGERPRINT_ANNOTATION, Unit
from builder.publish.release_file import RELEASE_FILE, ListedImage, ReleaseFile


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePart:
    """Which images of a release are meant, by names, variants and platforms; all where none is given."""

    images: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()

    def has(self, unit: Unit) -> bool:
        """Whether this one is. A mirror is copied with all its platforms, whichever are meant."""
        return (
            (not self.images or unit.image in self.images)
            and (not self.variants or unit.variant in self.variants)
            and (not self.platforms or not unit.platform or unit.platform in self.platforms)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldImage:
    """A layout of a directory, with what it says of itself and what the directory says of it."""

    directory: Path
    layout: Layout
    note: LayoutNotes
    listed: ListedImage


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDirectory:
    """A directory that says what it holds, and the layouts that are there."""

    root: Path
    release: ReleaseFile
    images: tuple[HeldImage, ...]


def find_directories(named: Sequence[Path]) -> tuple[Path, ...]:
    """The directories that are meant: those that are named, or what lies in one that holds several and is none itself."""
    found: list[Path] = []
    for directory in named:
        inner = [] if (directory / RELEASE_FILE).exists() else sorted(path.parent for path in directory.glob(f"*/{RELEASE_FILE}"))
        found += inner or [directory]
    return tuple(found)


def open_directory(directory: Path) -> ReleaseDirectory:
    """What a directory holds, and says that it does; nothing of the images themselves is read yet.

    Raises RequestError where there are no layouts; CheckError where it does not say what it holds, or holds something else
    besides.
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
    listed = {entry.key: entry for entry in release.images}
    there = [note.key for note in notes.values()]
    unlisted = sorted(set(there) - set(listed))
    doubled = sorted({key for key in there if there.count(key) > 1})
    if unlisted or doubled:
        raise CheckError(
            f"{directory} holds {', '.join(unlisted + doubled)}, which {RELEASE_FILE} does not list"
            f"{' or lists once' if doubled else ''}",
            hint="Is it of another build? Move it elsewhere, or build into an empty directory.",
        )
    images = tuple(
        HeldImage(directory=directory, layout=layout, note=note, listed=listed[note.key]) for layout, note in notes.items()
    )
    return ReleaseDirectory(root=directory, release=release, images=images)


def check_held(directory: ReleaseDirectory, part: ReleasePart) -> None:
    """All that the directory lists and that is meant has to be there. Raises CheckError."""
    there = {held.note.key for held in directory.images}
    meant = [entry.key for entry in directory.release.images if any(map(part.has, entry.units))]
    missing = [key for key in meant if key not in there]
    if missing:
        raise CheckError(
            f"{directory.root} lacks {', '.join(missing)}: {len(meant) - len(missing)} of the {len(meant)} images that are meant "
            "are there",
            hint="Carry the whole directory across; or say which images are meant with --image, --variant.",
        )


def check_places(images: Sequence[HeldImage]) -> None:
    """All images of a release go to the same hubs, each to a repository of its own name. Raises CheckError."""
    places = {
        held: frozenset(str(reference.repository).removesuffix(f"/{held.note.image}") for reference in held.note.references)
        for held in images
    }
    for held, hubs in places.items():
        note = held.note
        strange = [ref for ref in note.references if not str(ref.repository).endswith(f"/{note.image}")]
        if strange or note.hub not in hubs or len(set(places.values())) > 1:
            told = "; ".join(sorted({f"{other.note.key} to {', '.join(sorted(there))}" for other, there in places.items()}))
            raise CheckError(
                f"{held.layout.root} is not to go where the rest of its release goes, or not under its own name: {told}",
                hint=f"Its notes have been changed since `istio-build build` wrote {held.directory}: build it again.",
            )


def check_image(held: HeldImage, release: ReleaseFile, read_layer: ReadLayer) -> Manifest:
    """The index of a layout that is whole, and the one that was built as this image of this release. Raises CheckError."""
    index, note, listed = check_integrity(held.layout, read_layer), held.note, held.listed
    annotations = index.annotations()
    said = {
        "release": f"{note.version} for {note.hub}",
        "digest": str(index.digest),
        "image": note.image if note.mirror else annotations.get("org.opencontainers.image.title", ""),
        "version": annotations.get("org.opencontainers.image.version", note.version) if note.variant else note.version,
        "platforms": "" if note.mirror else ", ".join(map(str, index.platforms())),
        "inputs": "" if note.mirror else annotations.get(FINGERPRINT_ANNOTATION, ""),
    }
    wanted = {
        "release": f"{release.version} for {release.hub}",
        "digest": str(listed.digest),
        "image": listed.image,
        "version": release.version,
        "platforms": ", ".join(platform for platform, _ in listed.inputs),
        "inputs": join_fingerprints(dict(listed.inputs)) if listed.inputs else "",
    }
    wrong = [f"{name} is {said[name]}, not {wanted[name]}" for name in wanted if said[name] != wanted[name]]
    if wrong:
        raise CheckError(
            f"{held.layout.root} is not the {note.key} of its release: {'; '.join(wrong)}",
            hint="It was exchanged, or is of another build: build the release again, into an empty directory.",
        )
    return index
