"""`python -m tools.bench`: our push beside the bare `go build` of the same mains and a plain `docker buildx bake --push` of
the same files, in one run, in turn: cold, one Go file changed, nothing changed.

Machines are noisy, so what counts are the ratios. Needs what `tools/engine up` provides: run it with `make bench`.
"""

import os
import shutil
import statistics
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from builder.cli.text import format_table
from tools.bench.contestants import Job, read_plan, time_bake, time_go_build, time_push

_SAMPLE_FILE = "pilot/cmd/pilot-discovery/main.go"
_ROOT = Path(__file__).parent.parent.parent


@dataclass(slots=True)
class Timings:
    """Seconds of one phase, by contestant, a figure a round: our push with either engine, the bare compiler, plain buildx."""

    phase: str
    builtin: list[float] = field(default_factory=list)
    buildx: list[float] = field(default_factory=list)
    go_build: list[float] = field(default_factory=list)
    bake: list[float] = field(default_factory=list)

    def row(self) -> tuple[str, ...]:
        """Medians, then each engine's ratio to the bare compiler, each round against itself."""
        contestants = (self.builtin, self.buildx, self.go_build, self.bake)
        ratios = [statistics.median(a / b for a, b in zip(ours, self.go_build, strict=True)) for ours in contestants[:2]]
        seconds = [f"{statistics.median(values):.2f}" for values in contestants]
        return (self.phase, *seconds, *(f"{ratio:.2f}" for ratio in ratios), str(len(self.builtin)))


@click.command()
@click.option("--source", type=click.Path(path_type=Path), help="A checkout of Istio; the sample tree by default.")
@click.option("--file", "changed_file", help="The Go file that is changed, relative to the source.")
@click.option("--phase", "phases", multiple=True, type=click.Choice(["cold", "changed", "unchanged"]), help="All by default.")
@click.option("--rounds", default=3, show_default=True, help="How often the changed and unchanged phases are measured.")
@click.option("--image", "images", multiple=True, default=("istioctl", "pilot", "proxyv2"), show_default=True)
@click.option("--changed-image", default="pilot", show_default=True, help="The image of the changed phase.")
@click.option("--go-cache", type=click.Path(path_type=Path), help="A warm build cache to start from; not for cold.")
@click.option("--variant", "variants", multiple=True, default=("debug",), show_default=True)
def main(
    source: Path | None,
    changed_file: str | None,
    phases: tuple[str, ...],
    rounds: int,
    images: tuple[str, ...],
    changed_image: str,
    variants: tuple[str, ...],
    go_cache: Path | None,
) -> None:
    """Measure istio-build push beside go build and docker buildx bake."""
    if go_cache and "cold" in (phases or ("cold",)):
        raise click.UsageError("--go-cache is for the changed and unchanged phases: name them with --phase.")
    with tempfile.TemporaryDirectory(prefix="istio-build-bench-") as scratch, _copy_of(source, Path(scratch)) as tree:
        job = Job(
            source=tree,
            hub=f"{os.environ['ISTIO_BUILD_TEST_REGISTRY']}/bench-{uuid.uuid4().hex[:8]}",
            images=images,
            variants=variants,
            bases=os.environ["ISTIO_BUILD_TEST_BASES"],
            envoy_url=os.environ["ISTIO_BUILD_TEST_ENVOY_URL"],
            go_cache=go_cache or Path(scratch, "go-cache"),
            work=Path(scratch, "work"),
        )
        file = tree / (changed_file or _SAMPLE_FILE)
        measure: dict[str, Callable[[], Timings]] = {
            "cold": lambda: _measure_cold(job),
            "changed": lambda: _measure_changed(replace(job, images=(changed_image,)), file, rounds),
            "unchanged": lambda: _measure_unchanged(job, rounds),
        }
        results = [measure[phase]() for phase in measure if not phases or phase in phases]
    header = ("PHASE", "BUILTIN s", "BUILDX s", "GO BUILD s", "BAKE s", "BUILTIN/GO", "BUILDX/GO", "ROUNDS")
    click.echo("\n".join(format_table([header, *(timings.row() for timings in results)])))


def _measure_cold(job: Job) -> Timings:
    """Each contestant with an empty build cache of its own; modules and downloads are there."""
    timings = Timings("cold")
    plan = read_plan(job)
    shutil.rmtree(job.go_cache, ignore_errors=True)
    timings.builtin.append(time_push(job, "builtin"))
    shutil.rmtree(job.go_cache, ignore_errors=True)
    timings.buildx.append(time_push(job, "buildx"))
    shutil.rmtree(job.go_cache, ignore_errors=True)
    timings.go_build.append(time_go_build(job, plan))
    timings.bake.append(time_bake(job, plan))
    return timings


def _measure_changed(job: Job, file: Path, rounds: int) -> Timings:
    """A change of its own for each contestant and round, so that none finds another's work in the build cache."""
    timings = Timings("changed")
    plan = _warm_up(job)
    for _ in range(rounds):
        _change(file)
        timings.builtin.append(time_push(job, "builtin"))
        _change(file)
        timings.buildx.append(time_push(job, "buildx"))
        _change(file)
        timings.go_build.append(time_go_build(job, plan))
        timings.bake.append(time_bake(job, plan))
    return timings


def _measure_unchanged(job: Job, rounds: int) -> Timings:
    timings = Timings("unchanged")
    plan = _warm_up(job)
    for _ in range(rounds):
        timings.builtin.append(time_push(job, "builtin"))
        timings.buildx.append(time_push(job, "buildx"))
        timings.go_build.append(time_go_build(job, plan))
        timings.bake.append(time_bake(job, plan))
    return timings


def _warm_up(job: Job) -> dict[str, Any]:
    """Let every contestant do the job once, uncounted; gives its plan."""
    plan = read_plan(job)
    time_push(job, "builtin")
    time_push(job, "buildx")
    time_go_build(job, plan)
    time_bake(job, plan)
    return plan


def _change(file: Path) -> None:
    """A change that reaches the linker: a variable with a value never seen before."""
    kept = file.read_text(encoding="utf-8").partition("\n// bench\n")[0]
    file.write_text(f'{kept}\n// bench\nvar benchChange = "{uuid.uuid4()}"\n', encoding="utf-8")


@contextmanager
def _copy_of(source: Path | None, scratch: Path) -> Iterator[Path]:
    """A clone to change files in; the user's own tree stays as it is."""
    tree = scratch / "source"
    if source is None:
        subprocess.run([_ROOT / "examples" / "make-source", tree], check=True)
    else:
        subprocess.run(["git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--shared", source, tree], check=True)
    yield tree


if __name__ == "__main__":
    main()
