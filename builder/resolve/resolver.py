"""Resolves a request into a lock: looks up base images and artifacts, reads the source, asks which Go it is to be.

Reads only what the chosen images need, and writes nothing but downloads into the cache.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from builder.config.request import Request
from builder.oci.reference import Platform
from builder.plan.lock import Lock, LockedArtifact, LockedBase, LockedGo, LockedMirror, LockedPackages, SourceFacts
from builder.plan.selection import recipe_values, select_images
from builder.recipe.book import RecipeBook
from builder.recipe.schema import BuiltImage, ImageRecipe, Mirror, RootfsImage
from builder.resolve.artifacts import ArtifactFinder
from builder.resolve.asked import Asked
from builder.resolve.bases import check_base_names, resolve_base
from builder.resolve.lookups import Lookups
from builder.resolve.mirrors import check_mirror_names, resolve_mirror
from builder.resolve.packages import resolve_packages
from builder.resolve.tree_files import find_tree_files

if TYPE_CHECKING:
    from builder.resolve.held import Held, LockInUse


def what_is_asked(request: Request, book: RecipeBook, source: SourceFacts, lookups: Lookups) -> Asked:
    """What the request asks for, as a lock has it."""
    values = recipe_values(request, book.release, source)
    finder = ArtifactFinder(request=request, release=book.release, values=values, lookups=lookups)
    return Asked(request=request, book=book, source=source, values=values, finder=finder)


def resolve(request: Request, book: RecipeBook, source: SourceFacts, lookups: Lookups, lock: "LockInUse | None" = None) -> Lock:
    """The lock of this request; what `lock` binds is not looked up.

    Raises the errors of its parts: LockError, RequestError, SourceError, BaseImageError, ArtifactError, …
    """
    chosen = select_images(request, book)
    built = tuple(recipe for recipe, _ in chosen if isinstance(recipe, BuiltImage))
    check_base_names(request, book)
    check_mirror_names(request, book)
    directories = find_tree_files(built, book, lookups)
    look = Looking(what_is_asked(request, book, source, lookups), lookups, lock)
    base_names, artifact_names = used_names(chosen)
    mirrored = [recipe for recipe, _ in chosen if isinstance(recipe, Mirror)]
    made = [recipe for recipe, _ in chosen if isinstance(recipe, RootfsImage)]
    # Threads because each look-up is a round trip or three to some registry or web server.
    with ThreadPoolExecutor(max_workers=8) as pool:
        go = pool.submit(look.go if any(recipe.binaries for recipe in built) else lambda: LockedGo(version=""))
        bases = [pool.submit(look.base, name) for name in base_names]
        artifacts = [pool.submit(look.artifact, name, platform) for name in artifact_names for platform in request.platforms]
        mirrors = [pool.submit(look.mirror, recipe) for recipe in mirrored]
        packages = [pool.submit(look.packages, recipe, platform) for recipe in made for platform in request.platforms]
        return Lock(
            source=source,
            go=go.result(),
            bases=tuple(base.result() for base in bases),
            artifacts=tuple(artifact.result() for artifact in artifacts),
            mirrors=tuple(mirror.result() for mirror in mirrors),
            packages=tuple(locked.result() for locked in packages),
            directories=directories,
        )


class Looking:
    """Takes each thing from the lock where that has it, and looks it up where not."""

    def __init__(self, asked: Asked, lookups: Lookups, lock: "LockInUse | None") -> None:
        self._asked = asked
        self._lookups = lookups
        self._held = _held(lock, asked, lookups) if lock else None

    def go(self) -> LockedGo:
        """The Go that compiles."""
        return (self._held and self._held.go()) or self._lookups.find_go()

    def base(self, name: str) -> LockedBase:
        """A base of release.yaml. Raises BaseImageError, and, as the rest, LockError."""
        held = self._held and self._held.base(name)
        asked, registry = self._asked, self._lookups.registry
        return held or resolve_base(name, asked.request, asked.book, asked.values, registry)

    def artifact(self, name: str, platform: Platform) -> LockedArtifact:
        """An artifact of release.yaml. Raises ArtifactError."""
        return (self._held and self._held.artifact(name, platform)) or self._asked.finder.find(name, platform)

    def mirror(self, recipe: Mirror) -> LockedMirror:
        """An image to copy. Raises BaseImageError."""
        held = self._held and self._held.mirror(recipe.image)
        asked, registry = self._asked, self._lookups.registry
        return held or resolve_mirror(recipe, asked.request, asked.book, asked.values, registry)

    def packages(self, recipe: RootfsImage, platform: Platform) -> LockedPackages:
        """The packages of an image that is made of them. Raises BaseImageError."""
        held = self._held and self._held.packages(recipe.image, platform)
        asked, finder = self._asked, self._lookups.packages
        return held or resolve_packages(recipe, platform, asked.request, asked.book, finder)


def used_names(chosen: Sequence[tuple[ImageRecipe, tuple[str, ...]]]) -> tuple[list[str], list[str]]:
    """The bases and artifacts that these recipes, in these variants, are made of."""
    built = [(recipe, names) for recipe, names in chosen if isinstance(recipe, BuiltImage)]
    bases = {recipe.variants[name].base for recipe, names in built for name in names}
    artifacts = {file.artifact for recipe, _ in built for file in recipe.artifacts}
    return sorted(bases), sorted(artifacts)


def _held(lock: "LockInUse", asked: Asked, lookups: Lookups) -> "Held":
    # With the schema of the file, which nobody has read where there is no lock.
    from builder.resolve.held import Held

    return Held(lock=lock, asked=asked, registry=lookups.registry)
