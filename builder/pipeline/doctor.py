"""Examines a job before it is begun: what is asked for is learnt, and all checks of it are made side by side."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from builder.cache.workspace import Workspace, find_cache
from builder.config.request import SourceRequest
from builder.config.settings import Job
from builder.config.variables import unknown_variables
from builder.doctor.case import Case
from builder.doctor.examine import examine
from builder.doctor.finding import Checked
from builder.doctor.hubs import hub_checks
from builder.doctor.machine import machine_checks
from builder.doctor.probes import GitProbe
from builder.doctor.source import source_checks
from builder.errors import LockError, RequestError, SourceError
from builder.pipeline.find_releases import at_release, choose_tags, find_locked
from builder.pipeline.probing import BoundedProbes
from builder.plan.lock import SourceFacts
from builder.plan.selection import select_images
from builder.recipe.book import Recipes
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.resolve.bases import check_base_names
from builder.resolve.held import LockInUse
from builder.resolve.lock_record import read_lock
from builder.resolve.mirrors import check_mirror_names
from builder.resolve.source import read_source
from builder.runtime.cancellation import Cancellation

# Of the time that a check may take, how much a host may be silent: it is told better than that time has run out.
_SILENCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorRequest:
    """What is wanted besides the settings of a job: where layouts would go, whether programs are to be started (`verify --run`),
    whether a source was given at all, and for how many seconds each check may take."""

    output: Path
    starts: bool
    has_source: bool
    limit: float


def examine_job(
    job: Job, request: DoctorRequest, environment: Mapping[str, str], cancellation: Cancellation
) -> tuple[Checked, ...]:
    """Make all checks. Raises RequestError and RecipeError where what is asked for cannot be, Interrupted."""
    if not request.has_source:
        job = replace(job, source=SourceRequest())
    workspace = Workspace(find_cache(environment))
    seconds = min(job.timeout, request.limit * _SILENCE)

    def begin() -> BoundedProbes:
        return BoundedProbes(job, environment, cancellation, workspace, seconds)

    case = _learn(job, request, workspace, begin())
    checks = (
        *machine_checks(case, Path(tempfile.gettempdir()), unknown_variables(environment)),
        *source_checks(case),
        *hub_checks(case),
    )
    try:
        return examine(checks, begin, request.limit, cancellation.wait)
    finally:
        # Programs of a check that took too long.
        cancellation.kill()


def _learn(job: Job, request: DoctorRequest, workspace: Workspace, bounded: BoundedProbes) -> Case:
    """What the job would need, as far as that can be told without fetching its source."""
    recipes = load_recipes(job.recipes, build_bases=job.request.build_bases)
    git, trouble = bounded.git(), SourceError("")
    try:
        job = _at_newest(job, git)
    except (RequestError, SourceError, LockError) as error:
        trouble.message, trouble.hint = error.message, error.hint
    directory, release = job.source.directory, job.source.release
    tree = directory.resolve() if directory else git.known_release(job.source.url, release) if release else None
    source: SourceFacts | None = None
    lock: LockInUse | None = None
    try:
        lock = read_lock(job.lock, strict=True) if job.locked else None
        source = read_source(tree, git.describe) if tree else None
        source = lock.bind_source(source, tree) if lock and source and tree else source
    except (SourceError, LockError) as error:
        trouble.message, trouble.hint = error.message, error.hint
    book = recipes.at(source.release if source else _release(release, recipes))
    check_base_names(job.request, book)
    check_mirror_names(job.request, book)
    return Case(
        job=job,
        book=book,
        chosen=select_images(job.request, book),
        cache=workspace.root,
        output=request.output,
        source=source,
        tree=tree,
        trouble=trouble.message,
        trouble_hint=trouble.hint,
        lock=lock,
        starts=request.starts,
    )


def _at_newest(job: Job, git: GitProbe) -> Job:
    """The job of the newest release that is asked for: what that one needs, the others do, too, but for the last bit.

    Raises SourceError, RequestError and LockError as `find_releases`.
    """
    if not job.source.wishes:
        return job
    if job.locked:
        return at_release(job, find_locked(job))
    return at_release(job, choose_tags(job.source, git.list_tags, datetime.now(UTC).date())[0])


def _release(text: str, recipes: Recipes) -> IstioRelease:
    """The release that is asked for, else the newest that there are recipes for."""
    behind = recipes.releases.edges[-1]
    newest = IstioRelease(behind[0], behind[1], behind[2])
    return (
        IstioRelease.parse(text)
        or IstioRelease.of_line(text)
        or IstioRelease.of_line(f"{newest.major}.{newest.minor - 1}")
        or newest
    )
