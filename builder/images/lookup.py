"""Looks for the manifest of one platform, and says what it means where there is none."""

from builder.errors import BaseImageError
from builder.oci.manifest import Descriptor
from builder.oci.reference import ImageReference


def lacks_manifest(image: str, reference: ImageReference, child: Descriptor) -> BaseImageError:
    """The error where an index lists what its registry does not have."""
    return BaseImageError(
        f"{image}: {reference} lists {child.platform or 'a manifest'}, but {child.digest} is missing",
        hint="That registry holds half an image, as mirrors do that copied one platform only: copy it again with all of it "
        f"(`crane copy`, `skopeo copy --all`), or name another source with --mirror-from {image}=REFERENCE.",
    )
