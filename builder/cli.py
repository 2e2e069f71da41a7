"""The command line: parses, hands over, prints. Modules that take long to import are imported where they are needed.

Stdout is for machines (references, JSON, what `plan` shows), stderr for people.
"""

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click
from click.core import ParameterSource

from builder import __version__
from builder.errors import BuilderError, DiskFull, Interrupted, RequestError

if TYPE_CHECKING:
    from builder.report import Report
    from builder.settings import Given, Job
    from builder.wiring import Tools

Command = TypeVar("Command", bound=Callable[..., None])

_SHOWN = 200
_TEXT_HINT = "It goes where only UTF-8 can be written: rename it."
_OS_HINT = "Can this user write there? ISTIO_BUILD_CACHE names another place for the cache."
_REPEATED = (
    *("hub", "tag", "image", "variant", "platform", "recipes", "base", "mirror_from", "apt_mirror", "insecure_registry"),
    *("envoy", "envoy_from", "ztunnel", "ztunnel_from", "go_flags", "go_env"),
)
_LISTS = ("hub", "tag", "image", "variant", "platform", "insecure_registry", "envoy_from", "ztunnel_from")
_SINGLE = (
    *("istio", "source", "git_url", "base_registry", "bases", "base_distribution", "builder", "compression"),
    *("envoy_url", "envoy_image", "debug_envoy", "ztunnel_url", "ztunnel_image", "go", "compile_in", "debug", "timeout"),
)


def main() -> NoReturn:
    """Run, and turn every error into a message and an exit code: this is the one place that does."""
    # What stands in a path need be no text, and a terminal may have few characters: a message comes out all the same.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        cli.main(standalone_mode=False)
    except BuilderError as error:
        _fail(error)
    except click.exceptions.Abort:
        _fail(Interrupted("interrupted"))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has stopped reading: nothing is wrong, and nobody is there to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except UnicodeEncodeError as error:
        _fail(RequestError(f"a path or name is no text, and has to be: {error.object[:_SHOWN]!a}", hint=_TEXT_HINT))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _fail(DiskFull(f"a disk is full: {error.filename or error}", hint="Free some space, then run the same again."))
        _fail(BuilderError(f"{error.filename or 'the system'}: {error.strerror or error}", hint=_OS_HINT))
    sys.exit(0)


def _fail(error: BuilderError) -> NoReturn:
    click.secho("error: ", fg="red", bold=True, err=True, nl=False)
    click.echo(error.message, err=True)
    if error.hint:
        click.echo(error.hint, err=True)
    sys.exit(error.exit_code)


def _option(name: str, help_text: str, **more: Any) -> Callable[[Command], Command]:  # noqa: ANN401 - click's own
    """A setting: a flag that is also a variable and a key of the project file."""
    key = name.removeprefix("--").replace("-", "_")
    more.setdefault("multiple", key in _REPEATED)
    return click.option(name, key, envvar=f"ISTIO_BUILD_{key.upper()}", show_envvar=True, help=help_text, **more)


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_where = _options(
    _option("--hub", "Where images go: a registry and a path, such as docker.io/me. Repeatable.", metavar="HUB"),
    _option("--tag", "The tag; by default the version of the source. Repeatable.", metavar="TAG"),
    _option("--insecure-registry", "A registry to speak to over plain HTTP. Repeatable.", metavar="HOST"),
)
_source = _options(
    _option("--istio", "The release of Istio to fetch and build, such as 1.29.0.", metavar="VERSION"),
    _option("--source", "A checkout of Istio to build instead.", metavar="DIR"),
    _option("--git-url", "Where --istio fetches from.", metavar="URL"),
    _option("--recipes", "A directory of recipes and templates of your own. Repeatable.", metavar="DIR"),
    click.option("--file", "project_file", metavar="FILE", help="The project file; ./istio-build.yaml by default."),
)
_go = _options(
    _option("--go", "Which Go compiles: release (what go.mod asks for; the default), machine, newest, or 1.25.9.", metavar="GO"),
    _option("--compile-in", "An image to compile in, with its Go, instead of on this machine.", metavar="IMAGE"),
    _option("--go-flags", "More flags of `go build`, such as -gcflags=-S. Repeatable.", metavar="FLAGS"),
    _option("--go-env", "Go's environment: GOFIPS140, GOEXPERIMENT, CGO_ENABLED, … Repeatable.", metavar="NAME=VALUE"),
    _option("--debug", "Compile for a debugger, as Istio's DEBUG=1 does.", is_flag=True),
    _option("--builder", "The buildx builder to use.", metavar="NAME"),
)
_what = _options(
    _source,
    _option("--image", "An image or group (core, mesh, test, bases, all); core by default. Repeatable.", metavar="NAME"),
    _option("--variant", "A variant to build: debug, distroless; all by default. Repeatable.", metavar="NAME"),
    _option("--platform", "A platform; linux/amd64 and linux/arm64 by default. Repeatable.", metavar="OS/ARCH"),
    _option("--base-registry", "Where base images come from.", metavar="REGISTRY"),
    _option("--base", "A base image of your own. Repeatable.", metavar="NAME=REFERENCE"),
    _option("--mirror-from", "Where to copy a mirrored image from. Repeatable.", metavar="IMAGE=REFERENCE"),
    _option("--bases", "How the images of group bases come about.", type=click.Choice(["copy", "build"])),
    _option("--base-distribution", "What bases are built from, such as ubuntu:noble.", metavar="NAME:SUITE"),
    _option("--apt-mirror", "A mirror of a package archive. Repeatable.", metavar="NAME=URL"),
    _option("--envoy-url", "The URL below which Envoy's archives are: a mirror.", metavar="URL"),
    _option("--envoy", "An Envoy of your own: a program or .tar.gz. Repeatable.", metavar="OS/ARCH=PATH-or-URL"),
    _option("--envoy-image", "A proxyv2 image to take Envoy out of, where it is nowhere else.", metavar="REFERENCE"),
    _option("--envoy-from", "Where to look for Envoy, in this order; file,url,image by default.", metavar="SOURCE,…"),
    _option("--debug-envoy", "Take Envoy with its symbols, as Istio's DEBUG_IMAGE does.", is_flag=True, default=None),
    _option("--ztunnel-url", "The URL below which ztunnel's programs are: a mirror.", metavar="URL"),
    _option("--ztunnel", "A ztunnel of your own. Repeatable.", metavar="OS/ARCH=PATH-or-URL"),
    _option("--ztunnel-image", "A ztunnel image to take the program out of.", metavar="REFERENCE"),
    _option("--ztunnel-from", "Where to look for ztunnel, in this order; file,url,image by default.", metavar="SOURCE,…"),
    _option("--compression", "How layers are compressed.", type=click.Choice(["gzip", "zstd"])),
    _go,
)
_how = _options(
    _option("--timeout", "Give up on a host that has not answered for this long; 120 by default.", metavar="SECONDS"),
    click.option(
        "--progress",
        type=click.Choice(["auto", "tty", "plain", "json", "quiet"]),
        default="auto",
        envvar="ISTIO_BUILD_PROGRESS",
        show_envvar=True,
        help="How progress is shown on stderr.",
    ),
)
_output = click.option(
    "--output-format",
    type=click.Choice(["references", "json"]),
    default="references",
    help="What is printed on stdout at the end.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="istio-build")
def cli() -> None:
    """Rebuild Istio's images for your own registry: linux/amd64 and linux/arm64, checked, pushed as one release."""


@cli.command()
@_where
@_what
@_how
@_output
@click.option("--from", "from_directory", metavar="DIR", help="Publish layouts that `build` wrote; builds nothing.")
@click.option("--rebuild", is_flag=True, help="Build even what the hub already holds from the same inputs.")
@click.option("--replace", is_flag=True, help="Let tags lose platforms that they have at the hub and this push lacks.")
@click.pass_context
def push(context: click.Context, /, from_directory: str | None, rebuild: bool, replace: bool, **options: Any) -> None:  # noqa: ANN401
    """Build the images and push them: content first, then all tags, or none."""
    started = time.monotonic()
    if from_directory:
        _push_from(context, Path(from_directory), started)
        return
    from builder.pipeline import push_plan

    job = _job(context)
    with _tools(job, options["progress"]) as tools:
        resolved = tools.resolve(job)
        with tools.workspace.job(resolved.tree, resolved.plan.hub, _waiting(tools), tools.pause) as work:
            workshop = tools.workshop(resolved.tree, work)
            report = push_plan(
                resolved.plan,
                work / "layouts",
                workshop,
                tools.counter(replace=replace),
                rebuild=rebuild or resolved.always_build,
                started=started,
            )
    _print_report(report, options["output_format"], installable=_has_istioctl(report))


@cli.command()
@_where
@_what
@_how
@_output
@click.option("--output", metavar="DIR", default="istio-images", show_default=True, help="Where the layouts go.")
@click.option("--load", metavar="OS/ARCH", help="Also load this platform's images into the local engine.")
@click.pass_context
def build(context: click.Context, /, output: str, load: str | None, **options: Any) -> None:  # noqa: ANN401 - click
    """Build the images into OCI image layouts and stop there; `push --from` takes them up."""
    started = time.monotonic()
    from builder.pipeline import build_plan
    from builder.reference import Platform

    job = _job(context)
    load_platform = Platform.parse(load) if load else None
    if load_platform and load_platform not in job.request.platforms:
        raise RequestError(f"--load {load}: that platform is not built", hint="Add it with --platform.")
    with _tools(job, options["progress"]) as tools:
        resolved = tools.resolve(job)
        with tools.workspace.job(resolved.tree, resolved.plan.hub, _waiting(tools), tools.pause) as work:
            workshop = tools.workshop(resolved.tree, work)
            report = build_plan(resolved.plan, Path(output), workshop, started=started)
            if load_platform:
                _load(tools, report, load_platform)
    _print_report(report, options["output_format"], installable=False)


@cli.command()
@_where
@_what
@_how
@click.option(
    "--format",
    "view",
    type=click.Choice(["table", "json", "dockerfiles", "bake"]),
    default="table",
    show_default=True,
    help="What is shown.",
)
@click.pass_context
def plan(context: click.Context, /, view: str, **options: Any) -> None:  # noqa: ANN401 - click
    """Show everything that a push would do, and where each setting comes from; does nothing."""
    from builder.plan_view import plan_bake, plan_dockerfiles, plan_json, plan_table

    job = _job(context)
    with _tools(job, options["progress"]) as tools:
        decided = tools.resolve(job).plan
    show = {
        "table": lambda: plan_table(decided, job.settings),
        "json": lambda: plan_json(decided, job.settings),
        "dockerfiles": lambda: plan_dockerfiles(decided),
        "bake": lambda: plan_bake(decided),
    }
    click.echo(show[view]())


@cli.command()
@_option("--hub", "The hub that these programs install from, such as docker.io/me.", metavar="HUB")
@_option("--tag", "The version; by default that of the source.", metavar="TAG")
@_source
@_go
@_how
@click.option("--target", multiple=True, metavar="NAME", help="A target, such as osx-arm64; all by default. Repeatable.")
@click.option("--output", metavar="DIR", default="istio-archives", show_default=True, help="Where the archives go.")
@click.option("--output-format", type=click.Choice(["paths", "json"]), default="paths", help="What is printed on stdout.")
@click.pass_context
def archives(context: click.Context, /, target: tuple[str, ...], output: str, **options: Any) -> None:  # noqa: ANN401
    """Write istioctl for people's machines: an archive for each system and architecture, with its sha256 beside it."""
    job = _job(context)
    with _tools(job, options["progress"]) as tools:
        tree, plan = tools.resolve_archives(job, target)
        with tools.workspace.job(tree, plan.hub, _waiting(tools), tools.pause) as work:
            written = tools.write_archives(plan, Path(output), tree, work)
    if options["output_format"] == "json":
        rows = [{"path": str(entry.path), "sha256": entry.sha256, "size": entry.size} for entry in written]
        click.echo(json.dumps({"version": plan.version, "hub": plan.hub, "go": plan.go_version, "archives": rows}, indent=2))
    else:
        click.echo("\n".join(str(entry.path) for entry in written))


@cli.command("list")
@_option("--istio", "Only what this release has, such as 1.29.0.", metavar="VERSION")
@_option("--recipes", "A directory of recipes and templates of your own. Repeatable.", metavar="DIR")
@click.option("--output-format", type=click.Choice(["table", "json"]), default="table", help="What is printed on stdout.")
def list_images(istio: str | None, recipes: tuple[str, ...], output_format: str) -> None:
    """List the images, the releases of Istio that have them, and what can be built on which platform."""
    from builder.istio_release import IstioRelease
    from builder.recipe_book import load_recipes
    from builder.support import find_support, support_at, support_json, support_table

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


@cli.command()
@click.option("--project", is_flag=True, help="The schema of istio-build.yaml instead.")
def schema(project: bool) -> None:
    """Print the JSON Schema of recipes, for editors."""
    from builder.recipe import json_schema
    from builder.settings import ProjectFile

    click.echo(json.dumps(ProjectFile.model_json_schema() if project else json_schema(), indent=2))


def _push_from(context: click.Context, directory: Path, started: float) -> None:
    from builder.pipeline import publish_release
    from builder.release_directory import ReleasePart, read_release
    from builder.settings import find_project, make_job

    used = ("hub", "tag", "insecure_registry", "image", "variant", "timeout")
    unused = [name for name in (*_SINGLE, *_REPEATED, "rebuild") if name not in used and _is_flag(context, name)]

    if unused:
        raise RequestError(f"--from builds nothing, so --{unused[0].replace('_', '-')} cannot be used with it")
    # The layouts say where they were meant to go, so the project file is asked only for how registries are spoken to.
    given = _given(context)
    job = make_job({**given, **_no_source()}, find_project(context.params["project_file"] or ""), needs_hub=False)
    hubs = job.request.hubs if "hub" in given else ()
    tags = job.request.tags if "tag" in given else ()
    part = ReleasePart(images=_words(given, "image"), variants=_words(given, "variant"))
    with _tools(job, context.params["progress"]) as tools:
        with tools.progress.task("check", str(directory)):
            release = read_release(directory, hubs, tags, tools.layer_catalogue, part)
        if hubs and str(hubs[0]) != release.hub:
            tools.progress.warn(
                f"these programs are stamped for {release.hub}, so their istioctl installs from there; "
                f"use `istioctl install --set hub={hubs[0]}`, or build with --hub {hubs[0]}."
            )
        states = {publication.key: "given" for publication in release.publications}
        workshop = tools.workshop(directory, directory)
        counter = tools.counter(replace=context.params["replace"])
        report = publish_release(release.publications, states, release.version, release.hub, workshop, counter, started)
    _print_report(report, context.params["output_format"], installable=_has_istioctl(report))


def _words(given: "Mapping[str, Given]", name: str) -> tuple[str, ...]:
    return tuple(given[name].words) if name in given else ()


def _no_source() -> dict[str, Any]:
    from builder.settings import Given

    return {"source": Given(words=(".",), origin="--from"), "istio": Given(words=(), origin="--from")}


def _load(tools: "Tools", report: "Report", platform: Any) -> None:  # noqa: ANN401 - Platform, imported late
    from builder.layout import Layout

    for image in report.images:
        layout = Layout(Path(image.layout))
        child = next(child for child in layout.index().children() if child.platform == platform)
        with tools.progress.task("load", f"{image.key} {platform}"):
            tools.docker.load(layout, child, image.references)


def _job(context: click.Context) -> "Job":
    from builder.settings import find_project, make_job

    return make_job(_given(context), find_project(context.params["project_file"] or ""))


def _given(context: click.Context) -> dict[str, Any]:
    """What stands on the command line or in the environment; defaults are the settings' own business."""
    from builder.settings import Given

    given = {}
    for name in (*_REPEATED, *_SINGLE):
        if not _is_given(context, name):
            continue
        value = context.params[name]
        words = value if isinstance(value, tuple) else (str(value).lower() if isinstance(value, bool) else value,)
        if name in _LISTS:
            words = tuple(part.strip() for word in words for part in word.split(",") if part.strip())
        if not any(words):
            raise RequestError(
                f"--{name.replace('_', '-')} is given, but empty",
                hint="Is a variable unset? Leave the option out for its default.",
            )
        from_variable = context.get_parameter_source(name) is ParameterSource.ENVIRONMENT
        origin = f"ISTIO_BUILD_{name.upper()}" if from_variable else f"--{name.replace('_', '-')}"
        given[name] = Given(words=words, origin=origin)
    return given


def _is_flag(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _is_given(context: click.Context, name: str) -> bool:
    sources = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return name in context.params and context.get_parameter_source(name) in sources


@contextmanager
def _tools(job: "Job", progress: str) -> "Iterator[Tools]":
    from builder.interruption import Interruption
    from builder.progress_display import open_display
    from builder.signals import heard
    from builder.wiring import Tools

    interruption = Interruption()
    with heard(interruption), open_display(progress) as observer:
        yield Tools(
            os.environ,
            interruption,
            observer,
            builder=job.builder,
            insecure_registries=job.insecure_registries,
            patience=job.timeout,
        )


def _waiting(tools: "Tools") -> Callable[[], None]:
    return lambda: tools.progress.note("Another run of the same job is at work; waiting for it to end.")


def _has_istioctl(report: "Report") -> bool:
    return any(image.key.startswith("istioctl-") for image in report.images)


def _print_report(report: "Report", output_format: str, *, installable: bool) -> None:
    from builder.report import report_json, report_references, report_text

    click.echo(report_text(report, installable=installable), err=True)
    if output_format == "json":
        click.echo(json.dumps(report_json(report), indent=2))
    else:
        click.echo(report_references(report))
