"""Counted tags (`1.29.0-r3`): which number a push gives its release. The hubs tell, by their tags and by what is at them.

The newest number stays where all that is there under it is what would be made now: then nothing is new, and what is missing there
joins it. Else the next one is taken. That nobody else has taken it meanwhile is looked at when the tags move
(builder.publish.guards).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TypeVar

from builder.config.counted_tag import is_counted, newest_number, with_number
from builder.errors import BuilderError, RegistryError, RequestError
from builder.oci.manifest import Manifest
from builder.oci.reference import Hub, ImageReference
from builder.pipeline.at_hubs import Reasons, look_at_images, tell_reasons
from builder.pipeline.look import plan_at
from builder.pipeline.prepare import Resolved
from builder.pipeline.tag_lists import list_all_tags
from builder.pipeline.verdict import join_failures
from builder.pipeline.wiring import Adapters
from builder.plan.model import Plan
from builder.plan.planner import make_plan
from builder.ports import Registry
from builder.publish.guards import Intended, Permissions
from builder.publish.publication import Release
from builder.publish.tags import read_tags

# The tags whose number is open, each with the key of its image; and by these keys what they are to become with a number.
Counted = Mapping[ImageReference, str]
Intend = Callable[[int], Mapping[str, Intended]]
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """The number that was chosen, 0 where no tag is counted, and the tags that have it.

    `lost` are hubs that did not tell: they must get nothing, as nobody knows what is there. `differing` are the images for
    which the number is a new one, `reasons` why, where nothing else tells.
    """

    number: int = 0
    tags: tuple[str, ...] = ()
    lost: Mapping[Hub, BuilderError] = field(default_factory=lambda: MappingProxyType({}))
    differing: frozenset[str] = frozenset()
    reasons: Reasons = field(default_factory=lambda: MappingProxyType({}))


def number_plan(
    resolved: Resolved, adapters: Adapters, permissions: Permissions, *, rebuild: bool = False
) -> tuple[Resolved, Numbered]:
    """The job with the numbers of its tags. With `rebuild` that is a new one.

    Raises RequestError where tags are to be merged into, which a counted one never is, RegistryError and AccessDenied where
    no hub tells which tags it has.
    """
    open_tags = tuple(filter(is_counted, resolved.request.tags))
    if not open_tags:
        return resolved, Numbered()
    # Once for the newest number, and again only for the next.
    at = lru_cache(maxsize=2)(partial(_at_number, resolved))

    def intend(number: int) -> Mapping[str, Intended]:
        return {image.key: Intended.of_plan(image) for image in at(number).plan.everything}

    counted = {ref: image.key for image in resolved.plan.everything for ref in image.references if is_counted(ref.tag)}
    numbered = _number(open_tags, counted, intend, adapters, permissions, anew=rebuild)
    if numbered.differing and is_counted(resolved.request.tags[0]):
        # All images get the new number stamped in, which would be all that is told of them.
        hubs = {reference.repository.hub for reference in counted} - numbered.lost.keys()
        reasons = _explain(plan_at(at(numbered.number - 1).plan, *hubs), numbered.differing, adapters)
        numbered = replace(numbered, reasons=reasons)
    return at(numbered.number), numbered


def number_release(
    release: Release, tags: Sequence[str], adapters: Adapters, permissions: Permissions
) -> tuple[Release, Numbered]:
    """A release that is ready, with the numbers of these tags, which it is to get. Raises as `number_plan`."""
    open_tags = tuple(filter(is_counted, tags))
    if not open_tags:
        return release, Numbered()
    counted = {ref: entry.key for entry in release.publications for ref in entry.references if is_counted(ref.tag)}
    intended = {entry.key: Intended.of_publication(entry) for entry in release.publications}
    numbered = _number(open_tags, counted, lambda number: intended, adapters, permissions)
    publications = tuple(
        replace(entry, references=tuple(dict.fromkeys(_with_number(ref, numbered.number) for ref in entry.references)))
        for entry in release.publications
    )
    return replace(release, publications=publications), numbered


def find_newest(counted: Iterable[ImageReference], registry: Registry) -> int:
    """The newest number that is there of these tags, at any hub, 0 where there is none. Raises as `number_plan`."""
    listed, _ = _list(dict.fromkeys(counted), registry)
    return _newest(listed)


def _number(
    tags: tuple[str, ...],
    counted: Counted,
    intend: Intend,
    adapters: Adapters,
    permissions: Permissions,
    *,
    anew: bool = False,
) -> Numbered:
    if permissions.merge_platforms:
        raise RequestError(
            f"{tags[0]} would be merged into, and a counted tag never moves",
            hint="Leave --merge-platforms out, and push all platforms at once. docs/shards.md has machines share the work.",
        )
    with adapters.progress.task("look", f"the number of {', '.join(tags)}") as task:
        listed, lost = _list(counted, adapters.registry)
        number = _newest(listed)
        there, differing = False, frozenset[str]()
        if number and not anew:
            found, more = _read(listed, number, adapters.registry)
            lost |= more
            wanted = intend(number)
            differing = _differing({_with_number(ref, number): wanted[key] for ref, key in counted.items()}, found)
            # Not so where only a hub has it that does not answer any more: what it has there is not known.
            there = any(found.values()) and not differing
        number = number if there else number + 1
        chosen = tuple(with_number(tag, number) for tag in tags)
        task.outcome = f"{', '.join(chosen)} {'is there' if there else 'is new'}"
    return Numbered(number=number, tags=chosen, lost=lost, differing=differing)


def _at_number(resolved: Resolved, number: int) -> Resolved:
    tags = tuple(dict.fromkeys(with_number(tag, number) for tag in resolved.request.tags))
    request = replace(resolved.request, tags=tags)
    return replace(resolved, request=request, plan=make_plan(request, resolved.book, resolved.lock))


def _with_number(reference: ImageReference, number: int) -> ImageReference:
    return reference.repository.at(with_number(reference.tag, number)) if is_counted(reference.tag) else reference


def _differing(wanted: Mapping[ImageReference, Intended], there: Mapping[ImageReference, Manifest | None]) -> frozenset[str]:
    """The images that are something else there, at one of their tags, or not the same at all of them."""
    whole: dict[str, set[Manifest]] = {}
    differing = set()
    for reference, found in there.items():
        intended = wanted[reference]
        if found and intended.is_all_at(found):
            whole.setdefault(intended.key, set()).add(found)
        elif found and not intended.has_lost_platforms(found):
            differing.add(intended.key)
    return frozenset(differing | {key for key, indexes in whole.items() if len(indexes) > 1})


def _explain(plan: Plan, keys: frozenset[str], adapters: Adapters) -> Reasons:
    """Why these images are others than those of the newest number, told before any work."""
    images, progress = [image for image in plan.everything if image.key in keys], adapters.progress
    try:
        looked = look_at_images(images, adapters.registry, progress, merge=False, rebuild=False, place="the newest number")
    except RegistryError:
        # It fails by itself when it is pushed to, and says so there.
        return {}
    tell_reasons(looked.reasons, progress)
    return looked.reasons


def _list(
    counted: Iterable[ImageReference], registry: Registry
) -> tuple[dict[Hub, dict[ImageReference, tuple[str, ...]]], dict[Hub, BuilderError]]:
    """By hub, the tags that stand in the repository of each of these; and the hubs that do not tell."""
    by_hub: dict[Hub, list[ImageReference]] = {}
    for reference in counted:
        by_hub.setdefault(reference.repository.hub, []).append(reference)

    def ask(references: Sequence[ImageReference]) -> dict[ImageReference, tuple[str, ...]]:
        tags = list_all_tags(tuple(dict.fromkeys(reference.repository for reference in references)), registry)
        return {reference: tags[reference.repository] or () for reference in references}

    listed, lost = _ask_each(by_hub, ask)
    if lost and not listed:
        raise join_failures(tuple(lost), lost) if len(lost) > 1 else next(iter(lost.values()))
    return listed, lost


def _newest(listed: Mapping[Hub, Mapping[ImageReference, tuple[str, ...]]]) -> int:
    return max((newest_number(ref.tag, tags) for own in listed.values() for ref, tags in own.items()), default=0)


def _read(
    listed: Mapping[Hub, Mapping[ImageReference, tuple[str, ...]]], number: int, registry: Registry
) -> tuple[dict[ImageReference, Manifest | None], dict[Hub, BuilderError]]:
    """What is at each tag of this number that there is."""
    there = {
        hub: tuple(named for ref, tags in own.items() if (named := _with_number(ref, number)).tag in tags)
        for hub, own in listed.items()
    }
    read, lost = _ask_each(there, lambda references: read_tags(references, registry))
    return {reference: found for own in read.values() for reference, found in own.items()}, lost


def _ask_each(hubs: Mapping[Hub, Asked], ask: Callable[[Asked], Answer]) -> tuple[dict[Hub, Answer], dict[Hub, BuilderError]]:
    """What each hub answers, side by side, and those that do not. Raises Interrupted."""

    def attempt(asked: Asked) -> Answer | RegistryError:
        try:
            return ask(asked)
        except RegistryError as error:
            return error

    with ThreadPoolExecutor(max_workers=max(1, len(hubs))) as pool:
        answers = dict(zip(hubs, pool.map(attempt, hubs.values()), strict=True))
    failed = {hub: answer for hub, answer in answers.items() if isinstance(answer, RegistryError)}
    return {hub: answer for hub, answer in answers.items() if not isinstance(answer, RegistryError)}, dict(failed)
