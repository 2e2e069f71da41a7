"""A directory of image layouts, one for each image and variant: what `build` leaves and `push --from` takes up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from builder.check import ReadLayer, check_integrity
from builder.errors import CheckError, RequestError
from builder.layout import Layout
from builder.plan import ImagePlan, MirrorPlan, Plan, image_references, mirror_references
from builder.publish import Publication
from builder.reference import Hub, ImageReference

_PREFIX = "dev.istio-build."


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorNotes:
    """What a layout says besides where it is a mirror: of what, and how its tags are made (see `MirrorPlan`)."""

    source: ImageReference
    variants: tuple[tuple[str, bool], ...]
    fixed_tags: tuple[str, ...]

    @classmethod
    def read(cls, notes: Mapping[str, str]) -> Self | None:
        """From the notes of a layout, None where it is no mirror."""
        if f"{_PREFIX}mirror" not in notes:
            return None
        default = notes.get(f"{_PREFIX}default-variant", "")
        return cls(
            source=ImageReference.parse(notes[f"{_PREFIX}mirror"]),
            variants=tuple((name, name == default) for name in notes.get(f"{_PREFIX}variants", "").split()),
            fixed_tags=tuple(notes.get(f"{_PREFIX}tags", "").split()),
        )

    def to_json(self) -> Mapping[str, str]:
        """As annotations."""
        return {
            f"{_PREFIX}default-variant": "".join(name for name, is_default in self.variants if is_default),
            f"{_PREFIX}mirror": str(self.source),
            f"{_PREFIX}tags": " ".join(self.fixed_tags),
            f"{_PREFIX}variants": " ".join(name for name, _ in self.variants),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutNotes:
    """What a layout says of itself beside the image: what it is, and where it was meant to go."""

    image: str
    variant: str
    is_default: bool
    version: str
    hub: str
    references: tuple[ImageReference, ...]
    mirror: "MirrorNotes | None" = None

    @property
    def key(self) -> str:
        """`pilot-distroless`, or the name of an image without variants."""
        return f"{self.image}-{self.variant}" if self.variant else self.image

    @classmethod
    def of_mirror(cls, mirror: MirrorPlan, plan: Plan) -> Self:
        """The notes for a mirror of a plan."""
        return cls(
            image=mirror.image,
            variant="",
            is_default=False,
            version=plan.version,
            hub=plan.hub,
            references=mirror.references,
            mirror=MirrorNotes(source=mirror.source, variants=mirror.variants, fixed_tags=mirror.fixed_tags),
        )

    @classmethod
    def of(cls, image: ImagePlan, plan: Plan) -> Self:
        """The notes for an image of a plan."""
        return cls(
            image=image.image,
            variant=image.variant,
            is_default=image.is_default,
            version=plan.version,
            hub=plan.hub,
            references=image.references,
        )

    @classmethod
    def read(cls, layout: Layout) -> Self:
        """The notes of a layout. Raises CheckError where it was not made by `build`."""
        _, notes = layout.root_descriptor()
        try:
            return cls(
                image=notes[f"{_PREFIX}image"],
                variant=notes[f"{_PREFIX}variant"],
                is_default=notes[f"{_PREFIX}default"] == "true",
                version=notes[f"{_PREFIX}version"],
                hub=notes[f"{_PREFIX}hub"],
                references=tuple(ImageReference.parse(text) for text in notes[f"{_PREFIX}references"].split()),
                mirror=MirrorNotes.read(notes),
            )
        except KeyError as error:
            raise CheckError(f"{layout.root} was not made by `istio-build build`: it lacks the note {error}") from error

    def to_json(self) -> Mapping[str, str]:
        """As annotations."""
        return {
            f"{_PREFIX}default": "true" if self.is_default else "false",
            f"{_PREFIX}hub": self.hub,
            f"{_PREFIX}image": self.image,
            f"{_PREFIX}references": " ".join(str(reference) for reference in self.references),
            f"{_PREFIX}variant": self.variant,
            f"{_PREFIX}version": self.version,
            **(self.mirror.to_json() if self.mirror else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltRelease:
    """A set of layouts that belong together. `hub` is the one stamped into the programs."""

    version: str
    hub: str
    publications: tuple[Publication, ...]


def read_release(directory: Path, hubs: tuple[Hub, ...], tags: tuple[str, ...], read_layer: ReadLayer) -> BuiltRelease:
    """The release in a directory, checked to be whole; goes to `hubs` and `tags`, by default where it was built for.

    Raises RequestError where there is none, CheckError where a layout is damaged or they are not of one release.
    """
    roots = sorted(path.parent for path in directory.glob("*/oci-layout"))
    if not roots:
        raise RequestError(
            f"{directory} holds no image layouts",
            hint="--from names the directory that `istio-build build --output` wrote.",
        )
    layouts = [Layout(root) for root in roots]
    notes = [LayoutNotes.read(layout) for layout in layouts]
    releases = sorted({(note.version, note.hub) for note in notes})
    if len(releases) > 1:
        found = ", ".join(f"{version} for {hub}" for version, hub in releases)
        raise CheckError(f"{directory} holds images of several releases: {found}", hint="Build them into one directory each.")
    version, hub = releases[0]
    publications = tuple(
        Publication(
            key=note.key,
            index=check_integrity(layout, read_layer),
            references=_references(note, hubs, tags),
            layout=layout,
            mount_from=(note.mirror.source.repository,) if note.mirror else (),
        )
        for layout, note in zip(layouts, notes, strict=True)
    )
    return BuiltRelease(version=version, hub=hub, publications=publications)


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
