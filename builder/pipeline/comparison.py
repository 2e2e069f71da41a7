"""What a push of a plan would do at the hubs, found out by looking: nothing is built, sent or moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.errors import PlatformLoss, TagKept, TakeOver
from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, ImageReference
from builder.pipeline.at_hubs import AtHubs, look_at_images
from builder.plan.model import ImagePlan, MirrorPlan, Plan
from builder.ports import Registry
from builder.publish.guards import Intended, Permissions, check_moves
from builder.publish.put_back import digest_of
from builder.publish.reasons import Reason
from builder.publish.tags import read_tags
from builder.runtime.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class TagMove:
    """A tag that would move: what it is (None: it is new), and what it would be (None: what is built, of no digest yet)."""

    reference: ImageReference
    before: Digest | None
    after: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedImage:
    """An image that is `unchanged` at the hubs, or would be `built` or `mirrored`, and why; and which of its tags would move."""

    key: str
    state: str
    reasons: tuple[Reason, ...]
    moves: tuple[TagMove, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a push would do; `refused` is what it would be refused with as it stands, "" where nothing."""

    images: tuple[ComparedImage, ...]
    refused: str = ""
    exit_code: int = 0


def compare_with_hubs(
    plan: Plan, registry: Registry, progress: Progress, permissions: Permissions, *, rebuild: bool
) -> Comparison:
    """Look at the hubs as a push with these permissions would. Raises RegistryError and AccessDenied."""
    at_hubs = look_at_images(plan.everything, registry, progress, merge=permissions.merge_platforms, rebuild=rebuild)
    seen = {image.reference: image.index for own in at_hubs.found.values() for image in own if image.reference.tag}
    unknown = [ref for image in plan.everything for ref in image.references if ref not in seen]
    tags: Mapping[ImageReference, Manifest | None] = {**seen, **read_tags(tuple(dict.fromkeys(unknown)), registry)}
    images = tuple(_compare(image, at_hubs, tags) for image in plan.everything)
    try:
        _check(plan, at_hubs, tags, permissions, registry)
    except (TagKept, TakeOver, PlatformLoss) as error:
        return Comparison(images=images, refused=error.message, exit_code=error.exit_code)
    return Comparison(images=images)


def _check(
    plan: Plan,
    at_hubs: AtHubs,
    tags: Mapping[ImageReference, Manifest | None],
    permissions: Permissions,
    registry: Registry,
) -> None:
    moves: dict[ImageReference, tuple[Intended, Manifest | None]] = {}
    for image in plan.everything:
        intended, found = Intended.of_plan(image), at_hubs.found.get(image.key, ())
        if found and found[0].index:
            intended = Intended.of_index(image.key, found[0].index)
        moves |= {reference: (intended, tags[reference]) for reference in image.references}
    check_moves(moves, permissions, plan.source_tag, registry)


def _compare(image: ImagePlan | MirrorPlan, at_hubs: AtHubs, tags: Mapping[ImageReference, Manifest | None]) -> ComparedImage:
    found = at_hubs.found.get(image.key, ())
    digest = image.digest if isinstance(image, MirrorPlan) else found[0].index.digest if found and found[0].index else None
    state = "unchanged" if found else "mirrored" if isinstance(image, MirrorPlan) else "built"
    reasons = at_hubs.reasons.get(image.key, ())
    return ComparedImage(key=image.key, state=state, reasons=reasons, moves=_moves(image.references, digest, tags))


def _moves(
    references: Sequence[ImageReference], digest: Digest | None, tags: Mapping[ImageReference, Manifest | None]
) -> tuple[TagMove, ...]:
    there = {reference: digest_of(manifest) for reference, manifest in tags.items()}
    return tuple(
        TagMove(reference=reference, before=there[reference], after=digest)
        for reference in references
        if digest is None or there[reference] != digest
    )
