"""`istio-build cache`: what lies in the cache, and what of it goes."""

import json
import os
from typing import TYPE_CHECKING, Any

import click

from builder.cli.options import output_format, project_file
from builder.cli.streams import printed_on
from builder.cli.themed_command import CommandGroup
from builder.errors import BuilderError, RequestError

if TYPE_CHECKING:
    from builder.cache.workspace import Workspace
    from builder.config.request import CacheLimits

_format = output_format("table", "json")


@click.group("cache", cls=CommandGroup, invoke_without_command=True)
@click.pass_context
def cache_command(context: click.Context) -> None:
    """Show what the cache holds, or free what of it is no longer needed; `show` where no command is named."""
    if context.invoked_subcommand is None:
        context.invoke(show)


@cache_command.command()
@click.option("--all", "everything", is_flag=True, help="Name each source, job and download, not only the largest.")
@_format
def show(everything: bool, output_format: str) -> None:
    """Show what lies in the cache: how much, for what, used when. Changes nothing."""
    from builder.cache.survey import Surveyor
    from builder.cli.cache_view import survey_json, survey_table

    place = _workspace()
    survey = Surveyor(place).survey()
    shown = place.root, _free(place), _now()
    if output_format == "json":
        click.echo(json.dumps(survey_json(survey, *shown), indent=2))
    else:
        click.echo(survey_table(survey, *shown, printed_on(), everything=everything))


@cache_command.command()
@click.option(
    "--keep", metavar="AGE", envvar="ISTIO_BUILD_CACHE_KEEP", show_envvar=True, help="Remove what was not used for this long."
)
@click.option(
    "--max-size",
    metavar="SIZE",
    envvar="ISTIO_BUILD_CACHE_MAX_SIZE",
    show_envvar=True,
    help="Remove what is more than this, such as 20GB, the longest unused first.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@project_file
@_format
def prune(project_file: str | None, dry_run: bool, output_format: str, **given: Any) -> None:  # noqa: ANN401 - click
    """Free space: by default as the project file says (cache_keep, cache_max_size). What a run at work uses stays."""
    from builder.cache.prune import prune as prune_cache
    from builder.cli.cache_view import pruned_json, pruned_text
    from builder.cli.signals import heard
    from builder.runtime.cancellation import Cancellation

    limits = _limits(given["keep"], given["max_size"], project_file or "")
    place, cancellation = _workspace(), Cancellation()
    with heard(cancellation):
        pruned = prune_cache(place, limits, cancellation.check, dry_run=dry_run)
    if output_format == "json":
        click.echo(json.dumps(pruned_json(pruned, place.root, _free(place), dry_run=dry_run), indent=2))
    else:
        click.echo(pruned_text(pruned, _now(), _free(place), printed_on(), dry_run=dry_run))
    if pruned.stuck:
        entry, reason = pruned.stuck[0]
        raise BuilderError(
            f"{len(pruned.stuck)} could not be removed, such as {place.root / entry.path}: {reason}",
            hint="Whose files are they? Whoever they belong to can remove them.",
        )


def _limits(keep: str | None, max_size: str | None, project: str) -> "CacheLimits":
    from builder.config.amounts import parse_age, parse_size
    from builder.config.project_file import find_project
    from builder.config.request import CacheLimits

    document = find_project(project)
    settings = (document.data or {}) if document else {}
    keep = keep or settings.get("cache_keep")
    max_size = max_size or settings.get("cache_max_size")
    limits = CacheLimits(
        keep=parse_age(keep, "--keep") if keep else None, max_size=parse_size(max_size, "--max-size") if max_size else None
    )
    if limits.none_given:
        raise RequestError(
            "nothing says what may go",
            hint="`istio-build cache prune --keep 30d --max-size 20GB`, or cache_keep and cache_max_size in the project file.",
        )
    return limits


def _workspace() -> "Workspace":
    from builder.cache.workspace import Workspace, find_cache

    return Workspace(find_cache(os.environ))


def _free(place: "Workspace") -> int:
    from builder.runtime.disk_space import free_bytes

    return free_bytes(place.root)


def _now() -> float:
    import time

    return time.time()
