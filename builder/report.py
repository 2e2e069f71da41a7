"""What a run achieved, for people (a table) and for machines (references, or JSON)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from builder.publish import Traffic
from builder.reference import Digest, ImageReference, Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformReport:
    """One platform of an image: its manifest, and the compressed bytes of its layers."""

    platform: Platform
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """One image: where it is, and whether this run built it (`built`, or `mirrored`), found it there
    (`unchanged`) or was `given` it."""

    key: str
    references: tuple[ImageReference, ...]
    digest: Digest
    platforms: tuple[PlatformReport, ...]
    state: str
    layout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole run. Seconds are wall time; stages overlap."""

    version: str
    hub: str
    images: tuple[ImageReport, ...]
    traffic: Traffic | None
    stages: tuple[tuple[str, float], ...]
    seconds: float


def report_json(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "version": report.version,
        "hub": report.hub,
        "seconds": round(report.seconds, 3),
        "stages": {stage: round(seconds, 3) for stage, seconds in report.stages},
        "traffic": None
        if report.traffic is None
        else {
            "blobsUploaded": report.traffic.uploaded,
            "blobsMounted": report.traffic.mounted,
            "blobsPresent": report.traffic.present,
            "bytesSent": report.traffic.bytes_sent,
            "tagsMoved": report.traffic.tags_moved,
        },
        "images": [
            {
                "image": image.key,
                "state": image.state,
                "digest": str(image.digest),
                "references": [str(reference) for reference in image.references],
                "platforms": {
                    str(entry.platform): {"digest": str(entry.digest), "size": entry.size} for entry in image.platforms
                },
                **({"layout": image.layout} if image.layout else {}),
            }
            for image in report.images
        ],
    }


def report_references(report: Report) -> str:
    """One `reference@digest` a line: what was pushed, for scripts."""
    lines = [f"{reference.pinned(image.digest)}" for image in report.images for reference in image.references]
    return "\n".join(lines)


def report_text(report: Report, *, installable: bool) -> str:
    """The report for people: what is where, how long it took, and how to install from it."""
    rows = [("IMAGE", "DIGEST", "PLATFORMS (compressed)", "")]
    for image in report.images:
        platforms = ", ".join(f"{entry.platform} {format_size(entry.size)}" for entry in image.platforms)
        rows.append((str(image.references[0]), image.digest.short, platforms, image.state))
        rows += [(str(reference), "", "", "") for reference in image.references[1:]]
    lines = format_table(rows)
    stages = "  ".join(f"{stage} {seconds:.1f}s" for stage, seconds in report.stages)
    lines += ["", f"{report.seconds:.1f} s in all. Stages overlap: {stages or 'none'}."]
    if report.traffic:
        lines.append(_describe_traffic(report.traffic))
    if installable:
        lines += [
            "",
            f"The istioctl in {report.hub}/istioctl:{report.version} installs from this hub by itself:",
            "  istioctl install",
            "Any other istioctl of this release has to be told:",
            f"  istioctl install --set hub={report.hub} --set tag={report.version}",
        ]
    return "\n".join(lines)


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned columns, two spaces between them."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def format_size(count: int) -> str:
    """Bytes for people: `38.9 MB`, in powers of ten as registries show them."""
    size = float(count)
    for unit in ("B", "kB", "MB"):
        if round(size, 1) < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _describe_traffic(traffic: Traffic) -> str:
    if not traffic.uploaded and not traffic.mounted and not traffic.tags_moved:
        return "Nothing was uploaded: the hub has it all."
    return (
        f"Uploaded {traffic.uploaded} blobs ({format_size(traffic.bytes_sent)}), mounted {traffic.mounted}, "
        f"{traffic.present} were there; moved {traffic.tags_moved} tags."
    )
