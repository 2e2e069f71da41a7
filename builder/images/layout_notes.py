"""What a layout says of itself beside its image: what it is, and where it was meant to go."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from builder.errors import CheckError
from builder.oci.layout import Layout
from builder.oci.reference import RECORD_TAG, ImageReference, Repository
from builder.plan.model import ImagePlan, MirrorPlan, Plan

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
    """What a layout says of itself beside the image: what it is, what it was built upon, and where it was meant to go."""

    image: str
    variant: str
    is_default: bool
    version: str
    hub: str
    references: tuple[ImageReference, ...]
    mirror: "MirrorNotes | None" = None
    base: ImageReference | None = None

    @property
    def made_from(self) -> tuple[Repository, ...]:
        """The repositories that may hold some of its layers: a registry can take those over from another of its own."""
        sources = (self.mirror.source if self.mirror else None, self.base)
        return tuple(source.repository for source in sources if source)

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
            base=image.base.reference if image.base else None,
        )

    @classmethod
    def read(cls, layout: Layout) -> Self:
        """The notes of a layout. Raises CheckError where it was not made by `build`."""
        _, notes = layout.root_descriptor()
        try:
            references = tuple(ImageReference.parse(text) for text in notes[f"{_PREFIX}references"].split())
            if any(reference.tag == RECORD_TAG for reference in references):
                raise CheckError(f"{layout.root} names the tag {RECORD_TAG!r}, which is reserved")
            return cls(
                image=notes[f"{_PREFIX}image"],
                variant=notes[f"{_PREFIX}variant"],
                is_default=notes[f"{_PREFIX}default"] == "true",
                version=notes[f"{_PREFIX}version"],
                hub=notes[f"{_PREFIX}hub"],
                references=references,
                mirror=MirrorNotes.read(notes),
                base=ImageReference.parse(notes[f"{_PREFIX}base"]) if f"{_PREFIX}base" in notes else None,
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
            # What other tools take a layout's image for: `oras` and `umoci` by its tag, `ctr images import` and `docker load`
            # by its whole name (image-spec v1.1, annotations.md; containerd, images/annotations.go).
            "io.containerd.image.name": str(self.references[0]),
            "org.opencontainers.image.ref.name": self.references[0].tag,
            **(self.mirror.to_json() if self.mirror else {}),
            **({f"{_PREFIX}base": str(self.base)} if self.base else {}),
        }
