"""Explains images: reads the source and the recipes, and says where each thing comes from. Asks no registry, and runs no Go."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from builder.config.request import Request
from builder.config.settings import Job
from builder.explain.evidence import Bound, Evidence
from builder.explain.fact import Explanation, Origin
from builder.explain.image import explain_image
from builder.oci.reference import Hub
from builder.pipeline.prepare import bind_recipes, fill_in_tags, find_lookups, warn_of
from builder.pipeline.source_tree import read_source_tree
from builder.pipeline.wiring import Adapters
from builder.plan.lock import SourceFacts
from builder.plan.selection import recipe_values, select_images
from builder.recipe.book import GROUPS, RecipeBook, Recipes
from builder.recipe.loader import load_recipes, shipped
from builder.recipe.schema import ImageRecipe
from builder.recipe.yaml_file import Location
from builder.resolve.artifacts import ArtifactFinder
from builder.resolve.asked import go_asked
from builder.resolve.bases import base_reference, check_base_names
from builder.resolve.held import LockInUse
from builder.resolve.lock_record import read_lock
from builder.resolve.lookups import Lookups
from builder.resolve.mirrors import check_mirror_names
from builder.resolve.source_lines import find_source_lines

Chosen = tuple[ImageRecipe, tuple[str, ...]]
# Stands where the hub of a push would.
_NO_HUB = Hub("HUB", "")


def explain_job(job: Job, adapters: Adapters, names: Sequence[str] = ()) -> Explanation:
    """Explain these images (`proxyv2`, `proxyv2-distroless`, or a group), or those of the job.

    Raises RequestError for an unknown one, and what reading the source and the recipes raises.
    """
    job = replace(job, request=replace(job.request, hubs=job.request.hubs or (_NO_HUB,)))
    recipes = load_recipes(job.recipes, build_bases=job.request.build_bases)
    with adapters.progress.task("resolve", "source") as task:
        lock = read_lock(job.lock, strict=True) if job.locked else None
        found = read_source_tree(job, adapters)
        source, book = bind_recipes(lock, found, recipes, adapters)
        job = fill_in_tags(job, source, adapters)
        task.outcome = f"commit {source.state.commit[:12]}"
    warn_of(found.origin, source, recipes, adapters)
    lookups = find_lookups(job, found.tree, source, book, adapters)
    evidence = gather_evidence(job, found.tree, source, recipes, lookups)
    if lock:
        evidence = replace(evidence, bound=bound_by(lock, evidence))
    return explain_images(evidence, choose_images(job.request, book, names))


def gather_evidence(job: Job, tree: Path, source: SourceFacts, recipes: Recipes, lookups: Lookups) -> Evidence:
    """What is known of a job once its source is read; of the look-ups only those are used that ask nobody.

    Raises RequestError for settings of a base or a copy that there is not.
    """
    book = recipes.at(source.release)
    check_base_names(job.request, book)
    check_mirror_names(job.request, book)
    values = recipe_values(job.request, book.release, source)
    finder = ArtifactFinder(request=job.request, release=book.release, values=values, lookups=lookups)
    return Evidence(
        request=job.request,
        recipes=recipes,
        book=book,
        source=source,
        tree=str(tree),
        lines=find_source_lines(tree),
        settings=job.settings,
        places=finder.places_by_source,
        list_directory=lookups.list_directory,
    )


def explain_images(evidence: Evidence, chosen: Sequence[Chosen]) -> Explanation:
    """Explain these recipes, each in these variants."""
    return Explanation(
        release=str(evidence.book.istio),
        version=evidence.values["version"],
        commit=evidence.source.state.commit,
        tree=evidence.tree,
        shipped=str(shipped("recipes").parent),
        images=tuple(explain_image(evidence, recipe, variants) for recipe, variants in chosen),
    )


def choose_images(request: Request, book: RecipeBook, names: Sequence[str]) -> tuple[Chosen, ...]:
    """The recipes that these names mean, each with its variants; a name may have the variant behind it.

    Raises RequestError, with the nearest name, for one that there is not.
    """
    if not names:
        return select_images(request, book)
    variants = {f"{recipe.image}-{name}": (recipe.image, name) for recipe in book.images for name in recipe.variant_names}
    known = {recipe.image for recipe in book.images} | set(GROUPS)
    found: dict[str, tuple[ImageRecipe, dict[str, None]]] = {}
    for name in names:
        wanted = replace(request, images=(name,))
        if name not in known and name in variants:
            image, variant = variants[name]
            wanted = replace(request, images=(image,), variants=(variant,))
        for recipe, chosen in select_images(wanted, book):
            found.setdefault(recipe.image, (recipe, {}))[1].update(dict.fromkeys(chosen))
    return tuple((recipe, tuple(chosen)) for recipe, chosen in found.values())


def bound_by(lock: LockInUse, evidence: Evidence) -> Bound:
    """What the lock has for what is asked for: a push refuses the rest of it."""
    request, book, go = evidence.request, evidence.book, lock.file.go
    bases = [
        (name, entry.digest, _at(lock, ("bases", name, "digest")))
        for name, entry in lock.file.bases.items()
        if name in book.release.bases and entry.asked == str(base_reference(name, request, book, evidence.values))
    ]
    holds_go = go and go.version and go.asked == go_asked(request.go, evidence.source)
    return Bound(bases=tuple(bases), go=(go.version, _at(lock, ("go", "version"))) if go and holds_go else None)


def _at(lock: LockInUse, location: Location) -> Origin:
    path, _, line = lock.where(location).rpartition(":")
    return Origin(kind="lock", path=path, line=int(line), key=".".join(map(str, location)))
