"""The spine: what a run does, stage by stage, from a plan to a report."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from builder.build import Workshop, build_images
from builder.errors import Interrupted, NotReadBack, RegistryError, VerifyError
from builder.journal import Journal
from builder.layout import Layout
from builder.oci import ImageConfig, Manifest
from builder.plan import ImagePlan, MirrorPlan, Plan
from builder.platform_loss import refuse_fewer_platforms
from builder.ports import Registry
from builder.progress import Progress
from builder.publish import Publication, Traffic, upload
from builder.reference import ImageReference, Repository
from builder.release_file import note_release
from builder.report import ImageReport, PlatformReport, Report
from builder.tags import TagMover, before_tags, read_tags
from builder.verify import PulledImage, find_mirrored, find_published, verify_content, verify_tags


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """What publishing needs of the world; `registry_for_undoing` goes on working after an interruption.

    `replace` allows tags to lose platforms.
    """

    registry: Registry
    registry_for_undoing: Registry
    journals: Path
    replace: bool = False


def push_plan(plan: Plan, layouts: Path, workshop: Workshop, counter: Counter, *, rebuild: bool, started: float) -> Report:
    """Build what the hubs lack, publish it as one release, read it back. `started`: time.monotonic() of the run."""
    with before_tags():
        # A journal that cannot be read ends the run when the tags are to be moved: better now than after the compiler.
        _journal(counter, [reference for image in plan.everything for reference in image.references]).unfinished()
        found = {} if rebuild else _find_published(plan.everything, counter.registry, workshop.progress)
        missing = [image for image in plan.images if image.key not in found]
        if not counter.replace:
            _refuse_platform_loss(missing, counter.registry)
        mirrors = [mirror for mirror in plan.mirrors if mirror.key not in found]
        built = build_images(plan, missing, layouts, workshop, mirrors)
    publications = [_publication(image, found.get(image.key), built.get(image.key)) for image in plan.everything]
    states = dict.fromkeys(found, "unchanged") | {key: _state_of(plan, key) for key in built}
    return publish_release(publications, states, plan.version, plan.hub, workshop, counter, started)


def publish_release(
    publications: Sequence[Publication],
    states: dict[str, str],
    version: str,
    hub: str,
    workshop: Workshop,
    counter: Counter,
    started: float,
) -> Report:
    """Publish images that are built and checked: send their content, read it back, move the tags, look at those."""
    with before_tags():
        traffic = upload(publications, counter.registry, workshop.progress)
        with workshop.progress.task("verify", f"{len(publications)} images"):
            pulled = verify_content(publications, counter.registry)
    moved = TagMover(
        registry=counter.registry,
        registry_for_undoing=counter.registry_for_undoing,
        journal=_journal(counter, [reference for entry in publications for reference in entry.references]),
        progress=workshop.progress,
        pause=workshop.interruption.wait,
        protected=workshop.interruption.protected,
        replace=counter.replace,
    ).move(publications)
    if moved:
        _read_tags_back(publications, counter.registry, workshop.progress)
    images = tuple(_report_pulled(entry, pulled, states[entry.key]) for entry in publications)
    return _finish(version, hub, images, replace(traffic, tags_moved=moved), workshop.progress, started)


def _read_tags_back(publications: Sequence[Publication], registry: Registry, progress: Progress) -> None:
    """After the last tag there is no way back, so whatever goes wrong here has to say that they have moved."""
    references = [reference for entry in publications for reference in entry.references]
    again = "Run the same again to see whether they hold."
    with progress.task("verify", f"{len(references)} tags"):
        try:
            verify_tags(publications, registry)
        except Interrupted as error:
            message = f"interrupted when all {len(references)} tags were at this release; they were not read back"
            raise NotReadBack(message, hint=again) from error
        except RegistryError as error:
            raise VerifyError(f"all tags have moved, but they cannot be read back: {error.message}", hint=again) from error


def _journal(counter: Counter, references: Sequence[ImageReference]) -> Journal:
    return Journal(counter.journals, [reference.repository for reference in references])


def _refuse_platform_loss(images: Sequence[ImagePlan], registry: Registry) -> None:
    """Before the compiler starts, of the images that are to be built; the tags are looked at again when they move."""
    wanted = {
        reference: frozenset(platform.platform for platform in image.platforms)
        for image in images
        for reference in image.references
    }
    found = read_tags(tuple(wanted), registry)
    refuse_fewer_platforms({reference: (wanted[reference], found[reference]) for reference in wanted}, registry)


def build_plan(plan: Plan, layouts: Path, workshop: Workshop, *, started: float) -> Report:
    """Build all images of the plan into layouts, and stop there."""
    built = build_images(plan, plan.images, layouts, workshop, plan.mirrors)
    digests = {key: layout.index().digest for key, layout in built.items()}
    others = note_release(layouts, plan.version, plan.hub, plan.commit, digests)
    if others:
        workshop.progress.warn(
            f"{layouts} also holds {', '.join(others)} of another build, so `push --from` will refuse it: move them elsewhere."
        )
    images = tuple(_report_layout(image, built[image.key], _state_of(plan, image.key)) for image in plan.everything)
    return _finish(plan.version, plan.hub, images, None, workshop.progress, started)


def _finish(
    version: str,
    hub: str,
    images: tuple[ImageReport, ...],
    traffic: Traffic | None,
    progress: Progress,
    started: float,
) -> Report:
    return Report(
        version=version,
        hub=hub,
        images=images,
        traffic=traffic,
        stages=progress.stage_seconds(),
        seconds=time.monotonic() - started,
    )


def _state_of(plan: Plan, key: str) -> str:
    return "mirrored" if any(mirror.key == key for mirror in plan.mirrors) else "built"


def _find_published(images: Sequence[ImagePlan | MirrorPlan], registry: Registry, progress: Progress) -> dict[str, Manifest]:
    """The hub remembers what it was given: what was made from the same inputs, and is whole there, is not made again."""

    with progress.task("look", f"{len(images)} images at the hub") as task, ThreadPoolExecutor(max_workers=8) as pool:
        found = dict(zip(images, pool.map(lambda image: _find(image, registry), images), strict=True))
        known = {image.key: manifest for image, manifest in found.items() if manifest}
        task.outcome = f"{len(known)} unchanged"
    return known


def _find(image: ImagePlan | MirrorPlan, registry: Registry) -> Manifest | None:
    return find_mirrored(image, registry) if isinstance(image, MirrorPlan) else find_published(image, registry)


def _publication(image: ImagePlan | MirrorPlan, found: Manifest | None, layout: Layout | None) -> Publication:
    if found:
        return Publication(key=image.key, index=found, references=image.references, layout=None)
    assert layout is not None
    return Publication(
        key=image.key,
        index=layout.index(),
        references=image.references,
        layout=layout,
        mount_from=_made_from(image),
    )


def _made_from(image: ImagePlan | MirrorPlan) -> tuple[Repository, ...]:
    """The repositories that hold some of its layers already."""
    if isinstance(image, MirrorPlan):
        return (image.source.repository,)
    return (image.base.reference.repository,) if image.base else ()


def _report_pulled(entry: Publication, pulled: Sequence[PulledImage], state: str) -> ImageReport:
    image = next(image for image in pulled if image.index and image.index.digest == entry.index.digest)
    platforms = tuple(
        PlatformReport(platform=platform.platform, digest=platform.manifest.digest, size=platform.size)
        for platform in image.platforms
    )
    return ImageReport(
        key=entry.key,
        references=entry.references,
        digest=entry.index.digest,
        platforms=platforms,
        state=state,
        layout=str(entry.layout.root) if entry.layout else "",
    )


def _report_layout(image: ImagePlan | MirrorPlan, layout: Layout, state: str) -> ImageReport:
    index = layout.index()
    return ImageReport(
        key=image.key,
        references=image.references,
        digest=index.digest,
        platforms=layout_platforms(layout),
        state=state,
        layout=str(layout.root),
    )


def layout_platforms(layout: Layout) -> tuple[PlatformReport, ...]:
    """The platforms of a layout with their sizes."""
    reports = []
    for child in (child for child in layout.index().children() if child.is_runnable):
        manifest = layout.manifest(child)
        config = ImageConfig.parse(layout.read(manifest.config()))
        size = sum(layer.size for layer in manifest.layers())
        reports.append(PlatformReport(platform=config.platform, digest=child.digest, size=size))
    return tuple(reports)
