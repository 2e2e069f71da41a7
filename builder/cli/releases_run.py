"""How commands push the releases of a job, and tell of it: of several, each as it ends, and all at the end."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from builder.cli.recording import recorded
from builder.cli.result import has_istioctl, print_report, released
from builder.cli.session import open_adapters, waiting
from builder.cli.voice import Voice

if TYPE_CHECKING:
    from builder.config.settings import Job
    from builder.errors import BuilderError
    from builder.pipeline.push import Pushed
    from builder.pipeline.report import ReleaseOutcome, RunReport
    from builder.pipeline.wiring import Adapters
    from builder.publish.guards import Permissions

    # What became of the releases, and the error that the run is to end with, once all is told.
    Ended = tuple[RunReport, BuilderError | None]

Check = Callable[["Job", "Pushed", "Adapters"], None]


def _nothing(*_: object) -> None:
    """For a push, which needs no more than it does."""


def push_all(context: click.Context, job: "Job", started: float, *, check: Check = _nothing, several: bool) -> "Ended":
    """Push every release of the job as the command's options say; `several`: each is told when it has ended."""
    from builder.cli.metadata_file import MetadataFile
    from builder.pipeline.cache_care import keep_limits
    from builder.pipeline.push import PushWishes
    from builder.pipeline.releases import ReleaseRun, failure_of, push_releases

    options, voice = context.params, context.ensure_object(Voice)
    metadata = MetadataFile(options["metadata_file"])

    def tell(outcomes: "Sequence[ReleaseOutcome]") -> None:
        recording.concluded(outcomes[-1])
        with released():
            metadata.write([outcome.report for outcome in outcomes if outcome.report])
            if several:
                voice.release(outcomes[-1])

    with (
        recorded(context, job) as recording,
        open_adapters(job, options["progress"], pushes=True, recording=recording) as adapters,
    ):
        wishes = PushWishes(
            permissions=permissions(context, job),
            rebuild=options["rebuild"],
            fail_fast=options["fail_fast"],
            on_wait=waiting(adapters),
            on_planned=recording.planned,
        )
        report = push_releases(job, adapters, ReleaseRun(wishes=wishes, check=check, tell=tell), started)
        failure = failure_of(report, may_be_several=several)
        recording.ended(failure)
        keep_limits(job, adapters)
        return report, failure


def print_pushed(context: click.Context, ended: "Ended", *, several: bool) -> None:
    """For people on stderr, and for programs on stdout: what is at the hubs. Raises the error of what failed."""
    run, failure = ended
    if several:
        with released():
            _print_run(context, run, failed=failure is not None)
    elif run.reports and failure in (None, run.reports[0].failure):
        with released(run.reports[0]):
            # Where hubs failed that are not in it, it raises their error.
            print_report(context, run.reports[0], installable=has_istioctl(run.reports[0]))
    if failure:
        raise failure


def _print_run(context: click.Context, run: "RunReport", *, failed: bool) -> None:
    from builder.cli.run_view import run_json, run_references

    if not failed:
        context.ensure_object(Voice).run(run)
    if context.params["output_format"] == "json":
        click.echo(json.dumps(run_json(run), indent=2))
    elif run.reports:
        click.echo(run_references(run))


def permissions(context: click.Context, job: "Job") -> "Permissions":
    """What a push may do to tags, as its flags and the job say."""
    from builder.publish.guards import Permissions

    replace, merge = context.params["replace"], context.params["merge_platforms"]
    return Permissions(replace=replace, merge_platforms=merge, no_clobber=job.no_clobber, immutable=job.immutable)
