"""Why an image is made anew, in words: what is at a hub beside what a plan wants. Pure.

Whether it is made anew is decided by `builder.publish.published`, by the sums of all inputs; what is noted at the hub under
names only explains it. docs/why.md says the same to users.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from builder.images.pull import PulledImage
from builder.oci.manifest import Manifest
from builder.plan.model import ImagePlan
from builder.publish.history import hub_of
from builder.publish.noted_changes import Change, ChangeKind, find_changes

Kind = (
    Literal[
        "new",
        "foreign",
        "damaged",
        "platform-lost",
        "platform-missing",
        "platform-extra",
        "hubs-differ",
        "rebuild",
        "unknown",
    ]
    | ChangeKind
)

_NOTHING_NOTED = "no inputs are noted at {hub}: made by an older istio-build, or by another tool"
_NOT_TOLD_APART = "inputs changed, and what is noted at {hub} does not tell which"
_REBUILD = "hubs are not asked: --rebuild, or a go.mod that replaces a module by a directory"
_MOST_PROBLEMS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One reason. `text` says all of it; `before` and `after` are as noted, "" where there is none.

    `platforms` are those that it is a reason for, none where it is one for all of the image's.
    """

    kind: Kind
    text: str
    what: str = ""
    before: str = ""
    after: str = ""
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """A reason, and all images that it is one for, by their keys."""

    reason: Reason
    images: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.reason.text}: {', '.join(self.images)}"


REBUILD = Reason(kind="rebuild", text=_REBUILD)


def explain(plan: ImagePlan, there: PulledImage, *, merge: bool = False) -> tuple[Reason, ...]:
    """Why what is there is not what the plan wants, which is known to be so; at least one reason.

    With `merge` it may have more platforms than the plan.
    """
    hub = hub_of(there.reference.repository)
    if there.index is None:
        return (Reason(kind="new", text=f"the tag is new at {hub}", what=hub),)
    if not there.index.is_index:
        return (Reason(kind="foreign", text=f"at {hub} is an image for one platform, which another tool made", what=hub),)
    platforms = [*_platform_reasons(plan, there.index, there.inputs, hub)]
    found = [*_problems(there, hub), *(one for one in platforms if not merge or one.kind != "platform-extra")]
    found += _input_reasons(plan, there, hub)
    return tuple(found) or (_unknown(_NOT_TOLD_APART, hub),)


def explain_mirror(there: PulledImage) -> tuple[Reason, ...]:
    """The same of an image that is copied, and is asked for by its digest."""
    hub, digest = hub_of(there.reference.repository), str(there.reference.digest)
    if there.index is None:
        return (Reason(kind="new", text=f"sha256:{digest[7:19]} is not at {hub} yet", after=digest),)
    return tuple(_problems(there, hub))


def explain_difference(first: PulledImage, other: PulledImage) -> Reason:
    """Of hubs that both hold what is wanted, and not the same."""
    hubs = hub_of(first.reference.repository), hub_of(other.reference.repository)
    digests = (str(image.index.digest) if image.index else "" for image in (first, other))
    before, after = digests
    return Reason(kind="hubs-differ", text=f"{hubs[0]} and {hubs[1]} have two images of it", before=before, after=after)


def gather(reasons: Mapping[str, Sequence[Reason]]) -> tuple[Cause, ...]:
    """The reasons of images, by their keys, each told once; in the order in which they first come."""
    images: dict[Reason, list[str]] = {}
    for key, own in reasons.items():
        for reason in own:
            images.setdefault(reason, []).append(key)
    return tuple(Cause(reason=reason, images=tuple(keys)) for reason, keys in images.items())


def _platform_reasons(plan: ImagePlan, index: Manifest, noted: Mapping[str, str], hub: str) -> Iterator[Reason]:
    wanted = {str(on.platform) for on in plan.platforms}
    have = set(map(str, index.platforms()))
    for platform in sorted(wanted - have):
        if platform in noted:
            yield Reason(kind="platform-lost", text=f"{hub} lost {platform}", before=platform)
        else:
            yield Reason(kind="platform-missing", text=f"{hub} has no {platform} of it", after=platform)
    for platform in sorted(have - wanted):
        yield Reason(kind="platform-extra", text=f"{hub} also has {platform}, which is not asked for", before=platform)


def _problems(there: PulledImage, hub: str) -> Iterator[Reason]:
    for problem in there.problems[:_MOST_PROBLEMS]:
        yield Reason(kind="damaged", text=f"{hub}: {problem}")
    more = len(there.problems) - _MOST_PROBLEMS
    if more > 0:
        yield Reason(kind="damaged", text=f"{hub}: … and {more} more like this")


def _input_reasons(plan: ImagePlan, there: PulledImage, hub: str) -> Iterator[Reason]:
    inputs, notes = there.inputs, there.notes
    have = {str(platform.platform) for platform in there.platforms}
    others = [on for on in plan.platforms if str(on.platform) in have and inputs.get(str(on.platform)) != on.fingerprint]
    known = [on for on in others if str(on.platform) in inputs and str(on.platform) in notes]
    if len(known) < len(others):
        yield _unknown(_NOTHING_NOTED, hub)
    changed: dict[Change, list[str]] = {}
    for on in known:
        platform = str(on.platform)
        changes = find_changes(notes[platform], on.noted)
        if not changes:
            yield replace(_unknown(_NOT_TOLD_APART, hub), platforms=(platform,))
        for change in changes:
            changed.setdefault(change, []).append(platform)
    for change, platforms in changed.items():
        yield _reason(change, () if len(platforms) == len(plan.platforms) else tuple(platforms))


def _reason(change: Change, platforms: tuple[str, ...]) -> Reason:
    on = f" on {', '.join(platforms)}" if platforms else ""
    return Reason(
        kind=change.kind,
        text=f"{change.text}{on}",
        what=change.what,
        before=change.before,
        after=change.after,
        platforms=platforms,
    )


def _unknown(text: str, hub: str) -> Reason:
    return Reason(kind="unknown", text=text.format(hub=hub))
