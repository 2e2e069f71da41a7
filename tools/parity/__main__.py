"""`python -m tools.parity`: for each release of Istio, what its own build would make, beside what our plan says we make.

Reads a clone of istio/istio through git, checks nothing out, builds nothing. `make parity ISTIO=DIR` runs it.
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path

import click

from builder.errors import BuilderError
from builder.recipe.book import Recipes
from builder.recipe.loader import load_recipes
from tools.parity.intended import INTENDED_FILE, Intended, excuse, read_intended
from tools.parity.model import CouldNotRead, Difference, compare
from tools.parity.ours import OurBuild
from tools.parity.report import ReleaseResult, differences_json, list_differences, list_reasons, summarise
from tools.parity.theirs import IstioBuild, Order
from tools.parity.tree import Repository

_HUB = "registry.example/istio"
_PLATFORMS = ("linux/amd64", "linux/arm64")
_COULD_NOT_READ = "could not read"


@click.command()
@click.option("--istio", "directory", type=click.Path(path_type=Path, exists=True), required=True, help="A clone of istio/istio.")
@click.option("--versions", default="", help="Releases, with spaces between; all stable ones from 1.10.0 on by default.")
@click.option(
    "--intended", "intended_file", type=click.Path(path_type=Path), default=INTENDED_FILE, help="What is meant to differ."
)
@click.option("--recipes", type=click.Path(path_type=Path), multiple=True, help="More recipes, as istio-build's --recipes.")
@click.option("--jobs", default=2, show_default=True, help="How many releases at a time.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--show-intended", is_flag=True, help="List each intended difference, too.")
def main(
    directory: Path,
    versions: str,
    intended_file: Path,
    recipes: tuple[Path, ...],
    jobs: int,
    form: str,
    show_intended: bool,
) -> None:
    """Compare Istio's own build of each release with our plan for it; status 1 where anything differs that should not."""
    try:
        intended = read_intended(intended_file).plans
        tags = tuple(versions.split()) or _all_releases(directory)
        found = _compare_all(directory, tags, recipes, jobs)
    except (BuilderError, CouldNotRead) as error:
        raise click.ClickException(str(error)) from error
    results, stale = judge(found, intended, full=not versions.split())
    if form == "json":
        differences = [difference for result in results for difference in result.differences]
        click.echo(differences_json(differences, releases=[result.release for result in results], stale=stale))
    else:
        _print(results, stale, show_intended=show_intended)
    sys.exit(1 if stale or any(not d.reason for result in results for d in result.differences) else 0)


def judge(
    found: Sequence[ReleaseResult], intended: Sequence[Intended], *, full: bool
) -> tuple[tuple[ReleaseResult, ...], tuple[str, ...]]:
    """Give the intended differences their reasons; names entries that met none in a full run."""
    met: set[int] = set()
    results = []
    for result in found:
        differences, own = excuse(result.differences, intended)
        met |= own
        results.append(ReleaseResult(release=result.release, images=result.images, differences=differences))
    stale = [f"{entry.field} of {entry.image} ({entry.releases})" for at, entry in enumerate(intended) if at not in met]
    return tuple(results), tuple(stale) if full else ()


def compare_release(repository: Repository, tag: str, recipes: Recipes) -> ReleaseResult:
    """One release; what cannot be read is a difference like any other."""
    order = Order(tag=tag, hub=_HUB, platforms=_PLATFORMS)
    try:
        theirs, ours = IstioBuild(repository, order), OurBuild(repository, order, recipes)
    except (CouldNotRead, BuilderError) as error:
        return ReleaseResult(release=tag, images=(), differences=(_unread(tag, "", error),))
    differences: list[Difference] = []
    for image in sorted({*ours.images, *theirs.images}):
        try:
            # Of images that we do not build, nothing more is read than that they are there.
            left = theirs.models(image) if image in ours.images else theirs.mention(image)
            differences += compare(tag, tuple(left), tuple(ours.models(image)))
        except (CouldNotRead, BuilderError) as error:
            differences.append(_unread(tag, image, error))
    left_bases = tuple(theirs.base_models())
    built = {model.image for model in left_bases}
    right_bases = tuple(model for model in ours.base_models() if model.image in built)
    differences += compare(tag, left_bases, right_bases)
    return ReleaseResult(
        release=tag, images=(*ours.images, *(model.image for model in right_bases)), differences=tuple(differences)
    )


def _unread(tag: str, image: str, error: Exception) -> Difference:
    return Difference(release=tag, image=image, variant="", field=_COULD_NOT_READ, theirs=str(error))


def _all_releases(directory: Path) -> tuple[str, ...]:
    repository = Repository(directory)
    try:
        releases = repository.releases()
    finally:
        repository.close()
    if not releases:
        raise CouldNotRead(f"{directory} has no tag of a release, such as 1.29.0; fetch them with git fetch --tags")
    return releases


def _compare_all(directory: Path, tags: Sequence[str], recipes: tuple[Path, ...], jobs: int) -> tuple[ReleaseResult, ...]:
    # Read here once, so that a mistake in them is told as such.
    load_recipes(recipes)
    with ProcessPoolExecutor(max_workers=max(1, jobs)) as pool:
        work = [pool.submit(_compare_one, directory, tag, recipes) for tag in tags]
        return tuple(done.result() for done in work)


def _compare_one(directory: Path, tag: str, recipes: tuple[Path, ...]) -> ReleaseResult:
    return compare_release(_open(directory), tag, _load(recipes))


# Once for each process of the pool.
@lru_cache(maxsize=1)
def _open(directory: Path) -> Repository:
    return Repository(directory)


@lru_cache(maxsize=1)
def _load(recipes: tuple[Path, ...]) -> Recipes:
    return load_recipes(recipes)


def _print(results: Sequence[ReleaseResult], stale: Sequence[str], *, show_intended: bool) -> None:
    for line in summarise(results):
        click.echo(line)
    reasons = list(list_reasons(results))
    if reasons:
        click.echo("\nIntended (differences, reason, releases):")
    for line in reasons:
        click.echo(line)
    if show_intended:
        click.echo("")
        for line in list_differences(results, intended=True):
            click.echo(line)
    differing = list(list_differences(results, intended=False))
    if differing:
        click.echo("\nDifferences:")
    for line in differing:
        click.echo(line)
    for entry in stale:
        click.echo(f"stale: intended.yaml says {entry}, which no release has: remove it")
    total = sum(not difference.reason for result in results for difference in result.differences)
    click.echo(f"\n{len(results)} releases, {total} differences that are not intended, {len(stale)} stale entries")


if __name__ == "__main__":
    main()
