"""The directory of a job's pages: that of the newest run, and those of the runs before it."""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.report.page import KeptRun, run_page
from builder.report.record import RunRecord
from builder.runtime.atomic_file import whole_file
from builder.runtime.json_document import list_of, object_of, parse_json, text_of

# A month of nights.
KEPT_RUNS = 30
_NAME = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An earlier run, and at which digest it left each reference that it published."""

    run: KeptRun
    digests: tuple[tuple[str, str], ...]


def read_kept(directory: Path) -> tuple[Kept, ...]:
    """The runs whose pages are in this directory, the newest first; what cannot be read is passed over."""
    return tuple(_read_all(directory))


def digests_before(kept: Sequence[Kept]) -> dict[str, str]:
    """At which digest each reference was last, as these runs (the newest first) say."""
    return {reference: digest for entry in reversed(kept) for reference, digest in entry.digests}


def write_run(directory: Path, record: RunRecord, document: str, kept: Sequence[Kept]) -> None:
    """Write a run's page and its JSON twice: under the run's own name, and as the newest. Removes what is too old.

    Each file is whole or not there; those of the newest come last, so that what they lead to is there. Raises OSError.
    """
    earlier = [entry.run for entry in kept if entry.run.name != record.name][: KEPT_RUNS - 1]
    files = {
        f"{record.name}.json": document,
        f"{record.name}.html": run_page(record),
        "report.json": document,
        "index.html": run_page(record, earlier),
    }
    for name, text in files.items():
        write_text(directory / name, text)
    _remove_old(directory, {record.name, *(run.name for run in earlier)})


def read_text(path: Path, largest: int) -> str:
    """What a file holds, up to so many bytes; "" where it is not there. Raises OSError."""
    try:
        with path.open("rb") as file:
            return file.read(largest).decode(errors="replace")
    except FileNotFoundError:
        return ""


def write_text(path: Path, text: str) -> None:
    """Write a file that is whole or as it was before. What is no text in it is written out. Raises OSError."""
    with whole_file(path) as partial:
        partial.write_bytes(text.encode(errors="backslashreplace"))


def _read_all(directory: Path) -> Iterator[Kept]:
    names = sorted((path.stem for path in directory.glob("*.json") if _NAME.fullmatch(path.stem)), reverse=True)
    for name in names[:KEPT_RUNS]:
        try:
            yield _read(name, object_of(parse_json((directory / f"{name}.json").read_bytes())))
        except (OSError, ValueError):
            continue


def _read(name: str, document: Mapping[str, Any]) -> Kept:
    """Raises ValueError where it is not what we write."""
    run = KeptRun(
        name=name,
        began=text_of(document.get("began")),
        command=text_of(document.get("command")),
        summary=text_of(document.get("summary")),
        ok=document.get("ok") is True,
    )
    return Kept(run=run, digests=tuple(_digests(document)))


def _digests(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for release in list_of(document.get("releases")):
        report = object_of(object_of(release).get("report"))
        # What `build` wrote into layouts is not what was at the tags.
        for image in list_of(report.get("images")) if report.get("traffic") else ():
            for reference in list_of(object_of(image).get("references")):
                yield text_of(reference), text_of(object_of(image).get("digest"))


def _remove_old(directory: Path, kept: set[str]) -> None:
    """What another run has written meanwhile is newer than all of these, and stays."""
    oldest = min(kept)
    for path in directory.iterdir():
        if path.suffix in (".html", ".json") and _NAME.fullmatch(path.stem) and path.stem < oldest:
            with contextlib.suppress(OSError):
                path.unlink()
