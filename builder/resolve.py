"""Resolves a request into a lock: looks up base images and artifacts, reads the source, asks which Go it is to be.

Reads only what the chosen images need, and writes nothing but downloads into the cache.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from builder.errors import BaseImageError, RequestError
from builder.lock import ListedDirectory, Lock, LockedBase, LockedBasePlatform, LockedGo, SourceFacts
from builder.oci import ImageConfig, Manifest
from builder.plan import recipe_values, select_images
from builder.ports import Downloader, PackageFinder, Registry
from builder.recipe import ImageRecipe
from builder.recipe_book import RecipeBook
from builder.reference import ImageReference, Platform
from builder.render import render_text
from builder.request import Request
from builder.resolve_artifact import ArtifactFinder
from builder.resolve_mirror import check_mirror_names, resolve_mirror
from builder.resolve_packages import resolve_packages


def resolve(
    request: Request,
    book: RecipeBook,
    source: SourceFacts,
    find_go: Callable[[], LockedGo],
    registry: Registry,
    downloader: Downloader,
    list_directory: Callable[[str], ListedDirectory],
    packages: PackageFinder | None = None,
    *,
    cache: Path,
    note: Callable[[str], None],
) -> Lock:
    """The lock of this request. Raises the errors of its parts: RequestError, BaseImageError, ArtifactError, …

    `cache` has downloads by their sha256; `note` is told what people should know.
    """
    chosen = select_images(request, book)
    _check_base_names(request, book)
    values = recipe_values(request, book.release, source)
    check_mirror_names(request, book)
    base_names, artifact_names, directory_names = _used_names(chosen)
    finder = ArtifactFinder(request, book.release, values, downloader, registry, cache, note)
    # Threads because each look-up is a round trip or three to some registry or web server.
    with ThreadPoolExecutor(max_workers=8) as pool:
        go = pool.submit(find_go if any(recipe.binaries for recipe, _ in chosen) else lambda: LockedGo(version=""))
        bases = [pool.submit(_resolve_base, name, request, book, values, registry) for name in base_names]
        artifacts = [pool.submit(finder.find, name, platform) for name in artifact_names for platform in request.platforms]
        mirrors = [pool.submit(resolve_mirror, recipe, request, book, values, registry) for recipe, _ in chosen if recipe.mirror]
        roots = [(recipe, platform) for recipe, _ in chosen if recipe.rootfs for platform in request.platforms]
        found = [pool.submit(resolve_packages, recipe, platform, request, book, packages) for recipe, platform in roots]
        return Lock(
            source=source,
            go=go.result(),
            bases=tuple(base.result() for base in bases),
            artifacts=tuple(artifact.result() for artifact in artifacts),
            mirrors=tuple(mirror.result() for mirror in mirrors),
            packages=tuple(locked.result() for locked in found),
            directories=tuple(list_directory(name) for name in directory_names),
        )


def _used_names(chosen: Sequence[tuple[ImageRecipe, tuple[str, ...]]]) -> tuple[list[str], list[str], list[str]]:
    """The bases, artifacts and directories that these recipes, in these variants, are made of."""
    bases = {recipe.variants[name].base for recipe, names in chosen for name in names if not recipe.mirror}
    artifacts = {file.artifact for recipe, _ in chosen for file in recipe.artifacts}
    directories = {directory.source for recipe, _ in chosen for directory in recipe.directories}
    return sorted(bases), sorted(artifacts), sorted(directories)


def _check_base_names(request: Request, book: RecipeBook) -> None:
    for name, _ in request.bases:
        if name not in book.release.bases:
            raise RequestError(f"there is no base {name!r}", hint=f"Known bases: {', '.join(sorted(book.release.bases))}.")


def _resolve_base(name: str, request: Request, book: RecipeBook, values: Mapping[str, Any], registry: Registry) -> LockedBase:
    text = dict(request.bases).get(name) or render_text(book.release.bases[name], values, f"release.yaml: bases.{name}")
    reference = ImageReference.parse(text)
    manifest = registry.get_manifest(reference)
    if manifest is None:
        raise BaseImageError(
            f"base image {reference} ({name}) does not exist",
            hint=f"Name another with --base {name}=REFERENCE, or another registry for all with --base-registry.",
        )
    platforms = tuple(_resolve_base_platform(reference, manifest, platform, registry) for platform in request.platforms)
    return LockedBase(name=name, reference=reference.pinned(manifest.digest), platforms=platforms)


def _resolve_base_platform(
    reference: ImageReference, manifest: Manifest, platform: Platform, registry: Registry
) -> LockedBasePlatform:
    if manifest.is_index:
        child = next((child for child in manifest.children() if child.platform == platform), None)
        if child is None:
            # Attestations are listed as unknown/unknown.
            present = sorted(
                str(child.platform) for child in manifest.children() if child.platform and child.platform.os != "unknown"
            )
            raise _lacks_platform(reference, platform, present)
        found = registry.get_manifest(reference.repository.at(child.digest))
        if found is None:
            raise BaseImageError(
                f"base image {reference} lists {platform}, but its manifest {child.digest} is missing",
                hint="The registry holds half an image, as mirrors do that copied one platform only: copy it again.",
            )
        manifest = found
    config = ImageConfig.parse(registry.get_blob(reference.repository, manifest.config()))
    if config.platform != platform:
        raise _lacks_platform(reference, platform, [str(config.platform)])
    layers = tuple(layer.digest for layer in manifest.layers())
    return LockedBasePlatform(platform=platform, manifest=manifest.digest, config=config, layers=layers)


def _lacks_platform(reference: ImageReference, platform: Platform, present: list[str]) -> BaseImageError:
    return BaseImageError(
        f"base image {reference} has no {platform}; it has {', '.join(present) or 'no platform at all'}",
        hint="Take a base image for every platform (--base NAME=REFERENCE), or choose platforms with --platform.",
    )
