"""Resolves a request into a lock: looks up base images and artifacts, reads the source, asks which Go it is to be.

Reads only what the chosen images need, and writes nothing but downloads into the cache.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from builder.config.request import Request
from builder.plan.lock import Lock, LockedGo, SourceFacts
from builder.plan.selection import recipe_values, select_images
from builder.recipe.book import RecipeBook
from builder.recipe.schema import BuiltImage, ImageRecipe, Mirror, RootfsImage
from builder.resolve.artifacts import ArtifactFinder
from builder.resolve.bases import check_base_names, resolve_base
from builder.resolve.lookups import Lookups
from builder.resolve.mirrors import check_mirror_names, resolve_mirror
from builder.resolve.packages import resolve_packages
from builder.resolve.tree_files import find_tree_files


def resolve(request: Request, book: RecipeBook, source: SourceFacts, lookups: Lookups) -> Lock:
    """The lock of this request. Raises the errors of its parts: RequestError, SourceError, BaseImageError, ArtifactError, …"""
    chosen = select_images(request, book)
    built = tuple(recipe for recipe, _ in chosen if isinstance(recipe, BuiltImage))
    check_base_names(request, book)
    check_mirror_names(request, book)
    directories = find_tree_files(built, book, lookups)
    values = recipe_values(request, book.release, source)
    base_names, artifact_names = _used_names(chosen)
    finder = ArtifactFinder(request=request, release=book.release, values=values, lookups=lookups)
    registry, find_go = lookups.registry, lookups.find_go
    # Threads because each look-up is a round trip or three to some registry or web server.
    with ThreadPoolExecutor(max_workers=8) as pool:
        go = pool.submit(find_go if any(recipe.binaries for recipe in built) else lambda: LockedGo(version=""))
        bases = [pool.submit(resolve_base, name, request, book, values, registry) for name in base_names]
        artifacts = [pool.submit(finder.find, name, platform) for name in artifact_names for platform in request.platforms]
        mirrors = [
            pool.submit(resolve_mirror, recipe, request, book, values, registry)
            for recipe, _ in chosen
            if isinstance(recipe, Mirror)
        ]
        packages = [
            pool.submit(resolve_packages, recipe, platform, request, book, lookups.packages)
            for recipe, _ in chosen
            if isinstance(recipe, RootfsImage)
            for platform in request.platforms
        ]
        return Lock(
            source=source,
            go=go.result(),
            bases=tuple(base.result() for base in bases),
            artifacts=tuple(artifact.result() for artifact in artifacts),
            mirrors=tuple(mirror.result() for mirror in mirrors),
            packages=tuple(locked.result() for locked in packages),
            directories=directories,
        )


def _used_names(chosen: Sequence[tuple[ImageRecipe, tuple[str, ...]]]) -> tuple[list[str], list[str]]:
    """The bases and artifacts that these recipes, in these variants, are made of."""
    built = [(recipe, names) for recipe, names in chosen if isinstance(recipe, BuiltImage)]
    bases = {recipe.variants[name].base for recipe, names in built for name in names}
    artifacts = {file.artifact for recipe, _ in built for file in recipe.artifacts}
    return sorted(bases), sorted(artifacts)
