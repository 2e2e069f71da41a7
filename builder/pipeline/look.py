"""What a push finds out at its hubs before its first long work: what is there, what tags may become, and who takes nothing."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from builder.images.one_look import OneLook
from builder.images.pull import PulledImage, pull
from builder.oci.manifest import Manifest
from builder.oci.reference import Hub, ImageReference, Repository
from builder.pipeline.hubs import HubGroups
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.release_at_hub import local_journal
from builder.plan.model import ImagePlan, MirrorPlan, Plan
from builder.ports import RegistryReader
from builder.publish.merge import Kept
from builder.publish.published import find_mirrored, find_published

_PARALLEL = 8

Found = Mapping[str, PulledImage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What each hub has of a plan's images, whole and made from the same inputs, and what is kept of their tags; by key."""

    plan: Plan
    found: Mapping[Hub, Found]
    kept: Mapping[str, Kept]

    def lacking(self, hubs: Collection[Hub]) -> frozenset[str]:
        """The images that one of these hubs lacks."""
        return frozenset(image.key for image in self.plan.everything if any(image.key not in self.found[hub] for hub in hubs))

    def index(self, key: str, hubs: Sequence[Hub]) -> Manifest | None:
        """What these hubs have, which all have the same."""
        return next((self.found[hub][key].index for hub in hubs if key in self.found[hub]), None)

    def holders(self, key: str) -> tuple[Repository, ...]:
        """The repositories that have an image whole."""
        return tuple(found[key].reference.repository for found in self.found.values() if key in found)


def plan_at(plan: Plan, *hubs: Hub) -> Plan:
    """The plan with the tags at these hubs alone."""
    return replace(
        plan,
        images=tuple(replace(image, references=_at(image, hubs)) for image in plan.images),
        mirrors=tuple(replace(mirror, references=_at(mirror, hubs)) for mirror in plan.mirrors),
    )


def look_at_hubs(plan: Plan, hubs: HubGroups, context: PublishContext, *, rebuild: bool) -> Look:
    """Look at all hubs, each by itself; one that fails, or where the tags must not become what is planned, is left out.

    Raises what a run ends with that has no hub left, and PlatformLoss where hubs cannot keep the same.
    """
    found = hubs.each(lambda hub: _look_at(plan_at(plan, hub), hubs.context(hub), rebuild=rebuild))
    look = Look(plan=plan, found=_same_everywhere(found), kept={})
    if not context.permissions.merge_platforms:
        look = replace(look, found=_with_untagged(look, hubs, context))
    lacking = look.lacking(hubs.left)
    if not lacking:
        # The tags move, or do not, in a moment: they are looked at then.
        return look
    guard = context.guard
    tags = hubs.each(lambda hub: guard.read(plan_at(plan, hub), look.found[hub]))
    everywhere = {reference: manifest for own in tags.values() for reference, manifest in own.items()}
    kept = guard.find_plan_kept(plan_at(plan, *tags), lacking, everywhere)
    hubs.each(lambda hub: guard.check_plan(plan_at(plan, hub), look.found[hub], tags[hub], kept))
    still = look.lacking(hubs.left)
    return replace(look, kept={key: one for key, one in kept.items() if key in still})


def _look_at(plan: Plan, context: PublishContext, *, rebuild: bool) -> Found:
    """A hub remembers what it was given: what was made from the same inputs, and is whole there, is not made again."""
    # A journal that cannot be read ends the run when the tags are to be moved: better now than after the compiler.
    local_journal(context, [reference for image in plan.everything for reference in image.references]).unfinished()
    if rebuild:
        return {}
    merge, images = context.permissions.merge_platforms, plan.everything
    with context.progress.task("look", f"{len(images)} images at the hub{context.place.removeprefix(' at')}") as task:
        look = OneLook(context.registry)
        found = _for_each(images, lambda image: _find(image, look, merge=merge))
        known = {image.key: pulled[0] for image, pulled in zip(images, found, strict=True) if pulled}
        task.outcome = f"{len(known)} unchanged"
    return known


def _find(image: ImagePlan | MirrorPlan, registry: RegistryReader, *, merge: bool) -> tuple[PulledImage, ...]:
    return find_mirrored(image, registry) if isinstance(image, MirrorPlan) else find_published(image, registry, merge=merge)


def _for_each(
    images: Sequence[ImagePlan | MirrorPlan], act: Callable[[ImagePlan | MirrorPlan], tuple[PulledImage, ...]]
) -> list[tuple[PulledImage, ...]]:
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        return list(pool.map(act, images))


def _same_everywhere(found: Mapping[Hub, Found]) -> dict[Hub, Found]:
    """Without the images that hubs do not have the same of: those are made anew, so that all have the same."""
    indexes: dict[str, set[Manifest | None]] = {}
    for own in found.values():
        for key, image in own.items():
            indexes.setdefault(key, set()).add(image.index)
    return {hub: {key: image for key, image in own.items() if len(indexes[key]) == 1} for hub, own in found.items()}


def _with_untagged(look: Look, hubs: HubGroups, context: PublishContext) -> dict[Hub, Found]:
    """Also what hubs have that no tag leads to, as a run leaves it that failed there and went on elsewhere."""
    lacking = look.lacking(hubs.left)
    indexes = {key: index for key in lacking if (index := look.index(key, hubs.left))}
    if not indexes:
        return dict(look.found)
    reader = OneLook(context.registry)

    def find(image: ImagePlan | MirrorPlan) -> tuple[PulledImage, ...]:
        pulled = pull(image.references[0].repository.at(indexes[image.key].digest), reader)
        return (pulled,) if pulled.index and not pulled.problems else ()

    def look_again(hub: Hub) -> Found:
        wanted = [image for image in plan_at(look.plan, hub).everything if image.key in indexes.keys() - look.found[hub].keys()]
        return {image.key: pulled[0] for image, pulled in zip(wanted, _for_each(wanted, find), strict=True) if pulled}

    more = hubs.each(look_again)
    return {hub: {**found, **more.get(hub, {})} for hub, found in look.found.items()}


def _at(image: ImagePlan | MirrorPlan, hubs: Collection[Hub]) -> tuple[ImageReference, ...]:
    return tuple(reference for reference in image.references if reference.repository.hub in hubs)
