"""What the hubs hold already of a plan's images, whole and made from the same inputs."""

from builder.images.pull import PulledImage, pull
from builder.plan.model import ImagePlan, MirrorPlan
from builder.ports import RegistryReader


def find_mirrored(plan: MirrorPlan, registry: RegistryReader) -> tuple[PulledImage, ...]:
    """A mirror that every hub already holds, whole, whatever its tags are, as each hub has it; else nothing."""
    repositories = dict.fromkeys(reference.repository for reference in plan.references)
    images = tuple(pull(repository.at(plan.digest), registry) for repository in repositories)
    return images if all(image.index and not image.problems for image in images) else ()


def find_published(plan: ImagePlan, registry: RegistryReader) -> tuple[PulledImage, ...]:
    """An image that every hub already holds, whole and made from the same inputs, as each hub has it; else nothing."""
    wanted = sorted(image.platform for image in plan.platforms)
    firsts = {reference.repository: reference for reference in reversed(plan.references)}.values()
    found: list[PulledImage] = []
    for reference in firsts:
        image = pull(reference, registry)
        platforms = sorted(platform.platform for platform in image.platforms)
        if image.problems or image.fingerprint != plan.fingerprint or platforms != wanted:
            return ()
        if found and found[0].index != image.index:
            return ()
        found.append(image)
    return tuple(found)
