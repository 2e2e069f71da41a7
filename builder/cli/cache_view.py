"""Shows what the cache holds and what of it went: as tables, as JSON (docs/schemas/cache.json). Pure."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from builder.cache.entry import Entry, Kind, Survey, total
from builder.cache.prune import Pruned
from builder.cli.screen import ENDLESS, Screen
from builder.runtime.text import counted, format_size, printable

SCHEMA_VERSION = 1
# Of these each one is worth a line; of the others there are hundreds.
_NAMED = (Kind.SOURCE, Kind.JOB, Kind.DOWNLOAD)
_MOST_LINES = 8
_AGES = ((86400, "day"), (3600, "hour"), (60, "minute"))


def survey_table(survey: Survey, root: Path, free: int, now: float, screen: Screen = ENDLESS, *, everything: bool) -> str:
    """What there is, by kind, and the largest of what is worth a line."""
    kinds = [(kind, survey.of(kind)) for kind in Kind if survey.of(kind)]
    rows = [("what", "count", "size", "last used", "")]
    rows += [
        (str(kind), str(len(found)), format_size(total(found)), format_age(now - found[0].used), kind.meaning)
        for kind, found in kinds
    ]
    lines = screen.table(rows) if kinds else ["Nothing is in the cache."]
    for kind, found in kinds:
        if kind in _NAMED:
            lines += ["", f"{kind}:", *_named(found, now, screen, everything=everything)]
    end = f"{root}: {format_size(survey.size)} in all; {format_size(free)} are free there."
    return "\n".join([*lines, "", *screen.fold(end)])


def _named(found: Sequence[Entry], now: float, screen: Screen, *, everything: bool) -> list[str]:
    largest = sorted(found, key=lambda entry: -entry.size)
    shown = largest if everything else largest[:_MOST_LINES]
    rest = largest[len(shown) :]
    more = [f"  and {len(rest)} more of {format_size(total(rest))} (--all)"] if rest else []
    return [*_entry_lines(shown, now, screen), *more]


def _entry_lines(entries: Iterable[Entry], now: float, screen: Screen) -> list[str]:
    rows = [(format_size(entry.size), format_age(now - entry.used), _name(entry)) for entry in entries]
    return screen.table(rows, indent="  ")


def _name(entry: Entry) -> str:
    return printable(f"{entry.about} ({entry.path})" if entry.about else entry.path)


def survey_json(survey: Survey, root: Path, free: int, now: float) -> dict[str, Any]:
    """The same for programs; nothing of it depends on `now`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "cache": str(root),
        "size": survey.size,
        "free": free,
        "kinds": {str(kind): total(survey.of(kind)) for kind in Kind},
        "entries": [_entry_json(entry) for kind in Kind for entry in survey.of(kind)],
    }


def pruned_text(pruned: Pruned, now: float, free: int, screen: Screen = ENDLESS, *, dry_run: bool) -> str:
    """What went, and what is left."""
    named = [entry for entry in pruned.out if entry.kind in _NAMED]
    rest = [entry for entry in pruned.out if entry.kind not in _NAMED]
    more = [f"  {format_size(total(rest))} of what is remembered of images ({counted(len(rest), 'file')})"] if rest else []
    freed = format_size(total(pruned.out))
    does = "would be freed" if dry_run else "freed"
    told = []
    if pruned.in_use:
        told.append(f"{counted(len(pruned.in_use), 'thing')} of {format_size(total(pruned.in_use))} may be in use, and stays.")
    has = f"would have {format_size(pruned.left)}" if dry_run else f"has {format_size(pruned.left)}"
    told.append(f"{freed} {does}; the cache {has}. Free: {format_size(free)}.")
    lines = [*more, *told]
    return "\n".join([*_entry_lines(named, now, screen), *(part for line in lines for part in screen.fold(line))])


def pruned_json(pruned: Pruned, root: Path, free: int, *, dry_run: bool) -> dict[str, Any]:
    """The same for programs."""
    return {
        "schema_version": SCHEMA_VERSION,
        "cache": str(root),
        "dry_run": dry_run,
        "freed": total(pruned.out),
        "size": pruned.left,
        "free": free,
        "removed": [_entry_json(entry) for entry in pruned.out],
        "in_use": [_entry_json(entry) for entry in pruned.in_use],
        "stuck": [{**_entry_json(entry), "reason": reason} for entry, reason in pruned.stuck],
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    used = datetime.fromtimestamp(entry.used, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"kind": str(entry.kind), "path": entry.path, "about": entry.about, "size": entry.size, "last_used": used}


def format_age(seconds: float) -> str:
    """`3 days ago`."""
    for length, name in _AGES:
        if seconds >= length:
            return f"{counted(int(seconds // length), name)} ago"
    return "just now"
