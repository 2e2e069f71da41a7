"""Puts one tag back that a run has moved: only while it is where that run had put it, for else it is somebody else's."""

from enum import Enum, auto

from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, ImageReference
from builder.ports import TagStore
from builder.publish.journal import Move


class Where(Enum):
    """Where a tag is, as seen by a run that was to move it."""

    BEFORE = auto()
    AFTER = auto()
    ELSEWHERE = auto()


class Restored(Enum):
    """How putting back a tag went. LEFT: it is somebody else's by now. STUCK: the registry cannot delete a new one."""

    BACK = auto()
    LEFT = auto()
    STUCK = auto()


def where_is(found: Manifest | None, move: Move) -> Where:
    """Where a tag is that was to make this move."""
    # First, as a move to where a tag already is is one that has been made.
    if points_at(found, move.after):
        return Where.AFTER
    return Where.BEFORE if digest_of(found) == digest_of(move.before) else Where.ELSEWHERE


def restore(reference: ImageReference, move: Move, tags: TagStore) -> Restored:
    """Put a tag back if it is still where the move put it. Raises RegistryError."""
    match where_is(tags.get_manifest(reference), move):
        case Where.BEFORE:
            return Restored.BACK
        case Where.ELSEWHERE:
            return Restored.LEFT
    if move.before is None:
        return Restored.BACK if tags.delete_tag(reference) else Restored.STUCK
    if move.before.digest != move.after:
        tags.put_tag(reference, move.before)
    return Restored.BACK


def points_at(found: Manifest | None, wanted: Digest) -> bool:
    """Whether what was found at a tag is of this digest."""
    return found is not None and found.digest == wanted


def digest_of(manifest: Manifest | None) -> Digest | None:
    """The digest of what was found at a tag, None where it does not exist."""
    return manifest.digest if manifest else None
