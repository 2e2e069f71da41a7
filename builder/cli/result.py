"""How the end of a run that published, or built, is told."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from builder.cli.voice import Voice
from builder.errors import NotReadBack

if TYPE_CHECKING:
    from builder.pipeline.report import Report


def has_istioctl(report: "Report") -> bool:
    """Whether it is worth telling how to install: not where the hub that is stamped into it has failed."""
    failed = {hub.hub for hub in report.hubs if hub.state == "failed"}
    return report.hub not in failed and any(image.key.startswith("istioctl-") for image in report.images)


@contextmanager
def released(report: "Report") -> Iterator[None]:
    """For what comes after the release: whatever goes wrong with telling of it, it is at the hub."""
    told = report.failure.message if report.failure else "the release is at the hub, all tags are at it and were read back"
    try:
        yield
    except (KeyboardInterrupt, click.exceptions.Abort) as error:
        raise NotReadBack(f"interrupted while the report was printed; {told}") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotReadBack(f"the report could not be printed ({error.strerror}); {told}") from error


def print_report(context: click.Context, report: "Report", *, installable: bool) -> None:
    """For people on stderr, and for programs on stdout; then raises what hubs failed with that are not in it."""
    from builder.cli.report_view import report_json, report_references

    context.ensure_object(Voice).report(report, installable=installable)
    if context.params["output_format"] == "json":
        click.echo(json.dumps(report_json(report), indent=2))
    else:
        click.echo(report_references(report))
    if report.failure:
        raise report.failure
