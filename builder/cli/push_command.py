"""The command that pushes: builds what hubs lack, or takes up what `build` wrote."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.options import (
    cache,
    collect_given,
    how,
    is_flag,
    no_source,
    output,
    outputs,
    pushing,
    read_job,
    tags,
    what,
    where,
    words,
)
from builder.cli.recording import recorded
from builder.cli.releases_run import permissions, print_pushed, push_all
from builder.cli.result import has_istioctl, print_report, released
from builder.cli.session import open_adapters
from builder.cli.themed_command import ThemedCommand
from builder.config.options import OPTIONS, OUTPUTS, find_option
from builder.errors import RequestError

if TYPE_CHECKING:
    from builder.oci.reference import Hub
    from builder.publish.publication import Release
    from builder.runtime.progress import Progress

_EXAMPLES = (
    ("istio-build push --hub docker.io/me --istio 1.29.0", "a release, for both platforms"),
    ("istio-build push --hub docker.io/me --source ../istio --image pilot --tag test", "one image of a checkout"),
    ("istio-build push --from istio-images", "what `istio-build build` wrote, to the hub that it is for"),
)


@click.command(cls=ThemedCommand, examples=_EXAMPLES)
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
@cache
@tags
@pushing
@outputs
@click.pass_context
def push(context: click.Context, /, from_directories: tuple[str, ...], **_: Any) -> None:  # noqa: ANN401
    """Build the images and push them: content first, then at each hub all tags, or none. Several releases one after the other."""
    started = time.monotonic()
    if from_directories:
        _push_from(context, tuple(map(Path, from_directories)), started)
        return
    job = read_job(context)
    several = job.source.may_be_several
    print_pushed(context, push_all(context, job, started, several=several), several=several)


def _push_from(context: click.Context, directories: tuple[Path, ...], started: float) -> None:
    from builder.cli.metadata_file import MetadataFile
    from builder.config.project_file import find_project
    from builder.config.settings import make_job
    from builder.pipeline.cache_care import keep_limits
    from builder.pipeline.counted_tags import number_release
    from builder.pipeline.run import publish_release
    from builder.publish.release_directory import ReleasePart
    from builder.publish.release_parts import read_release

    _refuse_building(context)
    # The layouts say where they were meant to go, so the project file is asked only for how registries are spoken to.
    given = collect_given(context)
    job = make_job({**given, **no_source()}, find_project(context.params["project_file"] or ""), needs_hub=False)
    # It speaks to hubs alone anyway, and which they are stands in the layouts.
    job = dataclasses.replace(job, offline=False)
    hubs = job.request.hubs if "hub" in given else ()
    tags = _filled_in(job.request.tags) if "tag" in given else ()
    platforms = tuple(map(str, job.request.platforms)) if "platform" in given else ()
    metadata = MetadataFile(context.params["metadata_file"])
    part = ReleasePart(images=words(given, "image"), variants=words(given, "variant"), platforms=platforms)
    with recorded(context, job) as recording, open_adapters(job, context.params["progress"], recording=recording) as adapters:
        with adapters.progress.task("check", ", ".join(map(str, directories))):
            release = read_release(directories, hubs, tags, adapters.layer_cache, part)
        _tell(release, hubs, adapters.progress)
        allowed = permissions(context, job)
        release, numbered = number_release(release, tags, adapters, allowed)
        states = {publication.key: "given" for publication in release.publications}
        publishing = adapters.publish_context(dataclasses.replace(allowed, counted=numbered.tags))
        publishing = dataclasses.replace(publishing, fail_fast=context.params["fail_fast"], lost=numbered.lost)
        report = publish_release(release, states, publishing, started)
        recording.achieved(report)
        keep_limits(job, adapters)
    with released(report):
        metadata.write((report,))
        print_report(context, report, installable=has_istioctl(report))


def _tell(release: "Release", hubs: "tuple[Hub, ...]", progress: "Progress") -> None:
    """What of layouts people should know; `hubs` are those that they go to instead of their own."""
    for note in release.notes:
        progress.note(note)
    if hubs and str(hubs[0]) != release.hub:
        progress.warn(
            f"these programs are stamped for {release.hub}, so their istioctl installs from there; "
            f"use `istioctl install --set hub={hubs[0]}`, or build with --hub {hubs[0]}."
        )


def _refuse_building(context: click.Context) -> None:
    """Raises RequestError for a flag that has no meaning where nothing is built."""
    used = {"hub", "tag", "insecure_registry", "image", "variant", "platform", "timeout", "no_clobber", "immutable"}
    used |= {"cache_keep", "cache_max_size", *(option.name for option in OUTPUTS)}
    unused = [name for name in (*(option.name for option in OPTIONS), "rebuild") if name not in used and is_flag(context, name)]
    if unused:
        flag = "--rebuild" if unused[0] == "rebuild" else find_option(unused[0]).flag
        raise RequestError(f"--from builds nothing, so {flag} cannot be used with it")


def _filled_in(tags: tuple[str, ...]) -> tuple[str, ...]:
    from builder.config.counted_tag import COUNT
    from builder.config.tag_template import fill_in

    try:
        return tuple(fill_in(tag, {"n": COUNT}) for tag in tags)
    except RequestError as error:
        raise RequestError(
            "the source of layouts is not known, so a --tag for them has no placeholders but {{ n }}", hint="Write it out."
        ) from error
