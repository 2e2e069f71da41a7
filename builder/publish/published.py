"""What the hubs hold already of a plan's images, whole and made from the same inputs."""

from builder.images.pull import PulledImage, pull
from builder.plan.model import ImagePlan, MirrorPlan
from builder.ports import RegistryReader


def find_mirrored(plan: MirrorPlan, registry: RegistryReader) -> tuple[PulledImage, ...]:
    """A mirror that every hub already holds, whole, whatever its tags are, as each hub has it; else nothing."""
    repositories = dict.fromkeys(reference.repository for reference in plan.references)
    images = tuple(pull(repository.at(plan.digest), registry) for repository in repositories)
    return images if all(image.index and not image.problems for image in images) else ()


def find_published(plan: ImagePlan, registry: RegistryReader, *, merge: bool = False) -> tuple[PulledImage, ...]:
    """An image that every hub already holds, whole and made from the same inputs, as each hub has it; else nothing.

    With `merge` it may have more platforms than the plan.
    """
    firsts = {reference.repository: reference for reference in reversed(plan.references)}.values()
    found: list[PulledImage] = []
    for reference in firsts:
        image = pull(reference, registry)
        if image.problems or not _is_made_of(image, plan, merge=merge):
            return ()
        if found and found[0].index != image.index:
            return ()
        found.append(image)
    return tuple(found)


def _is_made_of(image: PulledImage, plan: ImagePlan, *, merge: bool) -> bool:
    wanted = {str(platform.platform): platform.fingerprint for platform in plan.platforms}
    there = {str(platform.platform) for platform in image.platforms}
    if merge:
        return wanted.keys() <= there and wanted.items() <= image.inputs.items()
    return wanted.keys() == there and image.fingerprint == plan.fingerprint
