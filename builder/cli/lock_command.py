"""`istio-build lock`: binds all that a plan depends on, and says what changed since it was bound before."""

import json
from typing import Any

import click

from builder.cli.options import all_of, collect_given, how, lockable, output_format, where
from builder.cli.session import open_adapters
from builder.cli.streams import printed_on
from builder.cli.themed_command import ThemedCommand
from builder.errors import LockError, RequestError


@click.command("lock", cls=ThemedCommand)
@all_of(where, lockable, how)
@click.option("--update", is_flag=True, help="Look everything up anew, or only what is named.")
@click.option("--check", is_flag=True, help="Write nothing; end with code 24 where the lock would be another.")
@click.option("--fetch", is_flag=True, help="Also fetch all that it binds, and Go modules, into the cache: for --offline.")
@output_format("table", "json")
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
    from builder.cli.lock_view import lock_json, lock_text
    from builder.config.project_file import find_project
    from builder.config.settings import make_job
    from builder.pipeline.find_releases import find_one_release
    from builder.pipeline.locking import fetch_locked, make_lock

    if names and not update:
        raise RequestError(f"{names[0]}: a name is for --update", hint=f"`istio-build lock --update {names[0]}`")
    job = make_job(collect_given(context), find_project(options["project_file"] or ""), needs_hub=False)
    with open_adapters(job, options["progress"]) as adapters:
        made = make_lock(find_one_release(job, adapters), adapters, update=update, names=names)
        if not check and made.stale:
            made.write()
        if fetch:
            fetch_locked(made, adapters)
    as_json = output_format == "json"
    click.echo(json.dumps(lock_json(made), indent=2) if as_json else lock_text(made, printed_on(), written=not check))
    if check and made.stale:
        raise LockError(f"{made.path} is not what it would be now", hint="`istio-build lock`, with the same words, writes it.")
