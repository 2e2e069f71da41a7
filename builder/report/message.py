"""A run in a few words, for those who are notified: what changed, what failed, what to do, where to look. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from builder.oci.reference import Digest, redact_url
from builder.pipeline.report import ImageReport, Report
from builder.report.record import RecordedError, RunRecord
from builder.runtime.text import counted, printable

_MOST_IMAGES = 10
_MOST_LINES = 6
_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortMessage:
    """A line, and a text of some lines."""

    title: str
    body: str


def is_due(record: RunRecord, when: str) -> bool:
    """Whether a run is to be told of: `always`, on `failure`, or on `change`, which is also on failure."""
    return when == "always" or record.error is not None or (when == "change" and record.has_changed)


def short_message(record: RunRecord, report_url: str) -> ShortMessage:
    """What to tell of a run. `report_url` is where its pages are, "" where they are nowhere."""
    lines = _failure(record.error) if record.error else []
    lines += [line for release in record.releases if release.report for line in _images(release.report)]
    if record.warnings:
        lines.append(f"{counted(len(record.warnings), 'warning')}; the first: {_line(record.warnings[0])}")
    if report_url:
        lines.append(f"Report: {redact_url(report_url)}")
    where = f" ({', '.join(record.hubs)})" if record.hubs else ""
    return ShortMessage(title=_line(f"istio-build {record.command}{where}: {record.summary}"), body="\n".join(lines))


def page_url(record: RunRecord, report_url: str, *, has_page: bool) -> str:
    """Where the page of this very run is, if there is one."""
    return f"{report_url.rstrip('/')}/{record.name}.html" if report_url and has_page else report_url


def _failure(error: RecordedError) -> list[str]:
    lines = error.message.splitlines()
    shown = [_line(line) for line in lines[:_MOST_LINES]]
    return [*shown, *(["…"] if len(lines) > _MOST_LINES else []), *_what_to_do(error)]


def _what_to_do(error: RecordedError) -> list[str]:
    """In a line, or in one for each release of several."""
    first, *more = error.hint.splitlines()[:_MOST_LINES] or [""]
    return [f"What to do: {_line(first)}", *map(_line, more)] if first else []


def _images(report: Report) -> list[str]:
    """What of a release is not as it was, and how much is."""
    changed = [image for image in report.images if image.has_changed]
    alike: dict[str, list[str]] = {}
    for image in changed[:_MOST_IMAGES]:
        why = _why(image)
        alike.setdefault(f"{image.state}{': ' if why else ''}{why}", []).append(image.key)
    shown = [_line(f"- {', '.join(keys)} {told}") for told, keys in alike.items()]
    more = [f"… and {len(changed) - _MOST_IMAGES} more"] if len(changed) > _MOST_IMAGES else []
    same = sum(image.state == "unchanged" for image in report.images)
    head = f"{report.version} at {report.hub}{f', {same} unchanged' if same else ''}"
    return [_line(f"{head}:" if changed else head), *shown, *more, *map(_line, _tags(changed))]


def _why(image: ImageReport) -> str:
    """Why it was made; of one that was not, which of its tags were elsewhere."""
    if image.state != "unchanged":
        return "; ".join(reason.text for reason in image.reasons)
    return "; ".join(_where_from(before, names) for before, names in image.moved_from())


def _where_from(before: Digest | None, names: Sequence[str]) -> str:
    """`1.29, latest were at sha256:…`."""
    were = "were" if len(names) > 1 else "was"
    return f"{', '.join(names)} {were} {f'at sha256:{before.short}' if before else 'missing'}"


def _tags(images: Sequence[ImageReport]) -> list[str]:
    """Which tags images that were made have taken over from others, and which are new, by their names alone."""
    made = [image for image in images if image.state != "unchanged"]
    moved = dict.fromkeys(name for image in made for before, names in image.moved_from() if before for name in names)
    new = dict.fromkeys(name for image in made for before, names in image.moved_from() if not before for name in names)
    return [f"{told}: {', '.join(names)}" for told, names in (("tags moved", moved), ("new tags", new)) if names]


def _line(text: str) -> str:
    line = printable(" ".join(text.split()))
    return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…"
