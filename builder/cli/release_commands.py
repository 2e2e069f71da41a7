"""The commands for releases that are at a hub already: what it remembers of them, going back, promoting, letting old ones go."""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from builder.cli.options import (
    Command,
    all_of,
    collect_given,
    how,
    no_source,
    output_format,
    output_of_run,
    outputs,
    project_file,
    setting,
    setting_for,
)
from builder.cli.recording import recorded
from builder.cli.result import print_report, released
from builder.cli.session import open_adapters
from builder.cli.streams import find_screen, printed_on
from builder.config.options import find_option
from builder.config.outputs import NOTHING_MORE
from builder.errors import RequestError

if TYPE_CHECKING:
    from builder.config.settings import Job


def _settings(**meanings: str) -> Callable[[Command], Command]:
    more = (setting(find_option("recipes")), setting(find_option("insecure_registry")), project_file)
    return all_of(*(setting_for(name, meaning) for name, meaning in meanings.items()), *more, how)


_replace = click.option("--replace", is_flag=True, help="Let tags lose platforms that they have there and this release lacks.")


@click.command()
@_settings(
    hub="A hub to ask, such as docker.io/me.",
    image="An image or group (core, mesh, test, bases, all); by default all that recipes know, and what was released with them.",
    tag="Only releases that set this tag.",
)
@output_format("table", "json")
@click.pass_context
def history(context: click.Context, /, output_format: str, **options: Any) -> None:  # noqa: ANN401 - click
    """Show the releases that a hub remembers: when, by what, of which source, which digests, where its tags are now."""
    from builder.cli.history_view import history_json, history_table
    from builder.pipeline.history import image_names, read_past, read_timeline

    # What the project file says is for what will be pushed, and may have placeholders.
    job = _job(context, needs_tag=False, reads_tag="tag" in collect_given(context))
    with open_adapters(job, options["progress"]) as adapters:
        names, only = image_names(job)
        past = read_past(read_timeline(job.request.hubs, names, adapters, only=only), adapters)
        for note in past.timeline.notes:
            adapters.progress.warn(f"{note}.")
    tags, as_json = job.request.tags, output_format == "json"
    click.echo(json.dumps(history_json(past, tags), indent=2) if as_json else history_table(past, tags, printed_on()))


@click.command()
@_settings(
    hub="The hub, such as docker.io/me.",
    tag="The tag that goes back, with those that have a variant behind it.",
    image="An image or group (core, mesh, test, bases, all); by default all that the release had.",
)
@click.option(
    "--to", metavar="RELEASE", default="", help="A release's id, or the digest of one of its images; else the one before."
)
@click.option("--dry-run", is_flag=True, help="Show which tags would go where, and move none.")
@_replace
@output_of_run
@outputs
@click.pass_context
def rollback(context: click.Context, /, to: str, dry_run: bool, replace: bool, **options: Any) -> None:  # noqa: ANN401 - click
    """Have tags point at the release before again, at each hub all of them or none. Builds and sends nothing."""
    started = time.monotonic()
    from builder.cli.history_view import rollback_json, rollback_table
    from builder.pipeline.history import plan_rollback, roll_back

    job = _job(context, needs_tag=True)
    # What is only shown is no run.
    job = dataclasses.replace(job, outputs=NOTHING_MORE) if dry_run else job
    with recorded(context, job) as recording, open_adapters(job, options["progress"], recording=recording) as adapters:
        planned = plan_rollback(job, to, adapters)
        if dry_run:
            as_json = options["output_format"] == "json"
            click.echo(json.dumps(rollback_json(planned.way), indent=2) if as_json else rollback_table(planned.way, printed_on()))
            return
        for line in rollback_table(planned.way, find_screen(sys.stderr, os.environ)).splitlines():
            adapters.progress.note(line)
        report = roll_back(planned, adapters, started, replace=replace)
        recording.achieved(report)
    with released(report):
        print_report(context, report, installable=False)


@click.command()
# Not `source`: what has the name of a setting is taken for what that one was given.
@click.option(
    "--from", "held", metavar="HUB[:TAG]", required=True, help="Where the release is; without TAG it has the first --tag."
)
@_settings(
    hub="Where it goes; by default to another tag of its own hub. Its programs keep the hub that they were built for.",
    tag="The tag that it gets; by default the one that it has.",
    istio="Which release of Istio it is, where neither its tag nor the hub says so.",
    image="An image or group (core, mesh, test, bases, all); by default all that the release has.",
    variant="A variant: debug, distroless; all by default.",
    platform="A platform that has to be there; linux/amd64 and linux/arm64 by default. All that there are go.",
)
@_replace
@output_of_run
@outputs
@click.pass_context
def promote(context: click.Context, /, held: str, replace: bool, **options: Any) -> None:  # noqa: ANN401 - click
    """Verify a release at one hub as a puller does, and have it at other hubs or tags, the same to the digest."""
    started = time.monotonic()
    from builder.pipeline.promote import parse_source, promote_release

    job = _job(context, needs_hub=False, needs_tag=False)
    where, destination = parse_source(held, job)
    with (
        recorded(context, job, destination.hubs) as recording,
        open_adapters(job, options["progress"], recording=recording) as adapters,
    ):
        report = promote_release(job, where, destination, adapters, started, replace=replace)
        recording.achieved(report)
    with released(report):
        print_report(context, report, installable=False)


@click.command()
@_settings(
    hub="The hub, such as docker.io/me.",
    image="An image or group (core, mesh, test, bases, all); by default all that recipes know, and what was released with them.",
    retain_tags=find_option("retain_tags").help,
    retain=find_option("retain").help,
    immutable="Leave tags that this pattern is for, such as '1.*', as a push does.",
)
@click.option("--also-foreign", is_flag=True, help="Also tags of images that istio-build has not made, such as mirrored ones.")
@click.option("--yes", is_flag=True, help="Take the tags away; else it is only shown which would go.")
@output_format("table", "json")
@click.pass_context
def retain(
    context: click.Context,
    /,
    also_foreign: bool,
    yes: bool,
    output_format: str,
    **options: Any,  # noqa: ANN401 - click
) -> None:
    """Show which old tags go by the rule of the project file, and with --yes take them away. Deletes tags, never images."""
    from builder.cli.retain_view import retain_json, retain_table
    from builder.pipeline.retain import plan_retention
    from builder.pipeline.retain import retain as take_away

    job = _job(context, needs_tag=False, reads_tag=False)
    with open_adapters(job, options["progress"]) as adapters:
        retained = plan_retention(job, adapters, also_foreign=also_foreign)
        for note in retained.notes:
            adapters.progress.warn(f"{note}.")
        if yes:
            retained = take_away(retained, adapters)
    if output_format == "json":
        click.echo(json.dumps(retain_json(retained, done=yes), indent=2))
    else:
        click.echo(retain_table(retained, printed_on(), done=yes))


def _job(context: click.Context, *, needs_tag: bool, needs_hub: bool = True, reads_tag: bool = True) -> "Job":
    """Nothing is built, so no source is needed; what `tag:` says in the project file matters to some only."""
    from builder.config.merged import Given
    from builder.config.project_file import find_project
    from builder.config.settings import make_job
    from builder.config.tag_template import is_template

    given, project = collect_given(context), find_project(context.params["project_file"] or "")
    if not reads_tag:
        given["tag"] = Given(words=(), origin="no tag")
    job = make_job(given if "istio" in given else {**given, **no_source()}, project, needs_hub=needs_hub)
    if job.source.wishes:
        raise RequestError("--istio is one release here, and no rule", hint="Name it exactly: --istio 1.29.0.")
    templates = [tag for tag in job.request.tags if is_template(tag)]
    if templates:
        raise RequestError(f"the tag {templates[0]} is of no release that is there yet", hint="Write it out: --tag 1.29.0.")
    if needs_tag and not job.request.tags:
        raise RequestError("which tag is meant?", hint="Give it as --tag 1.29.0.")
    return job
