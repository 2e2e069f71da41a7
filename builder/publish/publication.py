"""What is published, and what that moved, as values."""

from dataclasses import dataclass, replace
from typing import Self

from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Hub, ImageReference
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

    @property
    def hubs(self) -> tuple[Hub, ...]:
        """All hubs that it goes to, in the order in which they are named."""
        return tuple(dict.fromkeys(reference.repository.hub for reference in self.references))

    def at(self, *hubs: Hub) -> Self:
        """What of it goes to these hubs."""
        narrowed = [
            replace(entry, references=tuple(reference for reference in entry.references if reference.repository.hub in hubs))
            for entry in self.publications
        ]
        return replace(self, publications=tuple(entry for entry in narrowed if entry.references))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What publishing moved: blobs by how they came to be there, and bytes sent."""

    uploaded: int = 0
    mounted: int = 0
    present: int = 0
    bytes_sent: int = 0
    tags_moved: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        """That of both."""
        return Traffic(
            uploaded=self.uploaded + other.uploaded,
            mounted=self.mounted + other.mounted,
            present=self.present + other.present,
            bytes_sent=self.bytes_sent + other.bytes_sent,
            tags_moved=self.tags_moved + other.tags_moved,
        )
