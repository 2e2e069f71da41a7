"""What the hubs hold already of a plan's images, whole and made from the same inputs."""

from builder.images.pull import pull
from builder.oci.manifest import Manifest
from builder.plan.model import ImagePlan, MirrorPlan
from builder.ports import RegistryReader


def find_mirrored(plan: MirrorPlan, registry: RegistryReader) -> Manifest | None:
    """The index of a mirror that every hub already holds, whole, whatever its tags are; else None."""
    found = None
    for repository in dict.fromkeys(reference.repository for reference in plan.references):
        image = pull(repository.at(plan.digest), registry)
        if image.problems or image.index is None:
            return None
        found = image.index
    return found


def find_published(plan: ImagePlan, registry: RegistryReader) -> Manifest | None:
    """The index of an image that every hub already holds, whole and made from the same inputs; else None."""
    wanted = sorted(image.platform for image in plan.platforms)
    firsts = {reference.repository: reference for reference in reversed(plan.references)}.values()
    found = None
    for reference in firsts:
        image = pull(reference, registry)
        platforms = sorted(platform.platform for platform in image.platforms)
        if image.problems or image.fingerprint != plan.fingerprint or platforms != wanted:
            return None
        if found and image.index and found.digest != image.index.digest:
            return None
        found = image.index
    return found
