"""Old tags of hubs: which there are, which of them go, and taking those away."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime

from builder.config.settings import Job
from builder.errors import BuilderError, RegistryError, RequestError
from builder.oci.manifest import Manifest
from builder.oci.reference import RESERVED_TAGS, TRIAL_TAGS, Digest, ImageReference, Repository
from builder.pipeline.history import image_names, read_timeline
from builder.pipeline.tag_lists import list_all_tags
from builder.pipeline.wiring import Adapters
from builder.publish.history import FOUND
from builder.publish.retention import RetentionRule, TagThere, Verdict, judge, oldest_first, parse_time
from builder.publish.timeline import Timeline
from builder.recipe.loader import load_recipes
from builder.recipe.schema import EVERYTHING
from builder.runtime.text import counted

_PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Retained:
    """What becomes of each tag that a pattern names; `others` counts those that none does. `notes` say what was not looked at.

    `gone` are those that were taken away, `left` those that are at something else since they were looked at.
    """

    verdicts: tuple[Verdict, ...]
    others: int
    notes: tuple[str, ...] = ()
    gone: frozenset[ImageReference] = frozenset()
    left: frozenset[ImageReference] = frozenset()


def plan_retention(job: Job, adapters: Adapters, *, also_foreign: bool) -> Retained:
    """Which tags would go. Takes none away. Raises RequestError where nothing says which, AccessDenied, RegistryError."""
    if not job.retention.patterns or not job.retention.keep:
        lacking = "how many stay" if job.retention.patterns else "which tags it is about"
        raise RequestError(
            f"nothing says {lacking}",
            hint="Give --retain-tags '*-2[0-9][0-9][0-9]*' --retain 14, or write retain_tags and retain into istio-build.yaml.",
        )
    names, only = image_names(job)
    timeline = read_timeline(job.request.hubs, names, adapters, only=only)
    repositories = {hub.repository(name) for hub in job.request.hubs for name in names}
    if not only:
        repositories |= {repository for release in timeline.releases for repository in release.repositories}
    rule = RetentionRule(
        patterns=job.retention.patterns,
        keep=job.retention.keep,
        variants=timeline.variants | _known_variants(job),
        immutable=job.immutable,
        also_foreign=also_foreign,
    )
    listed, notes = _list(sorted(repositories), adapters)
    meant = [reference for reference in listed if rule.is_about(reference.tag)]
    others = sum(reference.tag not in RESERVED_TAGS for reference in listed) - len(meant)
    tags = _look(meant, timeline, adapters)
    return Retained(verdicts=judge(tags, rule), others=others, notes=(*timeline.notes, *notes))


def retain(planned: Retained, adapters: Adapters) -> Retained:
    """Take away what is to go, the oldest release first. Raises RegistryError where a registry cannot do that.

    What is at something else by then stays. Where it ends early, what is gone by then is told.
    """
    gone: set[ImageReference] = set()
    left: set[ImageReference] = set()
    releases = oldest_first(planned.verdicts)
    total = sum(map(len, releases))

    def take_away(verdict: Verdict) -> None:
        (gone if _delete(verdict.tag, adapters) else left).add(verdict.tag.reference)

    with adapters.progress.task("retain", counted(total, "tag")) as task:
        try:
            for tag in _one_of_each_registry(releases):
                _try_deleting(tag, adapters)
            for release in releases:
                with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
                    _ = list(pool.map(take_away, release))
        except BuilderError:
            adapters.progress.warn(f"{len(gone)} of {counted(total, 'tag')} are gone; the same again goes on with the others.")
            raise
        task.outcome = f"{len(gone)} gone"
    return replace(planned, gone=frozenset(gone), left=frozenset(left))


def _known_variants(job: Job) -> frozenset[str]:
    recipes = load_recipes(job.recipes)
    newest = recipes.at(recipes.turning_points()[-1])
    return frozenset(variant for recipe in newest.chosen((EVERYTHING,)) for variant in recipe.variant_names)


def _list(repositories: Sequence[Repository], adapters: Adapters) -> tuple[list[ImageReference], list[str]]:
    number = "1 repository" if len(repositories) == 1 else f"{len(repositories)} repositories"
    with adapters.progress.task("list", f"tags of {number}") as task:
        found = list_all_tags(repositories, adapters.registry)
        listed = [repository.at(tag) for repository, tags in found.items() for tag in sorted(tags or ())]
        task.outcome = counted(len(listed), "tag")
    denied = [repository for repository, tags in found.items() if tags is None]
    return listed, [f"{repository} is not there, or its tags may not be listed" for repository in denied]


def _look(references: Sequence[ImageReference], timeline: Timeline, adapters: Adapters) -> list[TagThere]:
    put = _times(timeline)

    def look(reference: ImageReference) -> TagThere | None:
        try:
            manifest = adapters.registry.get_manifest(reference)
        except RegistryError as error:
            if not error.damaged:
                raise
            return TagThere(reference=reference, digest=None)
        return TagThere.of(reference, manifest, put(reference, manifest.digest)) if manifest else None

    with (
        adapters.progress.task("look", counted(len(references), "tag")),
        ThreadPoolExecutor(max_workers=_PARALLEL) as pool,
    ):
        return [tag for tag in pool.map(look, references) if tag]


def _times(timeline: Timeline) -> Callable[[ImageReference, Digest], datetime | None]:
    """When a release put an image to a tag, as the hub remembers; the time of what it only found there says nothing."""
    times: dict[tuple[ImageReference, Digest], datetime | None] = {}
    for release in timeline.releases:
        if release.happening.by != FOUND:
            for reference, digest in release.references.items():
                times.setdefault((reference, digest), parse_time(release.happening.time))
    return lambda reference, digest: times.get((reference, digest))


def _one_of_each_registry(releases: Sequence[Sequence[Verdict]]) -> list[TagThere]:
    first: dict[str, TagThere] = {}
    for release in releases:
        for verdict in release:
            first.setdefault(verdict.tag.reference.repository.registry, verdict.tag)
    return list(first.values())


def _try_deleting(tag: TagThere, adapters: Adapters) -> None:
    """Find out with two tags of our own, at an image of our own, whether a registry takes away a tag and no more.

    Some take the image with it, and so all its other tags, those that are to stay among them.
    """
    registry, repository = adapters.registry, tag.reference.repository
    first, second = map(repository.at, TRIAL_TAGS)
    if not registry.delete_tag(first):
        raise _cannot_delete(tag.reference)
    there = registry.get_manifest(tag.reference)
    if there is None:
        return
    trial = _trial_of(there)
    registry.put_tag(first, trial)
    registry.put_tag(second, trial)
    if not registry.delete_tag(first):
        raise _cannot_delete(tag.reference, f"; {first} and {second.tag}, with which that was tried, are left")
    found = registry.get_manifest(second)
    registry.delete_tag(second)
    if found is None or found.digest != trial.digest:
        raise RegistryError(
            f"{repository.registry} deletes an image with all its tags when one of them is deleted; no tag is gone",
            hint="Have the registry's own retention rules do it; docs/retain.md says what they should spare.",
        )


def _trial_of(manifest: Manifest) -> Manifest:
    """An image that any registry takes which has this one, and at which nobody else's tag is."""
    document = {**manifest.json(), "annotations": {"org.opencontainers.image.title": TRIAL_TAGS[0]}}
    return Manifest(media_type=manifest.media_type, content=json.dumps(document, separators=(",", ":")).encode())


def _delete(tag: TagThere, adapters: Adapters) -> bool:
    """Whether it is gone: not where somebody has moved it since."""
    assert tag.digest
    now = adapters.registry.get_manifest(tag.reference)
    if now and now.digest != tag.digest:
        return False
    if now and not adapters.registry.delete_tag(tag.reference):
        raise _cannot_delete(tag.reference)
    return True


def _cannot_delete(reference: ImageReference, more: str = "") -> RegistryError:
    return RegistryError(
        f"{reference.repository.registry} cannot delete tags, so {reference} stays{more}",
        hint="Have the registry's own retention rules do it; docs/retain.md says what they should spare.",
    )
