"""What can be built, as rows for people and as JSON."""

from collections.abc import Sequence

from builder.cli.screen import ENDLESS, Screen
from builder.recipe.availability import ImageSupport

_HEADINGS = ("IMAGE", "GROUP", "RELEASES", "VARIANTS")


def support_table(support: Sequence[ImageSupport], screen: Screen = ENDLESS) -> str:
    """The rows for people: the group says what `--image` takes them together."""
    platforms = [platform for platform, _ in support[0].lacks]
    rows = [(*_HEADINGS, *(str(platform) for platform in platforms))]
    for entry in support:
        on = [_describe_platform(ranges) for _, ranges in entry.lacks]
        rows.append((entry.image, entry.group, entry.releases, _describe(entry.variants), *on))
    return "\n".join(screen.table(rows, labels=True))


def support_json(support: Sequence[ImageSupport]) -> list[dict[str, object]]:
    """The same as JSON values."""
    return [
        {
            "image": entry.image,
            "group": entry.group,
            "summary": entry.summary,
            "releases": entry.releases,
            "variants": {releases: value.split(", ") for releases, value in entry.variants},
            "platforms": {
                str(platform): [
                    {"releases": releases, "lacks": lacking.split(", ") if lacking else []} for releases, lacking in ranges
                ]
                for platform, ranges in entry.lacks
            },
        }
        for entry in support
    ]


def _describe(ranges: Sequence[tuple[str, str]]) -> str:
    """`debug, distroless`; by release where that differs."""
    if len(ranges) == 1:
        return ranges[0][1]
    return "; ".join(f"{releases}: {value}" for releases, value in ranges)


def _describe_platform(ranges: Sequence[tuple[str, str]]) -> str:
    if all(not lacking for _, lacking in ranges):
        return "yes"
    parts = [f"{releases}: {f'bring your own {lacking}' if lacking else 'yes'}" for releases, lacking in ranges]
    return "; ".join(parts) if len(parts) > 1 else parts[0].partition(": ")[2]
