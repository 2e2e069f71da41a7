"""`python -m tools.bench`: our push beside the bare `go build` of the same mains, a plain `docker buildx bake --push`, and
Istio's own docker-builder, side by side and in turn, in one run.

Machines are noisy, so what counts are the ratios, each round's to the same round's. Needs what `tools/engine up` provides: run it
with `make bench`.
"""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from tools.bench import scaling
from tools.bench.contestants import ByHand, Contestant, Imports, Ours, read_plan
from tools.bench.docker_builder import MODES, DockerBuilder, build_docker_builder, has_docker_builder, place_downloads
from tools.bench.draw import draw_report
from tools.bench.envoys import Envoys, served
from tools.bench.machine import describe_machine
from tools.bench.memory import measure_memory
from tools.bench.phases import MEASURES, PHASES, Bench
from tools.bench.registry import BenchRegistry
from tools.bench.results import ENGINES, Report, read_report
from tools.bench.table import show_report
from tools.bench.work import Site, Work, base_images, clone_source, read_base_version, read_dependency, say

# A file that the control plane is made of; the sample has but one.
_CHANGED_FILES = ("pilot/pkg/bootstrap/server.go", "pilot/cmd/pilot-discovery/main.go")
_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of `run`."""

    source: Path | None
    changed_file: str | None
    phases: tuple[str, ...]
    rounds: int
    cold_rounds: int | None
    chosen: tuple[str, ...]
    go_cache: Path | None
    json_file: Path | None
    svg_file: Path | None
    markdown: bool


class _RunByDefault(click.Group):
    """`run` is what is meant where no command is named, so that `make bench ARGS='--phase changed'` reads well."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_RunByDefault)
def main() -> None:
    """Measure istio-build beside what it is made of and what else does its work."""
    # As Ctrl-C: the registry is stopped and the directory removed, however the run is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@main.command()
@click.option("--source", type=_PATH, help="A clone of Istio at a release; the sample tree by default.")
@click.option("--file", "changed_file", help="The Go file that is changed, relative to the source.")
@click.option("--phase", "phases", multiple=True, type=click.Choice(PHASES), help="All by default. Repeatable.")
@click.option("--rounds", default=5, show_default=True, help="How often each phase is measured.")
@click.option("--cold-rounds", type=int, help="The same for phase cold, which takes long; as --rounds by default.")
@click.option("--contestant", "chosen", multiple=True, help="Only these besides ours, such as 'by hand'. Repeatable.")
@click.option("--go-cache", type=_PATH, help="A warm build cache to use, and to add to; not for cold.")
@click.option("--json", "json_file", type=_FILE, help="Write every figure here.")
@click.option("--svg", "svg_file", type=_FILE, help="Draw the ratios here.")
@click.option("--markdown", is_flag=True, help="Print tables as docs/performance.md has them.")
def run(**given: Any) -> None:  # noqa: ANN401 what click gives has no type, and Options names each
    """Measure all phases, or those that are named. (The default command.)"""
    options = Options(**given)
    with _site(options.source) as (site, envoys):
        work = Work(name="bench", go_cache=(options.go_cache or site.scratch / "go-cache").absolute())
        go_version = str(read_plan(site, site.source, f"{site.registry.host}/plan", work)["go_version"])
        machine = describe_machine(site.source, "Istio" if options.source else "the sample tree,", go_version)
        contestants, absent = _gather(site, envoys, work, go_version, options.chosen)
        bench = Bench(
            site=site,
            contestants=tuple(contestants),
            envoys=envoys,
            work=work,
            changed_file=options.changed_file or next(file for file in _CHANGED_FILES if (site.source / file).exists()),
            rounds=options.rounds,
            cold_rounds=options.cold_rounds or options.rounds,
        )
        report = Report(machine, (), {}, absent)
        for phase in (phase for phase in PHASES if phase in (options.phases or PHASES)):
            report = _measure(bench, phase, report)
            # After each phase: hours of work are not lost with what fails next.
            _write(report, options)
    click.echo(show_report(report, markdown=options.markdown))


@main.command()
@click.argument("json_file", metavar="JSON", type=click.Path(path_type=Path, exists=True))
@click.argument("svg_file", metavar="SVG", type=_FILE)
def draw(json_file: Path, svg_file: Path) -> None:
    """Draw what `--json` wrote."""
    svg_file.write_text(draw_report(_read(json_file)))


@main.command()
@click.argument("json_file", metavar="JSON", type=click.Path(path_type=Path, exists=True))
@click.option("--markdown", is_flag=True, help="Print tables as docs/performance.md has them.")
def table(json_file: Path, markdown: bool) -> None:
    """Print the tables of what `--json` wrote."""
    click.echo(show_report(_read(json_file), markdown=markdown))


@main.command("scaling")
@click.option("--rounds", default=3, show_default=True, help="How often each point is measured.")
@click.option("--engine", type=click.Choice(ENGINES), default="builtin", show_default=True)
@click.option("--max-size", default=2000, show_default=True, help="The largest layer, in MB.")
@click.option("--table", "tables", multiple=True, type=click.Choice(scaling.TABLES), help="All by default. Repeatable.")
def scale(rounds: int, engine: str, max_size: int, tables: tuple[str, ...]) -> None:
    """How time and requests grow with images, hubs, tags and the size of layers; on the sample tree, as Markdown."""
    with _site(None) as (site, _):
        work = Work(name="scaling", go_cache=site.scratch / "go-cache")
        rig = scaling.Rig(site=site, work=work, engine=engine, rounds=rounds, max_size=max_size)
        for name in scaling.TABLES:
            if name in (tables or scaling.TABLES):
                click.echo(scaling.measure_table(rig, name) + "\n")


@contextmanager
def _site(source: Path | None) -> Iterator[tuple[Site, Envoys]]:
    """A clone of the source, a registry with its bases, a server with its Envoy; all gone afterwards."""
    missing = [name for name in ("ISTIO_BUILD_TEST_BASES", "ISTIO_BUILD_TEST_ENVOY_URL") if name not in os.environ]
    if missing:
        raise click.UsageError(f"{' and '.join(missing)} not set: run this with `make bench`, or with tools/with-engine.")
    with tempfile.TemporaryDirectory(prefix="istio-build-bench-") as scratch_name, ExitStack() as stack:
        scratch = Path(scratch_name)
        clone_source(source, scratch / "source")
        envoys = Envoys(scratch / "envoys", read_dependency(scratch / "source", "PROXY_REPO_SHA"))
        envoys.fetch(os.environ["ISTIO_BUILD_TEST_ENVOY_URL"])
        registry = BenchRegistry(scratch / "registry")
        version = read_base_version(scratch / "source")
        stack.enter_context(base_images(registry, os.environ["ISTIO_BUILD_TEST_BASES"], version))
        envoy_url = stack.enter_context(served(envoys, scratch))
        yield Site(registry=registry, scratch=scratch, source=scratch / "source", envoy_url=envoy_url), envoys


def _gather(
    site: Site, envoys: Envoys, work: Work, go_version: str, chosen: tuple[str, ...]
) -> tuple[list[Contestant], tuple[str, ...]]:
    """All that this source has; and of those it lacks, a line that says so."""
    ours: list[Contestant] = [Ours(site, site.source, engine) for engine in ENGINES]
    others: list[Contestant] = [ByHand(site, site.source), Imports(site.source)]
    contestants = [*ours, *(other for other in others if not chosen or other.name in chosen)]
    if not has_docker_builder(site.source):
        return contestants, ("Absent: docker-builder, as this source has no tools/docker-builder; --source names one that has.",)
    for mode in (mode for mode in MODES if not chosen or f"docker-builder {mode}" in chosen):
        tree = site.scratch / f"source-{mode}"
        clone_source(site.source, tree)
        place_downloads(tree, envoys)
        # In the tree that it builds, as it finds it by where it was compiled.
        say([f"compiling docker-builder, for {mode} mode"])
        program = build_docker_builder(site, tree, work.go_cache, go_version)
        contestants.append(DockerBuilder(site, tree, program, mode, go_version))
    return contestants, ()


def _measure(bench: Bench, phase: str, report: Report) -> Report:
    if phase == "memory":
        work = replace(bench.work, name="memory", images=("proxyv2",), variants=("debug",))
        return replace(report, memory=measure_memory(bench.site, work))
    return replace(report, phases=(*report.phases, MEASURES[phase](bench)))


def _write(report: Report, options: Options) -> None:
    if options.json_file:
        options.json_file.write_text(json.dumps(report.to_json(), indent=1) + "\n")
    if options.svg_file:
        options.svg_file.write_text(draw_report(report))


def _read(json_file: Path) -> Report:
    return read_report(json.loads(json_file.read_text()))


if __name__ == "__main__":
    main()
