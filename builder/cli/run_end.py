"""How a command that makes a release begins and ends: its job from the command line, its report on stdout and stderr."""

import json
from typing import TYPE_CHECKING

import click

from builder.cli.options import collect_given
from builder.cli.voice import Voice

if TYPE_CHECKING:
    from builder.config.settings import Job
    from builder.pipeline.report import Report


def read_job(context: click.Context) -> "Job":
    """What stands on the command line, in the environment and in the project file, as one job."""
    from builder.config.project_file import find_project
    from builder.config.settings import make_job

    return make_job(collect_given(context), find_project(context.params["project_file"] or ""))


def print_report(context: click.Context, report: "Report", *, installable: bool) -> None:
    """Tell people on stderr, and programs on stdout, what a run achieved."""
    from builder.cli.report_view import report_json, report_references

    context.ensure_object(Voice).report(report, installable=installable)
    if context.params["output_format"] == "json":
        click.echo(json.dumps(report_json(report), indent=2))
    else:
        click.echo(report_references(report))


def has_istioctl(report: "Report") -> bool:
    """Whether there is an istioctl among its images."""
    return any(image.key.startswith("istioctl-") for image in report.images)
