"""What a run achieved, for people (a table) and for machines (references, or JSON)."""

from typing import Any

from builder.cli.screen import ENDLESS, Screen
from builder.pipeline.report import ImageReport, MovedTag, Report
from builder.publish.publication import Traffic
from builder.publish.reasons import Reason
from builder.runtime.text import counted, format_size

# Of the form of the JSON (docs/schemas/report.json). It changes where a program that reads it has to.
SCHEMA_VERSION = 1


def report_json(report: Report) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "version": report.version,
        "builder_version": report.builder_version,
        "hub": report.hub,
        **({"patches": dict(report.patches)} if report.patches else {}),
        "seconds": round(report.seconds, 3),
        "stages": {stage: round(seconds, 3) for stage, seconds in report.stages},
        "traffic": None
        if report.traffic is None
        else {
            "blobs_uploaded": report.traffic.uploaded,
            "blobs_mounted": report.traffic.mounted,
            "blobs_present": report.traffic.present,
            "bytes_sent": report.traffic.bytes_sent,
            "tags_moved": report.traffic.tags_moved,
        },
        "hubs": [{"hub": hub.hub, "state": hub.state, "tags_moved": hub.tags_moved, "error": hub.error} for hub in report.hubs],
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
                **({"moved": [_moved_json(tag) for tag in image.moved]} if image.moved else {}),
                **({"reasons": [reason_json(reason) for reason in image.reasons]} if image.reasons else {}),
            }
            for image in report.images
        ],
    }


def _moved_json(tag: MovedTag) -> dict[str, Any]:
    return {"reference": str(tag.reference), "before": str(tag.before) if tag.before else None}


def reason_json(reason: Reason) -> dict[str, Any]:
    """Why an image was made, as JSON values."""
    return {
        "kind": reason.kind,
        "text": reason.text,
        "what": reason.what,
        "before": reason.before,
        "after": reason.after,
        "platforms": list(reason.platforms),
    }


def report_references(report: Report) -> str:
    """One `reference@digest` a line: what was pushed, for scripts."""
    lines = [f"{reference.pinned(image.digest)}" for image in report.images for reference in image.references]
    return "\n".join(lines)


def report_text(report: Report, screen: Screen = ENDLESS, *, installable: bool) -> str:
    """The report for people: what is where, how long it took, and how to install from it. Why was told before it was made."""
    rows = [("IMAGE", "DIGEST", "PLATFORMS (compressed)", "")]
    for image in report.images:
        platforms = ", ".join(f"{entry.platform} {format_size(entry.size)}" for entry in image.platforms)
        rows.append((str(image.references[0]), image.digest.short, platforms, image.state))
        rows += [(str(reference), "", "", "") for reference in image.references[1:]]
    lines = screen.table(rows)
    moves = [f"  {move}" for image in report.images for move in _moves(image)]
    if moves:
        lines += ["", "Tags that were elsewhere:", *moves]
    stages = "  ".join(f"{stage} {seconds:.1f}s" for stage, seconds in report.stages)
    told = [f"{report.seconds:.1f} s in all. Stages overlap: {stages or 'none'}."]
    if report.patches:
        told.append(f"The source has patches on it: {', '.join(name for name, _ in report.patches)}.")
    if report.traffic:
        told.append(_describe_traffic(report.traffic))
    lines += ["", *(part for line in told for part in screen.fold(line))]
    if installable:
        lines += [
            "",
            *screen.fold(f"The istioctl in {report.hub}/istioctl:{report.version} installs from this hub by itself:", hang=0),
            "  istioctl install",
            "Any other istioctl of this release has to be told:",
            f"  istioctl install --set hub={report.hub} --set tag={report.version}",
        ]
    return "\n".join(lines)


def _moves(image: ImageReport) -> list[str]:
    """The tags of an image that were at something else; what is new stands in the table."""
    return [f"{image.key}: {', '.join(tags)} from sha256:{before.short}" for before, tags in image.moved_from() if before]


def _describe_traffic(traffic: Traffic) -> str:
    if not traffic.uploaded and not traffic.mounted and not traffic.tags_moved:
        return "Nothing was uploaded: the hub has it all."
    return (
        f"Uploaded {counted(traffic.uploaded, 'blob')} ({format_size(traffic.bytes_sent)}), mounted {traffic.mounted}, "
        f"{traffic.present} {'was' if traffic.present == 1 else 'were'} there; moved {counted(traffic.tags_moved, 'tag')}."
    )
