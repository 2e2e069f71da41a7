"""The command for a job that runs every night: all releases of the project file, and as little noise as work."""

import json
import time
from typing import TYPE_CHECKING, Any, get_args

import click

from builder.cli.options import cache, fail_fast, how, output_format, outputs, pushing, read_job, tags, what, where
from builder.cli.releases_run import push_all
from builder.cli.result import released
from builder.cli.themed_command import ThemedCommand
from builder.cli.voice import Voice

if TYPE_CHECKING:
    from builder.pipeline.report import RunReport

# Those of `pipeline.nightly.Verified`, which is imported late.
_VERIFIED = ("changed", "all", "none")


_EXAMPLES = (
    ("istio-build nightly --quiet", "all that ./istio-build.yaml asks for; says nothing where nothing changed"),
    ("istio-build nightly --changed-exit-code 10", "for a job that deploys what is new"),
    ("istio-build nightly --verify all --deep", "read all that is at the hub whole, once a week"),
)


@click.command(cls=ThemedCommand, examples=_EXAMPLES)
@where
@what
@how
@tags
@pushing
@fail_fast
@cache
@outputs
@click.option(
    "--verify",
    "which",
    type=click.Choice(_VERIFIED),
    default="changed",
    show_default=True,
    help="Which releases are looked at as a puller does, once they are at the hub.",
)
@click.option("--deep", is_flag=True, help="Of what is verified read every layer whole, also those that are known.")
@click.option("--run", is_flag=True, help="Of what is verified start each image's program, too. Runs what is in the images.")
@click.option("--quiet", is_flag=True, help="Say nothing where nothing changed; else one line on stdout. Errors are told.")
@click.option(
    "--changed-exit-code",
    metavar="N",
    type=click.IntRange(0, 125),
    default=0,
    show_default=True,
    help="End with this code where all went well and something changed.",
)
@output_format("summary", "json", meaning="What is printed on stdout at the end: one line, or all of it.")
@click.pass_context
def nightly(
    context: click.Context,
    /,
    which: str,
    deep: bool,
    run: bool,
    quiet: bool,
    changed_exit_code: int,
    **options: Any,  # noqa: ANN401
) -> None:
    """For each release of the project file: build what changed, push it, verify it, move the moving tags.

    Where nothing changed nothing is compiled, and nothing sent.
    """
    started = time.monotonic()
    from builder.pipeline.nightly import NightlyCheck, Verified

    assert get_args(Verified) == _VERIFIED
    if quiet and context.get_parameter_source("progress") is not click.core.ParameterSource.COMMANDLINE:
        context.params["progress"] = "quiet"
    check = NightlyCheck(which="all" if which == "all" else "none" if which == "none" else "changed", deep=deep, run=run)
    report, failure = push_all(context, read_job(context), started, check=check, several=True)
    with released():
        _print(context, report, quiet=quiet, failed=failure is not None)
    if failure:
        raise failure
    if report.changed:
        context.exit(changed_exit_code)


def _print(context: click.Context, report: "RunReport", *, quiet: bool, failed: bool) -> None:
    from builder.cli.run_view import run_json, run_summary

    voice = context.ensure_object(Voice)
    if voice.json and not failed:
        voice.run(report)
    if quiet and not report.changed and not failed:
        return
    as_json = context.params["output_format"] == "json"
    click.echo(json.dumps(run_json(report), indent=2) if as_json else run_summary(report))
