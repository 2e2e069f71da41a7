"""What changed in a lock since it was bound before, for people and for machines. Pure."""

from dataclasses import asdict
from typing import Any

from builder.cli.screen import ENDLESS, Screen
from builder.pipeline.locking import MadeLock

_SHOWN = 19  # `sha256:` and 12 digits


def lock_json(made: MadeLock) -> dict[str, Any]:
    """All changes as JSON values."""
    return {"lock": str(made.path), "changed": made.stale, "changes": [asdict(change) for change in made.changes]}


def lock_text(made: MadeLock, screen: Screen = ENDLESS, *, written: bool) -> str:
    """A line for each change, and whether the file is another."""
    lines = []
    for change in made.changes:
        values = " → ".join(_short(value) for value in (change.before, change.after) if value)
        gone = " is no longer bound" if not change.after else ""
        lines += screen.fold(f"{change.what} {values}{gone}: {change.why}")
    if made.stale:
        return "\n".join([*lines, f"{made.path}: {'written' if written else 'would be another'}"])
    return f"{made.path}: nothing changed"


def _short(value: str) -> str:
    """Of a digest or a commit, what people tell it from others by."""
    if value.startswith("sha256:"):
        return f"{value[:_SHOWN]}…"
    reference, at, digest = value.partition("@")
    if at:
        return f"{reference}@{_short(digest)}"
    return value[:12] if len(value) in (40, 64) and " " not in value else value
