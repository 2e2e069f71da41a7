"""Binds the image that programs are compiled in to a digest, and asks it for its Go."""

from builder.errors import BaseImageError
from builder.oci.manifest import ImageConfig, Manifest
from builder.oci.reference import ImageReference
from builder.plan.lock import LockedGo
from builder.ports import ImageReader

# What golang's own images on Docker Hub, and most of those made from them, say.
_VERSION_VARIABLE = "GOLANG_VERSION"


def lock_compile_image(name: str, registry: ImageReader) -> LockedGo:
    """The image, and the version of Go where its configuration tells it.

    Raises RequestError for a malformed name, BaseImageError where there is no such image, RegistryError.
    """
    reference = ImageReference.parse(name)
    manifest = registry.get_manifest(reference)
    if manifest is None:
        raise BaseImageError(
            f"the image to compile in, {reference}, does not exist",
            hint="--compile-in names an image with Go and git, such as golang:1.25-bookworm.",
        )
    pinned = reference.pinned(manifest.digest)
    version = _version(reference, manifest, registry)
    what = f"{_VERSION_VARIABLE} of {pinned}" if version else f"Go of {pinned}"
    return LockedGo(version=version, reason=what, image=pinned)


def _version(reference: ImageReference, manifest: Manifest, registry: ImageReader) -> str:
    """All platforms of one image hold one Go, so any will do; attestations are listed as unknown/unknown."""
    found: Manifest | None = manifest
    if manifest.is_index:
        children = [child for child in manifest.children() if child.platform and child.platform.os == "linux"]
        found = registry.get_manifest(reference.repository.at(children[0].digest)) if children else None
    if found is None:
        return ""
    config = ImageConfig.parse(registry.get_blob(reference.repository, found.config()))
    return dict(config.env).get(_VERSION_VARIABLE, "")
