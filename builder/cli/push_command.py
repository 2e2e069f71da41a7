"""The command that pushes: builds what hubs lack, or takes up what `build` wrote."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.options import collect_given, how, is_flag, no_source, output, read_job, tags, what, where, words
from builder.cli.result import has_istioctl, print_report, released
from builder.cli.session import open_adapters, waiting
from builder.config.options import OPTIONS
from builder.errors import RequestError

if TYPE_CHECKING:
    from builder.config.settings import Job
    from builder.publish.guards import Permissions


@click.command()
@where
@what
@how
@output
@click.option(
    "--from",
    "from_directories",
    metavar="DIR",
    multiple=True,
    help="Publish layouts that `build` wrote; builds nothing. Several machines' are joined. Repeatable.",
)
@click.option("--rebuild", is_flag=True, help="Build even what the hub already holds from the same inputs.")
@tags
@click.pass_context
def push(context: click.Context, /, from_directories: tuple[str, ...], rebuild: bool, **options: Any) -> None:  # noqa: ANN401
    """Build the images and push them: content first, then at each hub all tags, or none."""
    started = time.monotonic()
    if from_directories:
        _push_from(context, tuple(map(Path, from_directories)), started)
        return
    from builder.pipeline.prepare import build_context, choose_engine, resolve_job
    from builder.pipeline.run import push_plan

    job = read_job(context)
    with open_adapters(job, options["progress"], pushes=True) as adapters:
        resolved = resolve_job(job, adapters)
        engine = choose_engine(job, resolved, adapters)
        with adapters.workspace.job(resolved.tree, resolved.plan.hub, waiting(adapters), adapters.pause) as work:
            report = push_plan(
                resolved.plan,
                work / "layouts",
                build_context(resolved, work, engine, adapters, whole=False, fail_fast=options["fail_fast"]),
                adapters.publish_context(_permissions(context, job)),
                rebuild=rebuild or resolved.always_build,
                started=started,
            )
    with released(report):
        print_report(context, report, installable=has_istioctl(report))


def _push_from(context: click.Context, directories: tuple[Path, ...], started: float) -> None:
    from builder.config.project_file import find_project
    from builder.config.settings import make_job
    from builder.pipeline.run import publish_release
    from builder.publish.release_directory import ReleasePart
    from builder.publish.release_parts import read_release

    used = ("hub", "tag", "insecure_registry", "image", "variant", "platform", "timeout", "no_clobber", "immutable")
    unused = [name for name in (*(option.name for option in OPTIONS), "rebuild") if name not in used and is_flag(context, name)]

    if unused:
        raise RequestError(f"--from builds nothing, so --{unused[0].replace('_', '-')} cannot be used with it")
    # The layouts say where they were meant to go, so the project file is asked only for how registries are spoken to.
    given = collect_given(context)
    job = make_job({**given, **no_source()}, find_project(context.params["project_file"] or ""), needs_hub=False)
    # It speaks to hubs alone anyway, and which they are stands in the layouts.
    job = dataclasses.replace(job, offline=False)
    hubs = job.request.hubs if "hub" in given else ()
    tags = job.request.tags if "tag" in given else ()
    platforms = tuple(map(str, job.request.platforms)) if "platform" in given else ()
    part = ReleasePart(images=words(given, "image"), variants=words(given, "variant"), platforms=platforms)
    with open_adapters(job, context.params["progress"]) as adapters:
        with adapters.progress.task("check", ", ".join(map(str, directories))):
            release = read_release(directories, hubs, tags, adapters.layer_cache, part)
        for note in release.notes:
            adapters.progress.note(note)
        if hubs and str(hubs[0]) != release.hub:
            adapters.progress.warn(
                f"these programs are stamped for {release.hub}, so their istioctl installs from there; "
                f"use `istioctl install --set hub={hubs[0]}`, or build with --hub {hubs[0]}."
            )
        states = {publication.key: "given" for publication in release.publications}
        publishing = adapters.publish_context(_permissions(context, job))
        publishing = dataclasses.replace(publishing, fail_fast=context.params["fail_fast"])
        report = publish_release(release, states, publishing, started)
    with released(report):
        print_report(context, report, installable=has_istioctl(report))


def _permissions(context: click.Context, job: "Job") -> "Permissions":
    from builder.publish.guards import Permissions

    replace, merge = context.params["replace"], context.params["merge_platforms"]
    return Permissions(replace=replace, merge_platforms=merge, no_clobber=job.no_clobber, immutable=job.immutable)
