"""The spine: what a run does, stage by stage, from a plan to a report."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from builder import __version__
from builder.build.assemble import AssembledPlatform
from builder.build.context import BuildContext
from builder.build.layer_fetch import BaseLayers
from builder.build.scheduler import build_images
from builder.errors import BuilderError, Interrupted, NotReadBack, VerifyError
from builder.images.one_look import OneLook
from builder.images.pull import PulledImage
from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import ImageReference, Repository
from builder.pipeline.preflight import TagGuard, check_output
from builder.pipeline.report import Report
from builder.pipeline.reporting import patches_of, report_layout, report_pulled
from builder.plan.model import ImagePlan, MirrorPlan, Plan
from builder.ports import Registry, RegistryReader, TagStore
from builder.publish.content import LayoutContent
from builder.publish.guards import CAREFUL, Permissions
from builder.publish.history import Happening
from builder.publish.journal import Journal
from builder.publish.lease import HubLease, LeaseTimes
from builder.publish.publication import Publication, Release, Traffic
from builder.publish.published import find_mirrored, find_published
from builder.publish.recorder import record_release
from builder.publish.release_file import ListedImage, ReleaseFile, note_release
from builder.publish.shared_journal import SharedJournal
from builder.publish.tags import TagMover, before_tags
from builder.publish.upload import Uploads
from builder.publish.verify import verify_content, verify_tags
from builder.runtime.cancellation import TaskGroup
from builder.runtime.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishContext:
    """What publishing needs of the world; `rollback_tags` go on working after an interruption.

    `cancellation` is of the tasks that the registry is for. `permissions` is what may be done to tags that are there; `cache`
    has downloads by their sha256. `happening` is what the hubs' histories tell of the run, None where they are not to.
    """

    registry: Registry
    rollback_tags: TagStore
    journals: Path
    progress: Progress
    cancellation: TaskGroup
    permissions: Permissions = CAREFUL
    cache: Path = Path()
    lease_times: LeaseTimes = field(default_factory=LeaseTimes)
    happening: Happening | None = None

    @property
    def guard(self) -> TagGuard:
        """What looks at tags before work begins."""
        return TagGuard(registry=self.registry, permissions=self.permissions, cache=self.cache)


def push_plan(
    plan: Plan, layouts: Path, build_context: BuildContext, publish_context: PublishContext, *, rebuild: bool, started: float
) -> Report:
    """Build what the hubs lack, publish it as one release, read it back. `started`: time.monotonic() of the run."""
    with before_tags():
        # A journal that cannot be read ends the run when the tags are to be moved: better now than after the compiler.
        _journal(publish_context, [reference for image in plan.everything for reference in image.references]).unfinished()
        found = {} if rebuild else _find_published(plan.everything, publish_context)
        kept = publish_context.guard.check_plan(plan, found)
        missing = [image for image in plan.images if image.key not in found]
        mirrors = [mirror for mirror in plan.mirrors if mirror.key not in found]
        bases = BaseLayers(build_context)
        with _uploads(publish_context) as uploads:
            ahead = replace(build_context, on_assembled=partial(_send_ahead, plan, uploads, bases))
            built = build_images(plan, missing, layouts, ahead, mirrors)
            failed = {failure.key for failure in built.failures}
            publications = tuple(
                _publication(image, found.get(image.key, ()), built.layouts.get(image.key), bases)
                for image in plan.everything
                if image.key not in failed
            )
            release = Release(version=plan.version, hub=plan.hub, publications=publications, source_tag=plan.source_tag)
            release = publish_context.guard.merge(release, kept)
            traffic = uploads.publish(release.publications)
        if built.failures:
            raise _incomplete(built.error(unchanged=tuple(found)))
        # Where nothing was built, it was a moment ago that all of it was seen to be there.
        seen = () if built.layouts else tuple(image for images in found.values() for image in images)
        pulled = seen or _read_back(release, publish_context)
    states = dict.fromkeys(found, "unchanged") | {key: _state_of(plan, key) for key in built.layouts}
    return _move_tags(release, states, publish_context, started, traffic, pulled)


def _incomplete(error: BuilderError) -> BuilderError:
    """A release is all of its images: the hubs keep the one that they have."""
    error.message += "\nNo tag has moved. What was made is at the hub, and is not sent again."
    return error


def publish_release(
    release: Release,
    states: Mapping[str, str],
    context: PublishContext,
    started: float,
    *,
    beside: Callable[[], None] = lambda: None,
) -> Report:
    """Publish images that are built and checked: send their content, read it back, move the tags, look at those.

    `states` says of each image, by its key, what the report is to say. `beside` sends what belongs to them, when they are
    there and no tag has moved yet.
    """
    with before_tags():
        release = context.guard.check_release(release)
        with _uploads(context) as uploads:
            traffic = uploads.publish(release.publications)
        beside()
        pulled = _read_back(release, context)
    return _move_tags(release, states, context, started, traffic, pulled)


def _uploads(context: PublishContext) -> Uploads:
    return Uploads(context.registry, context.progress, context.cancellation)


def _send_ahead(plan: Plan, uploads: Uploads, bases: BaseLayers, part: AssembledPlatform) -> None:
    """What is ready is sent while the rest is still being made; tags and what they lead to come when all is there."""
    image = next(image for image in plan.images if image.key == part.key)
    content = LayoutContent(part.layout, _made_from(image), _fetch_from(image, bases))
    repositories = tuple(dict.fromkeys(reference.repository for reference in image.references))
    uploads.send_ahead(repositories, str(part.platform), part.layout.index(), content)


def _move_tags(
    release: Release,
    states: Mapping[str, str],
    context: PublishContext,
    started: float,
    traffic: Traffic,
    pulled: Sequence[PulledImage],
) -> Report:
    """The last step, once all content is there and was seen to be whole."""
    publications, progress = release.publications, context.progress
    before: dict[ImageReference, Manifest | None] = {}
    moved = TagMover(
        images=context.registry,
        tags=context.registry,
        rollback_tags=context.rollback_tags,
        journal=_shared_journal(context, release.references),
        progress=progress,
        pause=context.cancellation.wait,
        protected=context.cancellation.protected,
        permissions=context.permissions,
        source_tag=release.source_tag,
        seen={image.reference: image.index for image in pulled if image.reference.digest is None},
        on_moved=before.update,
    ).move(publications)
    if moved:
        _read_tags_back(release, context)
        _record(release, before, context)
    images = tuple(report_pulled(entry, pulled, states[entry.key]) for entry in publications)
    return Report(
        version=release.version,
        builder_version=__version__,
        hub=release.hub,
        images=images,
        traffic=replace(traffic, tags_moved=moved),
        stages=progress.stage_seconds(),
        seconds=time.monotonic() - started,
        patches=patches_of(entry.index.annotations() for entry in publications),
    )


def _read_back(release: Release, context: PublishContext) -> tuple[PulledImage, ...]:
    with context.progress.task("verify", f"{len(release.publications)} images"):
        return verify_content(release.publications, OneLook(context.registry))


def _read_tags_back(release: Release, context: PublishContext) -> None:
    """After the last tag there is no way back, so whatever goes wrong here has to say that they have moved."""
    count = len(release.references)
    again = "Run the same again to see whether they hold."
    with context.progress.task("verify", f"{count} tags"):
        try:
            verify_tags(release.publications, context.registry)
        except Interrupted as error:
            message = f"interrupted when all {count} tags were at this release; they were not read back"
            raise NotReadBack(message, hint=again) from error
        except VerifyError:
            raise
        except BuilderError as error:
            raise VerifyError(f"all tags have moved, but they cannot be read back: {error.message}", hint=again) from error


def _record(release: Release, before: Mapping[ImageReference, Manifest | None], context: PublishContext) -> None:
    if context.happening is None:
        return
    happening = replace(context.happening, time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    try:
        record_release(release.publications, before, happening, context.registry, context.progress)
    except Interrupted as error:
        raise NotReadBack(
            f"interrupted when all {len(release.references)} tags were at this release, and before the history said so",
            hint="The release is whole. The next one will note in the history what it finds at the tags.",
        ) from error


def _journal(context: PublishContext, references: Sequence[ImageReference]) -> Journal:
    return Journal(context.journals, [reference.repository for reference in references])


def _shared_journal(context: PublishContext, references: Sequence[ImageReference]) -> SharedJournal:
    lease = HubLease(context.registry, context.rollback_tags, context.progress, context.cancellation.wait, context.lease_times)
    repositories = [reference.repository for reference in references]
    return SharedJournal(_journal(context, references), lease, context.registry, repositories)


def build_plan(plan: Plan, layouts: Path, build_context: BuildContext, *, started: float) -> Report:
    """Build all images of the plan into layouts, and stop there."""
    check_output(layouts, plan, build_context.downloads)
    outcome = build_images(plan, plan.images, layouts, build_context, plan.mirrors)
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


def _release_file(plan: Plan, built: Mapping[str, Layout]) -> ReleaseFile:
    """What was built, and what tells it from other builds of the same version."""
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


def _find_published(images: Sequence[ImagePlan | MirrorPlan], context: PublishContext) -> dict[str, tuple[PulledImage, ...]]:
    """The hub remembers what it was given: what was made from the same inputs, and is whole there, is not made again."""
    title, merge = f"{len(images)} images at the hub", context.permissions.merge_platforms
    with context.progress.task("look", title) as task, ThreadPoolExecutor(max_workers=8) as pool:
        look = OneLook(context.registry)
        found = dict(zip(images, pool.map(lambda image: _find(image, look, merge=merge), images), strict=True))
        known = {image.key: pulled for image, pulled in found.items() if pulled}
        task.outcome = f"{len(known)} unchanged"
    return known


def _find(image: ImagePlan | MirrorPlan, registry: RegistryReader, *, merge: bool) -> tuple[PulledImage, ...]:
    return find_mirrored(image, registry) if isinstance(image, MirrorPlan) else find_published(image, registry, merge=merge)


def _publication(
    image: ImagePlan | MirrorPlan, found: Sequence[PulledImage], layout: Layout | None, bases: BaseLayers
) -> Publication:
    if found and found[0].index:
        return Publication(key=image.key, index=found[0].index, references=image.references, content=None)
    assert layout is not None
    return Publication(
        key=image.key,
        index=layout.index(),
        references=image.references,
        content=LayoutContent(layout, _made_from(image), _fetch_from(image, bases)),
    )


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
