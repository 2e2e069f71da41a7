"""The spine: what a run does, stage by stage, from a plan to a report."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from builder import __version__
from builder.build.built import Built
from builder.build.context import BuildContext
from builder.build.layer_fetch import BaseLayers
from builder.errors import BuilderError
from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor
from builder.oci.reference import Hub, Repository
from builder.pipeline.at_hubs import explain_report, tell_reasons
from builder.pipeline.conclusion import Reached, conclude, tell_incomplete
from builder.pipeline.hubs import HubGroups
from builder.pipeline.look import Look, look_at_hubs
from builder.pipeline.preflight import check_output
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.release_at_hub import AtHub, publish_at_hub, shared_journal
from builder.pipeline.report import Report
from builder.pipeline.reporting import patches_of, report_layout
from builder.pipeline.reservations import Reservations
from builder.plan.model import ImagePlan, MirrorPlan, Plan
from builder.publish.content import LayoutContent
from builder.publish.publication import Publication, Release
from builder.publish.tags import before_tags
from builder.publish.upload import Uploads

if TYPE_CHECKING:
    from builder.build.assemble import AssembledPlatform
    from builder.publish.release_file import ReleaseFile


def push_plan(
    plan: Plan, layouts: Path, build_context: BuildContext, publish_context: PublishContext, *, rebuild: bool, started: float
) -> Report:
    """Build what hubs lack and publish it: to each hub as one release, read back. `started`: time.monotonic() of the run.

    A hub that fails keeps no other from its release; an image that cannot be made keeps all of them from theirs.
    """
    context = replace(publish_context, fail_fast=build_context.fail_fast)
    hubs = HubGroups((reference.repository.hub for image in plan.everything for reference in image.references), context)
    bases = BaseLayers(build_context)
    with before_tags():
        look = look_at_hubs(plan, hubs, context, rebuild=rebuild)
        lacking, reasons = look.lacking(hubs.left), look.why(hubs.left)
        tell_reasons(reasons, context.progress)
        missing = [image for image in plan.images if image.key in lacking]
        mirrors = [mirror for mirror in plan.mirrors if mirror.key in lacking]
    with hubs.uploads() as uploads, Reservations(look, missing, hubs) as reservations:
        with before_tags():
            ready = partial(_on_assembled, partial(_send_ahead, look, hubs, uploads, bases), reservations.on_assembled)
            ahead = replace(build_context, on_assembled=ready)
            built = _build(plan, missing, layouts, ahead, mirrors)
            release = context.guard.merge(_release(look, hubs, built, bases), look.kept)
            at = {hub: AtHub(_narrow(release, look, hub), reservations.journals[hub]) for hub in hubs.left}
            if built.failures:
                hubs.each(lambda hub: uploads[hub].publish(at[hub].release.publications))
                raise tell_incomplete(built, release, look, hubs)
        if not built.layouts:
            # It was a moment ago that all of it was seen to be there.
            for hub, own in at.items():
                own.pulled = tuple(look.found[hub].values())
        reached = _publish(release, hubs, at, uploads)
    states = {image.key: "unchanged" for image in plan.everything} | {key: _state_of(plan, key) for key in built.layouts}
    return explain_report(conclude(reached, states, context, started), reasons)


def publish_release(
    release: Release,
    states: Mapping[str, str],
    context: PublishContext,
    started: float,
    *,
    beside: Callable[[Sequence[Publication]], None] = lambda entries: None,
) -> Report:
    """Publish images that are built and checked, to each hub by itself: send their content, read it back, move the tags, look
    at those.

    `states` says of each image, by its key, what the report is to say. `beside` sends what belongs to the images of a hub,
    when they are there and no tag has moved yet.
    """
    hubs, guard = HubGroups(release.hubs, context), context.guard
    with before_tags():
        tags = hubs.each(lambda hub: guard.read_release(release.at(hub)))
        found = {reference: manifest for own in tags.values() for reference, manifest in own.items()}
        reachable = release.at(*tags)
        merged = guard.merge_kept(reachable, found)
        hubs.each(lambda hub: guard.check_release(merged.at(hub), tags[hub]))
    with hubs.uploads() as uploads:
        releases = {hub: merged.at(hub) for hub in hubs.left}
        at = {hub: AtHub(own, shared_journal(hubs.context(hub), own.references)) for hub, own in releases.items()}
        reached = _publish(release, hubs, at, uploads, beside)
    indexes = {(one.key, one.index): two.index for one, two in zip(reachable.publications, merged.publications, strict=True)}
    entries = tuple(replace(entry, index=indexes.get((entry.key, entry.index), entry.index)) for entry in release.publications)
    return conclude(replace(reached, release=replace(release, publications=entries)), states, context, started)


def _publish(
    release: Release,
    hubs: HubGroups,
    at: Mapping[Hub, AtHub],
    uploads: Mapping[Hub, Uploads],
    beside: Callable[[Sequence[Publication]], None] = lambda entries: None,
) -> Reached:
    settled = hubs.settle(lambda hub: publish_at_hub(at[hub], uploads[hub], hubs.context(hub), beside))
    ended = {hub: error for hub, error in settled.items() if isinstance(error, BuilderError)}
    return Reached(release=release, hubs=hubs, at=at, failures={**hubs.failures, **ended})


def build_plan(plan: Plan, layouts: Path, build_context: BuildContext, *, started: float) -> Report:
    """Build all images of the plan into layouts, and stop there."""
    from builder.publish.release_file import note_release

    check_output(layouts, plan, build_context.downloads)
    outcome = _build(plan, plan.images, layouts, build_context, plan.mirrors)
    if outcome.failures:
        raise outcome.error()
    built = outcome.layouts
    others = note_release(layouts, _release_file(plan, built), alone=_is_dirty(plan))
    if others:
        build_context.progress.warn(
            f"{layouts} also holds {', '.join(others)} of another build, so `push --from` will refuse it: move them elsewhere."
        )
    images = tuple(report_layout(image, built[image.key], _state_of(plan, image.key)) for image in plan.everything)
    return Report(
        version=plan.version,
        builder_version=__version__,
        hub=plan.hub,
        images=images,
        traffic=None,
        stages=build_context.progress.stage_seconds(),
        seconds=time.monotonic() - started,
        patches=patches_of(dict(image.annotations) for image in plan.images),
    )


def _build(plan: Plan, images: Sequence[ImagePlan], layouts: Path, context: BuildContext, mirrors: Sequence[MirrorPlan]) -> Built:
    if not images and not mirrors:
        return Built(layouts={})
    # All that makes images comes with it, and where nothing has changed nothing is made.
    from builder.build.scheduler import build_images

    return build_images(plan, images, layouts, context, mirrors)


def _release_file(plan: Plan, built: Mapping[str, Layout]) -> "ReleaseFile":
    """What was built, and what tells it from other builds of the same version."""
    from builder.publish.release_file import ListedImage, ReleaseFile

    images = tuple(
        ListedImage(
            image=image.image,
            variant="" if isinstance(image, MirrorPlan) else image.variant,
            digest=built[image.key].index().digest,
            inputs=()
            if isinstance(image, MirrorPlan)
            else tuple(sorted((str(on.platform), on.fingerprint) for on in image.platforms)),
        )
        for image in plan.everything
    )
    return ReleaseFile(
        version=plan.version,
        hub=plan.hub,
        made=plan.made,
        platforms=tuple(map(str, sorted(plan.platforms))),
        shard=plan.shard,
        source_tag=plan.source_tag,
        images=images,
    )


def _is_dirty(plan: Plan) -> bool:
    revisions = [dict(image.annotations).get("org.opencontainers.image.revision", "") for image in plan.images]
    return any(revision.endswith("-dirty") for revision in revisions)


def _state_of(plan: Plan, key: str) -> str:
    return "mirrored" if any(mirror.key == key for mirror in plan.mirrors) else "built"


def _release(look: Look, hubs: HubGroups, built: Built, bases: BaseLayers) -> Release:
    """All images that there are, with their tags at all hubs."""
    plan = look.plan
    failed = {failure.key for failure in built.failures}
    publications = tuple(
        _publication(image, look, hubs, built.layouts.get(image.key), bases)
        for image in plan.everything
        if image.key not in failed
    )
    return Release(version=plan.version, hub=plan.hub, publications=publications, source_tag=plan.source_tag)


def _publication(
    image: ImagePlan | MirrorPlan, look: Look, hubs: HubGroups, layout: Layout | None, bases: BaseLayers
) -> Publication:
    if layout is None:
        index = look.index(image.key, hubs.left)
        assert index is not None, "what was not made is there"
        return Publication(key=image.key, index=index, references=image.references, content=None)
    content = LayoutContent(layout, (*look.holders(image.key), *_made_from(image)), _fetch_from(image, bases))
    return Publication(key=image.key, index=layout.index(), references=image.references, content=content)


def _narrow(release: Release, look: Look, hub: Hub) -> Release:
    """What of a release goes to a hub: nothing is sent of what is there, the same to the digest."""
    there = {(key, image.index) for key, image in look.found[hub].items()}
    entries = release.at(hub).publications
    narrowed = tuple(replace(entry, content=None) if (entry.key, entry.index) in there else entry for entry in entries)
    return replace(release, publications=narrowed)


def _on_assembled(
    send: "Callable[[AssembledPlatform], None]", reserve: "Callable[[AssembledPlatform], None]", part: "AssembledPlatform"
) -> None:
    send(part)
    reserve(part)


def _send_ahead(
    look: Look, hubs: HubGroups, uploads: Mapping[Hub, Uploads], bases: BaseLayers, part: "AssembledPlatform"
) -> None:
    """What is ready is sent while the rest is still being made; tags and what they lead to come when all is there."""
    image = next(image for image in look.plan.images if image.key == part.key)
    content = LayoutContent(part.layout, (*look.holders(image.key), *_made_from(image)), _fetch_from(image, bases))
    for hub in hubs.left:
        if part.key not in look.found[hub]:
            name = f"{image.variant} {part.platform}".lstrip()
            uploads[hub].send_ahead((hub.repository(image.image),), name, part.layout.index(), content)


def _fetch_from(image: ImagePlan | MirrorPlan, bases: BaseLayers) -> Callable[[Descriptor], Path] | None:
    """What gets a layer of the image's base, where it has one."""
    if isinstance(image, MirrorPlan) or not image.base:
        return None
    return partial(bases.fetch, image.base.reference.repository)


def _made_from(image: ImagePlan | MirrorPlan) -> tuple[Repository, ...]:
    """The repositories that hold some of its layers already."""
    if isinstance(image, MirrorPlan):
        return (image.source.repository,)
    return (image.base.reference.repository,) if image.base else ()
