"""Prepares a job: reads the source, looks up what the plan depends on, and makes the plan.

What looks up and plans is imported while git is at work, which takes as long.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from builder.build.context import BuildContext, CompileContext
from builder.config.request import Request
from builder.config.settings import Job
from builder.config.tag_template import TagValues, fill_in_all
from builder.pipeline.source_tree import SourceTree, read_source_tree
from builder.pipeline.wiring import Adapters
from builder.plan.lock import Lock, LockedGo, SourceFacts
from builder.plan.model import Plan
from builder.ports import Engine
from builder.recipe.book import RecipeBook, Recipes
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.resolve.lookups import Lookups
from builder.resolve.source import list_directory, reaches_outside
from builder.resolve.toolchain import choose_go
from builder.resolve.toolchain_image import lock_compile_image
from builder.runtime.tree_links import find_file

if TYPE_CHECKING:
    from builder.build.archives import WrittenArchive
    from builder.plan.archives import ArchivePlan
    from builder.resolve.held import LockInUse


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A job with everything looked up: the source tree, the recipes of its release, the lock, the plan.

    `origin` is what the tree was made of where patches are applied, else the same: see `source_tree`.

    `request` is the one that was planned: its tags are filled in.
    """

    request: Request
    tree: Path
    origin: Path
    book: RecipeBook
    lock: Lock
    plan: Plan
    always_build: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedArchives:
    """The same for archives, which depend on the source and on Go alone."""

    tree: Path
    origin: Path
    book: RecipeBook
    go: LockedGo
    plan: "ArchivePlan"


def _do_nothing() -> None:
    """For who needs nothing next."""


def resolve_job(job: Job, adapters: Adapters, meanwhile: Callable[[], None] = _do_nothing) -> Resolved:
    """Look everything up that the job's plan depends on, or take it from the lock, and make the plan.

    `meanwhile` is called while git is at work, in a thread of its own: it imports what is needed next.
    """
    recipes = load_recipes(job.recipes, build_bases=job.request.build_bases)
    with adapters.progress.task("resolve", _told(job, "source, bases, artifacts, Go")) as task:
        lock_in_use = _read_lock(job)
        with ThreadPoolExecutor(max_workers=1) as pool:
            for each in (_import_what_plans, meanwhile):
                pool.submit(each)
            found = read_source_tree(job, adapters)
        from builder.plan.planner import make_plan
        from builder.resolve.resolver import resolve

        source, book = bind_recipes(lock_in_use, found, recipes, adapters)
        tree, job = found.tree, fill_in_tags(job, source, adapters)
        lock = resolve(job.request, book, source, find_lookups(job, tree, source, book, adapters), lock_in_use)
        task.outcome = _outcome(source)
    warn_of(found.origin, source, recipes, adapters)
    outside = reaches_outside(tree)
    if outside:
        adapters.progress.warn(f"{tree}/go.mod replaces a module by a directory, so every push builds anew.")
    plan = make_plan(job.request, book, lock)
    return Resolved(request=job.request, tree=tree, origin=found.origin, book=book, lock=lock, plan=plan, always_build=outside)


def fill_in_tags(job: Job, source: SourceFacts, adapters: Adapters) -> Job:
    """The job with the placeholders of its tags filled in. Raises RequestError where that makes no tag."""
    state = source.state
    values = TagValues(
        release=state.tag if IstioRelease.parse(state.tag) else str(source.release),
        line=source.release.line,
        commit=f"{state.commit[:10]}{'-dirty' if state.dirty else ''}",
        date=adapters.started.strftime("%Y%m%d"),
    )
    return replace(job, request=replace(job.request, tags=fill_in_all(job.request.tags, values)))


def find_lookups(job: Job, tree: Path, source: SourceFacts, book: RecipeBook, adapters: Adapters) -> Lookups:
    """Where this job's things are looked up."""
    return Lookups(
        check_file=partial(find_file, tree),
        list_directory=partial(list_directory, tree),
        find_go=lambda: _find_go(job, book, source, adapters),
        registry=adapters.known,
        downloader=adapters.downloader,
        packages=adapters.apt,
        cache=adapters.workspace.downloads,
        note=adapters.progress.note,
    )


def bind_recipes(
    lock: "LockInUse | None", found: SourceTree, recipes: Recipes, adapters: Adapters
) -> tuple[SourceFacts, RecipeBook]:
    """The facts as the lock binds them, and the recipes that it was made with. Raises LockError where they are others."""
    bound = lock.bind_source(found.facts, found.origin) if lock else found.facts
    book = recipes.at(bound.release)
    if lock:
        lock.check_recipes(book, adapters.progress.note)
    return bound, book


def _import_what_plans() -> None:
    import builder.pipeline.clients
    import builder.plan.planner
    import builder.resolve.resolver  # noqa: F401


def _read_lock(job: Job) -> "LockInUse | None":
    if not job.locked:
        return None
    # With the schema of the file.
    from builder.resolve.lock_record import read_lock

    return read_lock(job.lock, strict=True)


def _told(job: Job, looked_up: str) -> str:
    """Of a release with its name: a run may be of several."""
    of = f"{job.source.release}: " if job.source.release else ""
    return f"{of}from {job.lock}" if job.locked else f"{of}{looked_up}"


def resolve_archives(job: Job, targets: tuple[str, ...], adapters: Adapters) -> ResolvedArchives:
    """Look up what archives of programs depend on, and plan them."""
    from builder.plan.archives import make_archive_plan
    from builder.resolve.asked import go_asked

    # As for images, so that one lock is made with the recipes of both.
    recipes = load_recipes(job.recipes, build_bases=job.request.build_bases)
    with adapters.progress.task("resolve", _told(job, "source, Go")) as task:
        lock_in_use = _read_lock(job)
        found = read_source_tree(job, adapters)
        source, book = bind_recipes(lock_in_use, found, recipes, adapters)
        job = fill_in_tags(job, source, adapters)
        held = lock_in_use.go(go_asked(job.request.go, source)) if lock_in_use else None
        go = held or _find_go(job, book, source, adapters)
        task.outcome = _outcome(source)
    warn_of(found.origin, source, recipes, adapters)
    plan = make_archive_plan(job.request, book, Lock(source=source, go=go, bases=(), artifacts=()), targets)
    return ResolvedArchives(tree=found.tree, origin=found.origin, book=book, go=go, plan=plan)


def choose_engine(job: Job, resolved: Resolved, adapters: Adapters, *, loads: bool = False) -> Engine:
    """What assembles the images of a job; `loads`: they are to go into the local Docker engine, too.

    Raises RequestError, before any work, where the built-in engine is asked for what only Docker can do.
    """
    return adapters.late_engine(job.engine, "--load" if loads else _what_needs_docker(resolved))


def build_context(
    resolved: Resolved, work: Path, engine: Engine, adapters: Adapters, *, whole: bool, fail_fast: bool
) -> BuildContext:
    """All that building this job needs of the world; `work` is the job's directory, `whole` layouts hold their bases' layers.

    With `fail_fast` the first image that fails ends the others.
    """
    find_compiler = partial(adapters.compiler_for, resolved.lock.go, resolved.book)
    context = adapters.build_context(resolved.tree, work, engine, find_compiler, whole=whole)
    return replace(context, fail_fast=fail_fast)


def _what_needs_docker(resolved: Resolved) -> str:
    """The first thing that the built-in engine cannot do, "" where there is none."""
    from builder.plan.assembly import assembly_target
    from builder.plan.dockerfile import unlike_values

    if resolved.lock.go.image:
        return "--compile-in"
    for image in resolved.plan.images:
        for platform in image.platforms:
            instruction = unlike_values(assembly_target(image, platform, Path(), resolved.plan.source_date_epoch))
            if instruction:
                return f"{image.key}: the template {image.template}, where it differs from its recipe in `{instruction}`,"
    return ""


def make_archives(resolved: ResolvedArchives, into: Path, work: Path, adapters: Adapters) -> "tuple[WrittenArchive, ...]":
    """Compile and write the archives of a plan."""
    from builder.build.archives import write_archives

    context = CompileContext(
        tree=resolved.tree,
        work=work,
        find_compiler=lambda: adapters.compiler_for(resolved.go, resolved.book),
        progress=adapters.progress,
        cancellation=adapters.cancellation,
    )
    return write_archives(resolved.plan, into, context)


def _find_go(job: Job, book: RecipeBook, source: SourceFacts, adapters: Adapters) -> LockedGo:
    if job.request.go.image:
        return lock_compile_image(job.request.go.image, adapters.known)
    wish, warn = job.request.go.version, adapters.progress.warn
    chosen = choose_go(wish, source.go_directive, book.release.go, adapters.go, warn)
    return LockedGo(version=chosen.toolchain.version, reason=chosen.reason)


def _outcome(source: SourceFacts) -> str:
    count = len(source.patches)
    patched = f" and {count} {'patch' if count == 1 else 'patches'}" if count else ""
    return f"commit {source.state.commit[:12]}{patched}"


def warn_of(tree: Path, source: SourceFacts, recipes: Recipes, adapters: Adapters) -> None:
    """Say what of the source people should know."""
    if recipes.is_ahead(source.release):
        adapters.progress.warn(recipes.note(source.release))
    if source.state.dirty:
        adapters.progress.warn(f"{tree} has changes that are not committed; the version stamp says so.")
