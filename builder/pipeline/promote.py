"""Promotes a release: what is verified at one hub goes to other hubs or tags, the same to the digest."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from builder.config.settings import Job
from builder.errors import RequestError, VerifyError
from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, Hub, ImageReference, Platform, is_tag, parse_tag
from builder.pipeline.history import image_names, read_timeline
from builder.pipeline.report import Report
from builder.pipeline.run import publish_release
from builder.pipeline.verify import VerifyPlan, VerifyRequest, run_verification
from builder.pipeline.wiring import Adapters
from builder.plan.tags import is_of_tag
from builder.publish.guards import Permissions
from builder.publish.history import name_of
from builder.publish.promotion import Destination, HeldRelease, promote, sources_of
from builder.publish.publication import Publication, Release
from builder.publish.referrers import Referrers
from builder.publish.tags import read_tags
from builder.publish.timeline import Timeline
from builder.recipe.book import RecipeBook
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.verify.expectation import ExpectedImage, Selection, expect_release
from builder.verify.verification import Verification, Wanted

_PARALLEL = 6
_SHOWN = 12
_VERSION_ANNOTATION = "org.opencontainers.image.version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The hub and the tag of the release that is promoted."""

    hub: Hub
    tag: str

    def __str__(self) -> str:
        return f"{self.hub}:{self.tag}"


def parse_source(text: str, job: Job) -> tuple[Source, Destination]:
    """Where from and where to.

    `HUB:TAG` names the release's own tag, and --tag new ones (by default the same). Without it, the first --tag is the
    release's own, and the others, where there are any, are the new ones. Without --hub it stays at its hub.
    """
    head, slash, last = text.strip().rpartition("/")
    name, colon, own = last.rpartition(":")
    if not colon or (not slash and own.isdigit()):
        # What stands behind a bare host is its port.
        name, colon, own = last, "", ""
    hub = Hub.parse(f"{head}{slash}{name}")
    tags = job.request.tags
    if not colon and not tags:
        raise RequestError("which release is to be promoted?", hint=f"Name its tag: --from {hub}:1.29.0.")
    source = Source(hub=hub, tag=parse_tag(own) if colon else tags[0])
    new = (tags if colon else tags[1:]) or (source.tag,)
    destination = Destination(hubs=job.request.hubs or (hub,), tags=new)
    if destination.hubs == (hub,) and new == (source.tag,):
        raise RequestError(f"{source} is to become what it is", hint="Name another --hub, or another --tag.")
    return source, destination


def promote_release(
    job: Job, source: Source, destination: Destination, adapters: Adapters, started: float, *, replace: bool
) -> Report:
    """Verify the release at its hub, copy it with what refers to it, and move all tags or none."""
    held, hub = _verify_source(job, source, destination, adapters)
    publications = promote(held, destination, adapters.registry, adapters.workspace.downloads)
    version = next((note for _, _, index in held.images if (note := _version_of(index))), source.tag)
    release = Release(version=version, hub=hub, publications=publications)
    context = adapters.publish_context(
        Permissions(replace=replace, no_clobber=job.no_clobber, immutable=job.immutable), by=f"promote {source}"
    )
    states = {entry.key: "promoted" for entry in publications}
    if any(entry.key.startswith("istioctl-") for entry in publications):
        adapters.progress.warn(
            "programs keep the hub and the tag that they were built for, so an istioctl has to be told: "
            f"istioctl install --set hub={hub} --set tag={destination.tags[0]}"
        )
    return publish_release(release, states, context, started, beside=lambda entries: _copy_referrers(entries, adapters))


def _verify_source(job: Job, source: Source, destination: Destination, adapters: Adapters) -> tuple[HeldRelease, str]:
    found = _find_images(job, source, adapters)
    manifests = read_tags(tuple(found.keys), adapters.registry)
    expected = found.expected
    if found.release:
        expected, _ = _expect(job, source, found.release, _stamps(manifests.values(), found.release))
    plan = VerifyPlan(
        wanted=tuple(
            _want(reference, job, manifests[reference], expected.get(reference), destination.hubs[0])
            for reference in found.keys
            if manifests[reference] or reference not in found.optional
        ),
        release="",
        notes=found.notes,
    )
    verification = run_verification(plan, VerifyRequest(), adapters)
    _refuse_faults(verification, source)
    for finding in verification.findings:
        adapters.progress.warn(f"{finding.reference} {finding.platform}: {finding.message}".replace(" :", ":"))
    # What was verified is what goes, whatever the tags are by now.
    digests = {reference: Digest(image.digest) for image in verification.images for reference in image.references if image.digest}
    indexes = read_tags(tuple({ref.repository.at(digest) for ref, digest in digests.items()}), adapters.registry)
    images = []
    for reference, digest in digests.items():
        index = indexes[reference.repository.at(digest)]
        if index is None:
            raise VerifyError(f"{reference} has vanished while it was verified; nothing was promoted")
        images.append((reference, found.keys[reference], index))
    if not images:
        raise RequestError(
            f"there is nothing of the tag {source.tag} at {source.hub}", hint="`istio-build history` shows what is."
        )
    return HeldRelease(tag=source.tag, variants=found.variants, images=tuple(images)), str(destination.hubs[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _FoundImages:
    """The tags of a release: which image each is of, what recipes expect of it, and which need not be there."""

    keys: Mapping[ImageReference, str]
    expected: Mapping[ImageReference, ExpectedImage]
    optional: frozenset[ImageReference]
    variants: frozenset[str]
    release: IstioRelease | None
    notes: tuple[str, ...] = ()


def _find_images(job: Job, source: Source, adapters: Adapters) -> _FoundImages:
    """As the hub remembers them; where it does not remember this tag, as the recipes of the release say."""
    names, only = image_names(job)
    timeline = read_timeline((source.hub,), names, adapters, only=only)
    remembered = {
        reference: key
        for reference, key in timeline.keys().items()
        if is_of_tag(reference.tag, source.tag, timeline.variants) and _has_variant(job, reference, key)
    }
    release = _release_of(job, source, timeline, remembered)
    if release is None and not remembered:
        raise RequestError(
            f"{source.hub} remembers no release with the tag {source.tag}, so its images are not known",
            hint="Say which release of Istio it is: --istio 1.29.0.",
        )
    expected, notes = _expect(job, source, release) if release else ({}, ())
    if remembered:
        return _FoundImages(
            keys=remembered,
            expected=expected,
            optional=frozenset(),
            variants=timeline.variants,
            release=release,
            notes=(*timeline.notes, *_not_remembered(timeline, source)),
        )
    return _FoundImages(
        keys={
            reference: f"{image.image}-{image.variant}" if image.variant else image.image for reference, image in expected.items()
        },
        expected=expected,
        optional=frozenset(reference for reference, image in expected.items() if image.optional),
        variants=timeline.variants | {image.variant for image in expected.values() if image.variant},
        release=release,
        notes=(*timeline.notes, *notes),
    )


def _not_remembered(timeline: Timeline, source: Source) -> tuple[str, ...]:
    """The newest release with this tag was in repositories that do not say so."""
    newest = next(
        (past for past in timeline.releases if any(is_of_tag(ref.tag, source.tag, timeline.variants) for ref in past.references)),
        None,
    )
    silent = newest.forgotten if newest else ()
    meant = [repository for repository in silent if not timeline.images or name_of(repository) in timeline.images]
    return tuple(f"{repository} is not promoted: it does not remember that release" for repository in meant)


def _expect(
    job: Job, source: Source, release: IstioRelease, stamps: tuple[str, ...] = ()
) -> tuple[dict[ImageReference, ExpectedImage], tuple[str, ...]]:
    """What recipes say of each tag; `stamps` are versions that programs may have besides."""
    book: RecipeBook = load_recipes(job.recipes, build_bases=job.request.build_bases).at(release)
    known = {recipe.image for recipe in book.images}
    # What the hub remembers may be of a recipe that is not here.
    images = tuple(word for word in job.request.images if word in known or not _is_image(word, job))
    if job.request.images and not images:
        return {}, ()
    selection = Selection(images=images, variants=job.request.variants, tags=(source.tag, *stamps))
    expected, unknown = expect_release(book, selection)
    notes = tuple(f"{image}: its tags depend on Istio's source, so it is not looked for" for image in unknown)
    return {reference: image for image in expected for reference in image.references(source.hub)}, notes


def _stamps(manifests: Iterable[Manifest | None], release: IstioRelease) -> tuple[str, ...]:
    """The versions that images of this release say they are: a release keeps its own under another tag."""
    notes = dict.fromkeys(_version_of(manifest) for manifest in manifests if manifest)
    return tuple(note for note in notes if is_tag(note) and IstioRelease.parse(note) == release)


def _is_image(word: str, job: Job) -> bool:
    """Whether a word is an image's name, and not a group's."""
    names, _ = image_names(job)
    return word in names


def _release_of(job: Job, source: Source, timeline: Timeline, remembered: Mapping[ImageReference, str]) -> IstioRelease | None:
    """That of --istio, or which the tag names, or which the hub remembers."""
    versions = [past.version for past in timeline.releases if not past.references.keys().isdisjoint(remembered)]
    for text in (job.source.release, source.tag, *versions):
        found = IstioRelease.parse(text) if text else None
        if found:
            return found
    return None


def _has_variant(job: Job, reference: ImageReference, key: str) -> bool:
    """Whether a tag is of one of the wanted variants."""
    wanted = job.request.variants
    return not wanted or any(key == f"{name_of(reference.repository)}-{variant}" for variant in wanted)


def _want(
    reference: ImageReference,
    job: Job,
    manifest: Manifest | None,
    expected: ExpectedImage | None,
    hub: Hub,
) -> Wanted:
    """What is expected of a tag. `hub` is where it goes: an istioctl that installs from another one is told."""
    chosen = any(setting.name == "platform" and setting.origin != "default" for setting in job.settings)
    platforms: tuple[Platform, ...] = job.request.platforms
    if expected is None and manifest and manifest.is_index and not chosen:
        # No recipe says on which it should be: on those that it is on.
        platforms = tuple(dict.fromkeys(manifest.platforms())) or platforms
    elif expected and not chosen:
        platforms = tuple(platform for platform in platforms if platform not in expected.lacks)
    return Wanted(reference=reference, platforms=platforms, expected=expected, hub=hub if expected else None)


def _refuse_faults(verification: Verification, source: Source) -> None:
    if verification.failures:
        raise verification.failures[0]
    faults = verification.faults
    if faults:
        shown = [
            f"  {fault.kind}: {fault.reference} {fault.platform}: {fault.message}".replace(" :", ":") for fault in faults[:_SHOWN]
        ]
        more = [f"  … and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        raise VerifyError(
            f"{source} is not right, so nothing was promoted:\n" + "\n".join((*shown, *more)),
            hint=f"`istio-build verify --hub {source.hub} --tag {source.tag} --fix-hint` says how each is mended. "
            "--image says which images are meant, --platform which platforms have to be there.",
        )


def _copy_referrers(publications: Sequence[Publication], adapters: Adapters) -> None:
    """Signatures and the like go where the images go, before any tag leads there."""
    copies = [
        (entry, source, target)
        for entry, source in sources_of(publications).items()
        for target in dict.fromkeys(reference.repository for reference in entry.references)
    ]
    if not copies:
        return
    referrers = Referrers(adapters.registry, adapters.progress, adapters.workspace.downloads)
    with adapters.progress.task("copy", "what refers to the images") as task, ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        counts = pool.map(lambda copy: referrers.copy(copy[1], copy[2], _subjects(copy[0])), copies)
        task.outcome = f"{sum(counts)} copied"


def _subjects(publication: Publication) -> tuple[Digest, ...]:
    return (publication.index.digest, *(child.digest for child in publication.index.children()))


def _version_of(index: Manifest) -> str:
    return index.annotations().get(_VERSION_ANNOTATION, "")
