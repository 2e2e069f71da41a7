"""`istio-build lock`: binds all that a plan depends on, and says what changed since it was bound before."""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from builder.cli.options import all_of, collect_given, how, lockable, where
from builder.cli.session import open_adapters
from builder.cli.themed_command import ThemedCommand
from builder.errors import LockError, RequestError

if TYPE_CHECKING:
    from builder.pipeline.locking import MadeLock

_SHOWN = 19  # `sha256:` and 12 digits


@click.command("lock", cls=ThemedCommand)
@all_of(where, lockable, how)
@click.option("--update", is_flag=True, help="Look everything up anew, or only what is named.")
@click.option("--check", is_flag=True, help="Write nothing; end with code 24 where the lock would be another.")
@click.option("--fetch", is_flag=True, help="Also fetch all that it binds, and Go modules, into the cache: for --offline.")
@click.option("--output-format", type=click.Choice(["table", "json"]), default="table", help="What is printed on stdout.")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_context
def lock_command(
    context: click.Context,
    /,
    names: tuple[str, ...],
    update: bool,
    check: bool,
    fetch: bool,
    output_format: str,
    **options: Any,  # noqa: ANN401
) -> None:
    """Bind all that a plan depends on in istio-build.lock, for --locked.

    What the lock has already, and is still asked for, is kept. With --update it is looked up anew: all of it, or NAME (a
    base, an artifact, a copied image, `go`, `source`) alone.
    """
    from builder.config.project_file import find_project
    from builder.config.settings import make_job
    from builder.pipeline.find_releases import find_one_release
    from builder.pipeline.locking import fetch_locked, make_lock

    if names and not update:
        raise RequestError(f"{names[0]}: a name is for --update", hint=f"istio-build lock --update {names[0]}")
    job = make_job(collect_given(context), find_project(options["project_file"] or ""), needs_hub=False)
    with open_adapters(job, options["progress"]) as adapters:
        made = make_lock(find_one_release(job, adapters), adapters, update=update, names=names)
        if not check and made.stale:
            made.write()
        if fetch:
            fetch_locked(made, adapters)
    click.echo(_as_json(made) if output_format == "json" else _as_text(made, written=not check))
    if check and made.stale:
        raise LockError(f"{made.path} is not what it would be now", hint="`istio-build lock`, with the same words, writes it.")


def _as_json(made: "MadeLock") -> str:
    changes = [dataclasses.asdict(change) for change in made.changes]
    return json.dumps({"lock": str(made.path), "changed": made.stale, "changes": changes}, indent=2)


def _as_text(made: "MadeLock", *, written: bool) -> str:
    lines = []
    for change in made.changes:
        values = " → ".join(_short(value) for value in (change.before, change.after) if value)
        gone = " is no longer bound" if not change.after else ""
        lines.append(f"{change.what} {values}{gone}: {change.why}")
    if made.stale:
        return "\n".join([*lines, f"{made.path}: {'written' if written else 'would be another'}"])
    return f"{made.path}: nothing changed"


def _short(value: str) -> str:
    """Of a digest or a commit, what people tell it from others by."""
    if value.startswith("sha256:"):
        return f"{value[:_SHOWN]}…"
    reference, at, digest = value.partition("@")
    if at:
        return f"{reference}@{_short(digest)}"
    return value[:12] if len(value) in (40, 64) and " " not in value else value
