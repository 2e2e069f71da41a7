"""Chooses what of the cache goes. Pure."""

from dataclasses import dataclass

from builder.cache.entry import Entry, Survey
from builder.config.request import CacheLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What goes, in this order, and what would have gone but was used by a run that is at work."""

    out: tuple[Entry, ...]
    in_use: tuple[Entry, ...] = ()


def choose(survey: Survey, limits: CacheLimits, now: float, spared_since: float) -> Choice:
    """What goes: what was not used for too long, and then, the longest unused first, as much as is too much.

    `spared_since`: what was used since then may be in use. Both times are in seconds since 1970.
    """
    ordered = sorted(survey.entries, key=lambda entry: (entry.used, entry.shared, entry.path))
    excess = survey.size - limits.max_size if limits.max_size is not None else 0
    out: list[Entry] = []
    in_use: list[Entry] = []
    for entry in ordered:
        too_old = limits.keep is not None and now - entry.used > limits.keep
        if not too_old and excess <= 0:
            continue
        if entry.used >= spared_since:
            in_use.append(entry)
            continue
        out.append(entry)
        excess -= entry.size
    return Choice(out=tuple(out), in_use=tuple(in_use))
