"""Shows a run of several releases: as JSON, as buildx's metadata, in a line. Pure."""

from collections.abc import Sequence
from typing import Any

from builder.cli.report_view import report_json, report_references
from builder.pipeline.report import ReleaseOutcome, Report, RunReport
from builder.runtime.text import counted


def run_json(run: RunReport) -> dict[str, Any]:
    """All of it as JSON values."""
    return {
        "releases": [outcome_json(outcome) for outcome in run.releases],
        "changed": run.changed,
        "seconds": round(run.seconds, 3),
    }


def outcome_json(outcome: ReleaseOutcome) -> dict[str, Any]:
    """What became of one release."""
    error = outcome.error
    return {
        "release": outcome.release,
        "state": outcome.state,
        "error": {"message": error.message, "hint": error.hint, "exit_code": error.exit_code} if error else None,
        "report": report_json(outcome.report) if outcome.report else None,
    }


def metadata_json(reports: Sequence[Report]) -> dict[str, Any]:
    """What is at the hubs, by version and image, with the names that buildx gives them in its own metadata file."""
    return {
        report.version: {
            image.key: {
                "containerimage.digest": str(image.digest),
                "image.name": ",".join(str(reference) for reference in image.references),
            }
            for image in report.images
        }
        for report in reports
    }


def run_references(run: RunReport) -> str:
    """One `reference@digest` a line, of all releases that are at the hubs."""
    return "\n".join(filter(None, map(report_references, run.reports)))


def run_summary(run: RunReport) -> str:
    """The run in one line."""
    if not run.changed and not any(outcome.error for outcome in run.releases):
        return f"nothing changed: {', '.join(outcome.release for outcome in run.releases)}; {run.seconds:.1f} s"
    return f"{', '.join(f'{outcome.release} {describe(outcome)}' for outcome in run.releases)}; {run.seconds:.1f} s"


def describe(outcome: ReleaseOutcome) -> str:
    """What became of a release, in a few words."""
    if outcome.error:
        there = ", though it is at the hub" if outcome.report else ""
        return f"failed (code {outcome.error.exit_code}){there}"
    if outcome.report is None or not outcome.report.changed:
        return outcome.state
    made = sum(image.state in ("built", "mirrored") for image in outcome.report.images)
    moved = outcome.report.traffic.tags_moved if outcome.report.traffic else 0
    return f"{outcome.state} ({counted(made, 'image')} made, {counted(moved, 'tag')} moved)"
