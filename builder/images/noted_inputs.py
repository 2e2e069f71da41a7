"""Reads what an index's annotations say of what it was made from, by name (builder.plan.noted)."""

from collections.abc import Mapping

from builder.plan.model import NOTES_ANNOTATION
from builder.plan.noted import NOTES_VERSION, Notes
from builder.runtime.json_document import object_of, parse_json, text_map_of

# Of all platforms together; a registry's manifest may be anybody's.
_LARGEST = 256 * 1024
_LONGEST = 300


def read_notes(annotations: Mapping[str, str]) -> dict[str, Notes]:
    """The notes by platform; none where there are none, or what is there is not ours, or of a later form."""
    try:
        document = object_of(parse_json(annotations.get(NOTES_ANNOTATION, "{}"), largest=_LARGEST))
        if document.get("v") != NOTES_VERSION:
            return {}
        shared = text_map_of(document.get("all"))
        notes = {platform: {**shared, **text_map_of(own)} for platform, own in object_of(document.get("on")).items()}
    except ValueError:
        return {}
    texts = (text for own in notes.values() for pair in own.items() for text in pair)
    # They are shown to people.
    if not all(text.isprintable() and len(text) <= _LONGEST for text in texts):
        return {}
    return {platform: tuple(sorted(own.items())) for platform, own in notes.items()}
