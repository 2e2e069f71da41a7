"""What the hubs hold already of a plan's images, whole and made from the same inputs; and of the others, why not."""

from dataclasses import dataclass

from builder.images.pull import PulledImage, pull
from builder.oci.reference import ImageReference, Repository
from builder.plan.model import ImagePlan, MirrorPlan
from builder.ports import RegistryReader
from builder.publish.reasons import Reason, explain, explain_difference, explain_mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An image as each hub has it, or why it is to be made: one of the two is empty."""

    images: tuple[PulledImage, ...] = ()
    reasons: tuple[Reason, ...] = ()


def find_mirrored(plan: MirrorPlan, registry: RegistryReader) -> Found:
    """A mirror that every hub already holds, whole, whatever its tags are."""
    repositories = dict.fromkeys(reference.repository for reference in plan.references)
    images = tuple(pull(repository.at(plan.digest), registry) for repository in repositories)
    reasons = tuple(reason for image in images if not image.index or image.problems for reason in explain_mirror(image))
    return Found(reasons=reasons) if reasons else Found(images=images)


def find_published(plan: ImagePlan, registry: RegistryReader, *, merge: bool = False) -> Found:
    """An image that every hub already holds, whole and made from the same inputs. The first hub that does not has the reasons.

    With `merge` it may have more platforms than the plan.
    """
    firsts: dict[Repository, ImageReference] = {}
    for reference in plan.references:
        firsts.setdefault(reference.repository, reference)
    found: list[PulledImage] = []
    for reference in firsts.values():
        image = pull(reference, registry)
        if image.problems or not _is_made_of(image, plan, merge=merge):
            return Found(reasons=explain(plan, image, merge=merge))
        if found and found[0].index != image.index:
            return Found(reasons=(explain_difference(found[0], image),))
        found.append(image)
    return Found(images=tuple(found))


def _is_made_of(image: PulledImage, plan: ImagePlan, *, merge: bool) -> bool:
    wanted = {str(platform.platform): platform.fingerprint for platform in plan.platforms}
    there = {str(platform.platform) for platform in image.platforms}
    if merge:
        return wanted.keys() <= there and wanted.items() <= image.inputs.items()
    return wanted.keys() == there and image.fingerprint == plan.fingerprint
