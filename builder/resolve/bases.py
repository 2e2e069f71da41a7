"""Looks up base images: the digest of each, and of each platform in it."""

from collections.abc import Mapping
from typing import Any

from builder.config.request import Request
from builder.errors import BaseImageError, RequestError
from builder.oci.manifest import ImageConfig, Manifest
from builder.oci.reference import Digest, ImageReference, Platform
from builder.plan.lock import LockedBase, LockedBasePlatform
from builder.ports import ImageReader
from builder.recipe.book import RecipeBook
from builder.recipe.template import render_text


def check_base_names(request: Request, book: RecipeBook) -> None:
    """Raises RequestError for a --base that release.yaml does not know."""
    for name, _ in request.bases:
        if name not in book.release.bases:
            raise RequestError(f"there is no base {name!r}", hint=f"Known bases: {', '.join(sorted(book.release.bases))}.")


def base_reference(name: str, request: Request, book: RecipeBook, values: Mapping[str, Any]) -> ImageReference:
    """The image that this base is asked for by: the user's, else the recipe's. Raises RequestError."""
    text = dict(request.bases).get(name) or render_text(book.release.bases[name], values, f"release.yaml: bases.{name}")
    return ImageReference.parse(text)


def resolve_base(name: str, request: Request, book: RecipeBook, values: Mapping[str, Any], registry: ImageReader) -> LockedBase:
    """A base image bound to its digests. Raises BaseImageError where it, or a platform of it, is missing."""
    reference = base_reference(name, request, book, values)
    manifest = registry.get_manifest(reference)
    if manifest is None:
        raise BaseImageError(
            f"base image {reference} ({name}) does not exist",
            hint=f"Name another with --base {name}=REFERENCE, or another registry for all with --base-registry. "
            "A mirror that lacks it yet, as when a patch has just come out, is filled by `istio-build push --image bases`.",
        )
    platforms = tuple(_resolve_base_platform(reference, manifest, platform, registry) for platform in request.platforms)
    return LockedBase(name=name, reference=reference.pinned(manifest.digest), platforms=platforms)


def _resolve_base_platform(
    reference: ImageReference, manifest: Manifest, platform: Platform, registry: ImageReader
) -> LockedBasePlatform:
    if manifest.is_index:
        child = manifest.child_for(platform)
        if child is None:
            raise _lacks_platform(reference, platform, sorted(map(str, manifest.platforms())))
        found = registry.get_manifest(reference.repository.at(child.digest))
        if found is None:
            raise BaseImageError(
                f"base image {reference} lists {platform}, but its manifest {child.digest} is missing",
                hint="The registry holds half an image, as mirrors do that copied one platform only: copy it again.",
            )
        manifest = found
    return _read_platform(reference, manifest, platform, registry)


def read_pinned_platform(
    reference: ImageReference, digest: Digest, platform: Platform, registry: ImageReader
) -> LockedBasePlatform:
    """One platform of a base image by the digest of its manifest. Raises BaseImageError where that is gone."""
    manifest = registry.get_manifest(reference.repository.at(digest))
    if manifest is None:
        raise BaseImageError(
            f"base image {reference}: its manifest {digest} for {platform} is not there any more",
            hint="A registry that keeps it is named with --base or --base-registry, and bound by `istio-build lock`.",
        )
    return _read_platform(reference, manifest, platform, registry)


def _read_platform(
    reference: ImageReference, manifest: Manifest, platform: Platform, registry: ImageReader
) -> LockedBasePlatform:
    config = ImageConfig.parse(registry.get_blob(reference.repository, manifest.config()))
    if config.platform != platform:
        raise _lacks_platform(reference, platform, [str(config.platform)])
    return LockedBasePlatform(platform=platform, manifest=manifest.digest, config=config, layers=manifest.layers())


def _lacks_platform(reference: ImageReference, platform: Platform, present: list[str]) -> BaseImageError:
    return BaseImageError(
        f"base image {reference} has no {platform}; it has {', '.join(present) or 'no platform at all'}",
        hint="Take a base image for every platform (--base NAME=REFERENCE), or choose platforms with --platform.",
    )
