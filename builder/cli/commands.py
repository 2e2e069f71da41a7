"""The command line: parses, hands over, prints. Modules that take long to import are imported where they are needed.

Stdout is for machines (references, JSON, what `plan` shows), stderr for people.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder import __version__
from builder.cli.cache_command import cache_command
from builder.cli.completion_command import completion
from builder.cli.doctor_command import doctor
from builder.cli.explain_command import explain
from builder.cli.init_command import init
from builder.cli.lock_command import lock_command
from builder.cli.nightly_command import nightly
from builder.cli.options import (
    go,
    how,
    only_shard,
    output,
    outputs,
    read_job,
    setting,
    setting_for,
    source,
    what,
    where,
)
from builder.cli.push_command import push
from builder.cli.recording import recorded
from builder.cli.release_commands import history, promote, retain, rollback
from builder.cli.result import print_report
from builder.cli.schedule_command import schedule
from builder.cli.session import open_adapters, waiting
from builder.cli.themed_command import ThemedCommand
from builder.cli.verify_command import verify
from builder.config.options import find_option
from builder.errors import RequestError

if TYPE_CHECKING:
    from builder.config.settings import Job
    from builder.pipeline.comparison import Comparison
    from builder.pipeline.prepare import Resolved
    from builder.pipeline.report import Report
    from builder.pipeline.wiring import Adapters
    from builder.plan.model import Plan


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="istio-build")
def cli() -> None:
    """Rebuild Istio's images for your own registry: linux/amd64 and linux/arm64, checked, pushed as one release."""


cli.add_command(push)
cli.add_command(nightly)


@cli.command(
    cls=ThemedCommand,
    examples=(
        ("istio-build build --hub docker.io/me --istio 1.29.0", "OCI layouts of a release, in ./istio-images"),
        ("istio-build build --hub docker.io/me --source ../istio --load linux/amd64", "try a checkout in the local engine"),
        ("istio-build build --hub docker.io/me --istio 1.29.0 --shard 1/2 --output part-1", "the first of two machines"),
    ),
)
@where
@what
@how
@output
@click.option("--output", metavar="DIR", default="istio-images", show_default=True, help="Where the layouts go.")
@click.option("--load", metavar="OS/ARCH", help="Also load this platform's images into the local engine.")
@only_shard
@outputs
@click.pass_context
def build(context: click.Context, /, output: str, load: str | None, shard: str | None, **options: Any) -> None:  # noqa: ANN401 - click
    """Build the images into OCI image layouts and stop there; `push --from` takes them up."""
    started = time.monotonic()
    from builder.oci.reference import Platform
    from builder.pipeline.cache_care import warn_of_little_room
    from builder.pipeline.find_releases import find_one_release
    from builder.pipeline.prepare import build_context, choose_engine, resolve_job
    from builder.pipeline.run import build_plan

    if load and shard:
        raise RequestError("--load cannot be used with --shard", hint="Choose what is loaded with --image and --platform.")
    cut = _parse_shard(shard)
    job = read_job(context)
    load_platform = Platform.parse(load) if load else None
    if load_platform and load_platform not in job.request.platforms:
        raise RequestError(f"--load {load}: that platform is not built", hint="Add it with --platform.")
    with recorded(context, job) as recording, open_adapters(job, options["progress"], recording=recording) as adapters:
        job = find_one_release(job, adapters)
        resolved = resolve_job(job, adapters)
        resolved = dataclasses.replace(resolved, plan=_part_of(resolved.plan, *cut))
        recording.planned(resolved.plan)
        engine = choose_engine(job, resolved, adapters, loads=load_platform is not None)
        warn_of_little_room(resolved.tree, resolved.plan, adapters)
        with adapters.workspace.job(resolved.origin, resolved.plan.hub, waiting(adapters), adapters.pause) as work:
            report = build_plan(
                resolved.plan,
                Path(output),
                build_context(resolved, work, engine, adapters, whole=True, fail_fast=options["fail_fast"]),
                started=started,
            )
            if load_platform:
                _load(adapters, report, load_platform)
        recording.achieved(report)
    print_report(context, report, installable=False)


@cli.command(
    cls=ThemedCommand,
    examples=(
        ("istio-build plan --hub docker.io/me --istio 1.29.0", "what a push would do"),
        ("istio-build plan --hub docker.io/me --istio 1.29.0 --against-hub", "what of it the hub has already"),
        ("istio-build plan --hub docker.io/me --istio 1.29.0 --format dockerfiles", "the Dockerfiles"),
    ),
)
@where
@what
@how
@click.option(
    "--format",
    "view",
    type=click.Choice(["table", "json", "dockerfiles", "bake", "matrix"]),
    default="table",
    show_default=True,
    help="What is shown; matrix: the shards, as JSON for a CI system.",
)
@click.option(
    "--shards", metavar="N", type=click.IntRange(min=1), help="Of how many shards the matrix is; one a platform by default."
)
@click.option(
    "--against-hub",
    is_flag=True,
    help="Also ask the hubs: which images are unchanged there, why others would be made, which tags would move.",
)
@only_shard
@click.pass_context
def plan(context: click.Context, /, view: str, shards: int | None, shard: str | None, **options: Any) -> None:  # noqa: ANN401 - click
    """Show everything that a push would do, and where each setting comes from; does nothing."""
    from builder.cli.comparison_view import comparison_json
    from builder.cli.plan_view import plan_bake, plan_dockerfiles, plan_json, plan_matrix
    from builder.pipeline.find_releases import find_one_release, find_releases
    from builder.pipeline.moving_tags import share_tags
    from builder.pipeline.prepare import resolve_job

    _check_view(view, shards, shard, against_hub=options["against_hub"])
    cut = _parse_shard(shard)
    job = read_job(context)
    with open_adapters(job, options["progress"], pushes=options["against_hub"]) as adapters:
        # People can read one plan after the other; programs expect one.
        jobs = find_releases(job, adapters) if view == "table" else (find_one_release(job, adapters),)
        found = [resolve_job(each, adapters) for each in share_tags(jobs)]
        compared = [_compare(each, job, adapters) if options["against_hub"] else None for each in found]
    plans = [_part_of(each.plan, *cut) for each in found]
    decided = plans[0]
    show = {
        "table": lambda: "\n\n".join(_told(*pair, job) for pair in zip(plans, compared, strict=True)),
        "json": lambda: plan_json(decided, job.settings, comparison_json(compared[0]) if compared[0] else None),
        "dockerfiles": lambda: plan_dockerfiles(decided),
        "bake": lambda: plan_bake(decided),
        "matrix": lambda: plan_matrix(decided, shards or (len(decided.platforms) if decided.images else 1)),
    }
    click.echo(show[view]())


@cli.command(cls=ThemedCommand)
@setting(dataclasses.replace(find_option("hub"), help="The hub that these programs install from, such as docker.io/me."))
@setting(dataclasses.replace(find_option("tag"), help="The version; by default that of the source."))
@source
@go
@how
@click.option("--target", multiple=True, metavar="NAME", help="A target, such as osx-arm64; all by default. Repeatable.")
@click.option("--output", metavar="DIR", default="istio-archives", show_default=True, help="Where the archives go.")
@click.option("--output-format", type=click.Choice(["paths", "json"]), default="paths", help="What is printed on stdout.")
@click.pass_context
def archives(context: click.Context, /, target: tuple[str, ...], output: str, **options: Any) -> None:  # noqa: ANN401
    """Write istioctl for people's machines: an archive for each system and architecture, with its sha256 beside it."""
    from builder.pipeline.find_releases import find_one_release
    from builder.pipeline.prepare import make_archives, resolve_archives

    job = read_job(context)
    with open_adapters(job, options["progress"]) as adapters:
        resolved = resolve_archives(find_one_release(job, adapters), target, adapters)
        plan = resolved.plan
        with adapters.workspace.job(resolved.origin, plan.hub, waiting(adapters), adapters.pause) as work:
            written = make_archives(resolved, Path(output), work, adapters)
    if options["output_format"] == "json":
        rows = [{"path": str(entry.path), "sha256": entry.sha256, "size": entry.size} for entry in written]
        click.echo(json.dumps({"version": plan.version, "hub": plan.hub, "go": plan.go_version, "archives": rows}, indent=2))
    else:
        click.echo("\n".join(str(entry.path) for entry in written))


@cli.command("list")
@setting_for("istio", "Only what this release has: 1.29.0, or 1.29.")
@setting(find_option("recipes"))
@click.option("--output-format", type=click.Choice(["table", "json"]), default="table", help="What is printed on stdout.")
def list_images(istio: str | None, recipes: tuple[str, ...], output_format: str) -> None:
    """List the images, the releases of Istio that have them, and what can be built on which platform."""
    from builder.cli.availability_view import support_json, support_table
    from builder.recipe.availability import find_support, support_at
    from builder.recipe.istio_release import IstioRelease
    from builder.recipe.loader import load_recipes

    book = load_recipes(tuple(Path(directory) for directory in recipes))
    release = IstioRelease.parse(istio) or IstioRelease.of_line(istio) if istio else None
    if istio and not release:
        raise RequestError(
            f"--istio {istio}: that is no version of Istio", hint="Write it as 1.29.0, or 1.29 for its newest patch."
        )
    support = support_at(book.at(release)) if release else find_support(book)
    click.echo(json.dumps(support_json(support), indent=2) if output_format == "json" else support_table(support))
    if output_format == "table":
        click.echo(f"\n{book.note(release)}", err=True)


for command in (verify, history, rollback, promote, retain):
    cli.add_command(command)


@cli.command()
@click.option("--project", is_flag=True, help="The schema of istio-build.yaml instead.")
def schema(project: bool) -> None:
    """Print the JSON Schema of recipes, for editors."""
    from builder.config.project_file import ProjectFile
    from builder.recipe.schema import json_schema

    click.echo(json.dumps(ProjectFile.model_json_schema() if project else json_schema(), indent=2))


cli.add_command(lock_command)
cli.add_command(cache_command)
cli.add_command(doctor)
cli.add_command(explain)
cli.add_command(schedule)
cli.add_command(init)
cli.add_command(completion)


def _check_view(view: str, shards: int | None, shard: str | None, *, against_hub: bool) -> None:
    """What cannot be shown of a plan."""
    if shards and view != "matrix":
        raise RequestError("--shards is for --format matrix", hint="Another view of one shard is --shard K/N.")
    if shard and view == "matrix":
        raise RequestError(
            "a matrix is of all shards: --shard cannot be used with it", hint="Leave it out, or unset ISTIO_BUILD_SHARD."
        )
    if against_hub and view not in ("table", "json"):
        raise RequestError(f"--format {view} has no place for what hubs hold", hint="--against-hub is for table and json.")
    if against_hub and shard:
        raise RequestError(
            "--against-hub is of a whole push: --shard cannot be used with it", hint="Unset ISTIO_BUILD_SHARD, too."
        )


def _told(plan: "Plan", compared: "Comparison | None", job: "Job") -> str:
    from builder.cli.comparison_view import comparison_table
    from builder.cli.plan_view import plan_table

    return plan_table(plan, job.settings) + (f"\n\n{comparison_table(compared)}" if compared else "")


def _compare(resolved: "Resolved", job: "Job", adapters: "Adapters") -> "Comparison":
    from builder.pipeline.comparison import compare_with_hubs
    from builder.publish.guards import Permissions

    permissions = Permissions(no_clobber=job.no_clobber, immutable=job.immutable)
    return compare_with_hubs(resolved.plan, adapters.registry, adapters.progress, permissions, rebuild=resolved.always_build)


def _parse_shard(shard: str | None) -> tuple[int, int]:
    from builder.plan.shards import parse_shard

    return parse_shard(shard) if shard is not None else (0, 0)


def _part_of(plan: "Plan", number: int, count: int) -> "Plan":
    from builder.plan.shards import take_shard

    return take_shard(plan, number, count) if count else plan


def _load(adapters: "Adapters", report: "Report", platform: Any) -> None:  # noqa: ANN401 - Platform, imported late
    from builder.oci.layout import Layout

    for image in report.images:
        layout = Layout(Path(image.layout))
        child = layout.index().child_for(platform)
        assert child, "this platform has been built"
        with adapters.progress.task("load", f"{image.key} {platform}"):
            adapters.docker.load(layout, child, image.references)
