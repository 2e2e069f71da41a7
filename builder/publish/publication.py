"""What is published, and what that moved, as values."""

from dataclasses import dataclass

from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.reference import ImageReference, Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One image to publish: its index, all the tags it gets, and its layout (None where the hub has it already).

    `mount_from` are repositories of the same registry that may hold its base layers.
    """

    key: str
    index: Manifest
    references: tuple[ImageReference, ...]
    layout: Layout | None
    mount_from: tuple[Repository, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What publishing moved: blobs by how they came to be there, and bytes sent."""

    uploaded: int = 0
    mounted: int = 0
    present: int = 0
    bytes_sent: int = 0
    tags_moved: int = 0
