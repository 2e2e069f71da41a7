"""Says what was found: a table of releases and images, then every difference, with the releases that have it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from builder.runtime.text import format_table
from tools.parity.model import Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseResult:
    """One release: the images that were compared, and what differs."""

    release: str
    images: tuple[str, ...]
    differences: tuple[Difference, ...]


def summarise(results: Sequence[ReleaseResult]) -> list[str]:
    """The table: a row a release, a column an image."""
    images = sorted({image for result in results for image in result.images})
    rows = [("RELEASE", *images, "OTHER")]
    for result in results:
        cells = [
            _cell([d for d in result.differences if d.image == image]) if image in result.images else "-" for image in images
        ]
        others = _cell([d for d in result.differences if d.image not in images])
        rows.append((result.release, *cells, others))
    return format_table(rows)


def list_differences(results: Sequence[ReleaseResult], *, intended: bool) -> Iterator[str]:
    """Each difference once, with the releases that have it. `intended` chooses those with a reason, or those without."""
    order = [result.release for result in results]
    groups: dict[Difference, list[str]] = {}
    for result in results:
        for difference in result.differences:
            if bool(difference.reason) == intended:
                groups.setdefault(_without_release(difference), []).append(difference.release)
    for difference, releases in sorted(groups.items(), key=lambda item: (item[0], item[1])):
        where = f" on {difference.platform}" if difference.platform else ""
        yield f"{difference.what}{where}  {difference.field}  ({shorten(releases, order)})"
        yield f"    theirs  {difference.theirs or '(none)'}"
        yield f"    ours    {difference.ours or '(none)'}"
        if difference.reason:
            yield f"    reason  {difference.reason}"


def list_reasons(results: Sequence[ReleaseResult]) -> Iterator[str]:
    """The reasons of intended differences, each with how many it excuses and in which releases."""
    order = [result.release for result in results]
    groups: dict[str, list[Difference]] = {}
    for result in results:
        for difference in result.differences:
            if difference.reason:
                groups.setdefault(difference.reason, []).append(difference)
    for reason, differences in groups.items():
        releases = shorten([difference.release for difference in differences], order)
        yield f"  {len(differences):6}  {reason}  ({releases})"


def differences_json(differences: Sequence[Difference], **more: Sequence[str]) -> str:
    """Differences for programs, and lists of other things by name."""
    return json.dumps({**more, "differences": [asdict(difference) for difference in differences]}, indent=2)


def shorten(releases: Sequence[str], order: Sequence[str]) -> str:
    """`1.10.0 to 1.12.9, 1.13.1 (21)`: runs of releases that follow each other in `order`."""
    places = sorted({order.index(release) for release in releases})
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][-1] + 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    texts = [order[run[0]] if len(run) == 1 else f"{order[run[0]]} to {order[run[-1]]}" for run in runs]
    return ", ".join(texts) + (f", {len(places)} releases" if len(places) > 1 else "")


def _cell(differences: Sequence[Difference]) -> str:
    intended = sum(bool(difference.reason) for difference in differences)
    open_ones = len(differences) - intended
    if open_ones:
        return f"{open_ones} DIFFER"
    return f"{intended} intended" if intended else "ok"


def _without_release(difference: Difference) -> Difference:
    return replace(difference, release="")
