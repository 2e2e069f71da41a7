"""A directory of image layouts, one for each image and variant: what `build` leaves and `push --from` takes up."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from builder.check import ReadLayer, check_integrity
from builder.errors import CheckError, RequestError
from builder.layout import Layout
from builder.plan import ImagePlan, Plan, image_references
from builder.publish import Publication
from builder.reference import Hub, ImageReference

_PREFIX = "dev.istio-build."


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutNotes:
    """What a layout says of itself beside the image: what it is, and where it was meant to go."""

    image: str
    variant: str
    is_default: bool
    version: str
    hub: str
    references: tuple[ImageReference, ...]

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
            key=f"{note.image}-{note.variant}",
            index=check_integrity(layout, read_layer),
            references=_references(note, hubs, tags),
            layout=layout,
        )
        for layout, note in zip(layouts, notes, strict=True)
    )
    return BuiltRelease(version=version, hub=hub, publications=publications)


def _references(note: LayoutNotes, hubs: tuple[Hub, ...], tags: tuple[str, ...]) -> tuple[ImageReference, ...]:
    if not hubs and not tags:
        return note.references
    return image_references(
        hubs or (Hub.parse(note.hub),), tags or (note.version,), note.image, note.variant, is_default=note.is_default
    )
