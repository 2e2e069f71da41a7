"""Shows what a push would do at the hubs, for people and as JSON."""

from typing import Any

from builder.cli.report_view import reason_json
from builder.cli.screen import ENDLESS, Screen
from builder.oci.reference import Digest
from builder.pipeline.comparison import ComparedImage, Comparison
from builder.publish.reasons import gather

_STATES = {"unchanged": "unchanged", "built": "would be built", "mirrored": "would be copied"}


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """As JSON values; a tag that would become what is built has null for its digest."""
    return {
        "refused": {"exit_code": comparison.exit_code, "message": comparison.refused} if comparison.refused else None,
        "images": [
            {
                "image": image.key,
                "state": image.state,
                "reasons": [reason_json(reason) for reason in image.reasons],
                "tags": [
                    {"reference": str(move.reference), "before": _text(move.before), "after": _text(move.after)}
                    for move in image.moves
                ],
            }
            for image in comparison.images
        ],
    }


def comparison_table(comparison: Comparison, screen: Screen = ENDLESS) -> str:
    """For people: each image and its tags that would move, then the reasons, each once."""
    rows = [row for image in comparison.images for row in _rows(image)]
    lines = ["Against the hub", *screen.table(rows, indent="  ")]
    causes = gather({image.key: image.reasons for image in comparison.images})
    if causes:
        lines += ["", "Why", *(part for cause in causes for part in screen.fold(f"  {cause}"))]
    if not any(image.moves for image in comparison.images):
        lines += ["", "A push would do nothing: the hub has it all."]
    if comparison.refused:
        told = (f"A push as this one would be refused (code {comparison.exit_code}):", *comparison.refused.splitlines())
        lines += ["", *(part for line in told for part in screen.fold(line))]
    return "\n".join(lines)


def _rows(image: ComparedImage) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(image.key, _STATES[image.state])]
    made = "what is built"
    rows += [("", f"{move.reference}  {_short(move.before, 'new')} → {_short(move.after, made)}") for move in image.moves]
    return rows


def _short(digest: Digest | None, otherwise: str) -> str:
    return f"sha256:{digest.short}" if digest else otherwise


def _text(digest: Digest | None) -> str | None:
    return str(digest) if digest else None
