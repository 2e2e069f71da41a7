"""What the hubs hold of a plan's images, and why the others are to be made: before a push does anything."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from builder.images.one_look import OneLook
from builder.images.pull import PulledImage
from builder.pipeline.report import Report
from builder.plan.model import ImagePlan, MirrorPlan
from builder.ports import RegistryReader
from builder.publish.published import Found, find_mirrored, find_published
from builder.publish.reasons import REBUILD, Reason, gather
from builder.runtime.progress import Progress
from builder.runtime.text import counted

_PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AtHubs:
    """By the keys of images: those that every hub has, made from the same inputs and whole, and the reasons for the others."""

    found: Mapping[str, tuple[PulledImage, ...]]
    reasons: Mapping[str, tuple[Reason, ...]]


Reasons = Mapping[str, tuple[Reason, ...]]


def tell_reasons(reasons: Reasons, progress: Progress) -> None:
    """Say why something is to be made, before it is. `reasons` are by the keys of images."""
    for cause in gather(reasons):
        progress.tell_cause(
            kind=cause.reason.kind,
            text=cause.reason.text,
            images=cause.images,
            before=cause.reason.before,
            after=cause.reason.after,
        )


def explain_report(report: Report, reasons: Reasons) -> Report:
    """The report of a run with the reasons for what it made."""
    images = tuple(replace(image, reasons=reasons.get(image.key, ())) for image in report.images)
    return replace(report, images=images)


def look_at_images(
    images: Sequence[ImagePlan | MirrorPlan],
    registry: RegistryReader,
    progress: Progress,
    *,
    merge: bool,
    rebuild: bool,
    place: str = "the hub",
) -> AtHubs:
    """The hub remembers what it was given: what was made from the same inputs, and is whole there, is not made again.

    With `rebuild` everything is, and no hub is asked; with `merge` tags may have more platforms. `place` is what progress
    says. Raises RegistryError.
    """
    if rebuild:
        return AtHubs(found={}, reasons={image.key: (REBUILD,) for image in images})
    with (
        progress.task("look", f"{counted(len(images), 'image')} at {place}") as task,
        ThreadPoolExecutor(max_workers=_PARALLEL) as pool,
    ):
        look = OneLook(registry)
        looked = list(pool.map(lambda image: _find(image, look, merge=merge), images))
        by_key = {image.key: one for image, one in zip(images, looked, strict=True)}
        found = {key: one.images for key, one in by_key.items() if one.images}
        task.outcome = f"{len(found)} unchanged"
    return AtHubs(found=found, reasons={key: one.reasons for key, one in by_key.items() if not one.images})


def _find(image: ImagePlan | MirrorPlan, registry: RegistryReader, *, merge: bool) -> Found:
    return find_mirrored(image, registry) if isinstance(image, MirrorPlan) else find_published(image, registry, merge=merge)
