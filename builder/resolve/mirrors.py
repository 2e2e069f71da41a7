"""Looks up what is to be mirrored: the image's index, and every manifest that the index lists."""

from collections.abc import Mapping
from typing import Any

from builder.config.request import Request
from builder.errors import BaseImageError, RequestError
from builder.images.lookup import lacks_manifest
from builder.oci.manifest import Descriptor, ImageConfig, Manifest
from builder.oci.reference import ImageReference, Platform
from builder.plan.lock import LockedMirror
from builder.ports import ImageReader
from builder.recipe.book import RecipeBook
from builder.recipe.schema import Mirror
from builder.recipe.template import render_text


def check_mirror_names(request: Request, book: RecipeBook) -> None:
    """Raises RequestError where another source is named for an image that is no mirror."""
    known = [recipe.image for recipe in book.images if isinstance(recipe, Mirror)]
    for name, _ in request.mirror_sources:
        if name not in known:
            raise RequestError(
                f"--mirror-from {name}: there is no mirror {name!r}", hint=f"Known mirrors: {', '.join(known) or 'none'}."
            )


def resolve_mirror(
    recipe: Mirror, request: Request, book: RecipeBook, values: Mapping[str, Any], registry: ImageReader
) -> LockedMirror:
    """Bind a mirror to its digest. Raises BaseImageError where it lacks a platform that is asked for, or is not whole."""
    reference = mirror_reference(recipe, request, book, values)
    index = registry.get_manifest(reference)
    if index is None:
        raise BaseImageError(f"{recipe.image}: there is no {reference} to mirror", hint=_other_source(recipe))
    if not index.is_index:
        raise BaseImageError(
            f"{recipe.image}: {reference} is an image for one platform, not an index of several",
            hint=f"Its copy could serve one architecture only. {_other_source(recipe)}",
        )
    platforms = index.platforms()
    missing = [str(platform) for platform in request.platforms if platform not in platforms]
    if missing:
        raise BaseImageError(
            f"{recipe.image}: {reference} has no {' and no '.join(missing)}; it has {_list(platforms)}",
            hint=f"{_other_source(recipe)} Or choose platforms with --platform.",
        )
    for child in index.children():
        _check_child(recipe, reference, child, registry)
    return LockedMirror(image=recipe.image, source=reference.pinned(index.digest), platforms=platforms)


def mirror_reference(recipe: Mirror, request: Request, book: RecipeBook, values: Mapping[str, Any]) -> ImageReference:
    """What the user names for this mirror, else for the base image that it is one of, else the recipe's own."""
    named = dict(request.mirror_sources).get(recipe.image)
    if not named and recipe.group == "bases":
        named = dict(request.bases).get(recipe.image)
    return ImageReference.parse(named or render_text(recipe.mirror, values, f"{book.origin(recipe.image)}: mirror"))


def _check_child(recipe: Mirror, reference: ImageReference, child: Descriptor, registry: ImageReader) -> None:
    manifest = registry.get_manifest(reference.repository.at(child.digest))
    if manifest is None:
        raise lacks_manifest(recipe.image, reference, child)
    if child.platform is None:
        raise BaseImageError(
            f"{recipe.image}: {reference} lists {child.digest} without saying for which platform", hint=_other_source(recipe)
        )
    if manifest.is_index:
        raise BaseImageError(
            f"{recipe.image}: {reference} lists an index within its index, {child.digest}", hint=_other_source(recipe)
        )
    if child.is_runnable:
        _check_platform(recipe, reference, child.platform, manifest, registry)


def _check_platform(
    recipe: Mirror, reference: ImageReference, platform: Platform, manifest: Manifest, registry: ImageReader
) -> None:
    config = ImageConfig.parse(registry.get_blob(reference.repository, manifest.config()))
    if config.platform != platform:
        raise BaseImageError(
            f"{recipe.image}: the index of {reference} says {platform}, the image itself {config.platform}",
            hint=_other_source(recipe),
        )


def _other_source(recipe: Mirror) -> str:
    base = f" (or --base {recipe.image}=REFERENCE, --base-registry)" if recipe.group == "bases" else ""
    return f"Name another source with --mirror-from {recipe.image}=REFERENCE{base}."


def _list(platforms: tuple[Platform, ...]) -> str:
    return ", ".join(str(platform) for platform in platforms) or "no platform at all"
