"""What is published, and what that moved, as values."""

from dataclasses import dataclass

from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import ImageReference
from builder.publish.content import ContentSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One image to publish: its index, all the tags it gets, and what holds it (None where the hubs have it already).

    `kept` are the entries of the index that its tags had already, for platforms that this push lacks.
    """

    key: str
    index: Manifest
    references: tuple[ImageReference, ...]
    content: ContentSource | None
    kept: tuple[Descriptor, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A set of images that belong together. `hub` is the one stamped into the programs; `notes` are for people.

    `source_tag` is the tag of the commit that it was built from, "" where that has none or there are changes.
    """

    version: str
    hub: str
    publications: tuple[Publication, ...]
    notes: tuple[str, ...] = ()
    source_tag: str = ""

    @property
    def references(self) -> tuple[ImageReference, ...]:
        """All tags of all its images."""
        return tuple(reference for entry in self.publications for reference in entry.references)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What publishing moved: blobs by how they came to be there, and bytes sent."""

    uploaded: int = 0
    mounted: int = 0
    present: int = 0
    bytes_sent: int = 0
    tags_moved: int = 0
