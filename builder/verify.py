"""Reads back what a puller would get: every platform's manifest, configuration and layers behind a reference."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from builder.errors import RegistryError, VerifyError
from builder.oci import Descriptor, ImageConfig, Manifest
from builder.plan import FINGERPRINT_ANNOTATION, ImagePlan, MirrorPlan
from builder.ports import Registry
from builder.publish import Publication
from builder.reference import Digest, ImageReference, Platform

_PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledPlatform:
    """One platform as a puller would get it; `size` is of its compressed layers, in bytes."""

    platform: Platform
    manifest: Manifest
    config: ImageConfig

    @property
    def size(self) -> int:
        """Compressed bytes of all layers."""
        return sum(layer.size for layer in self.manifest.layers())


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """What stands behind a reference. `problems` tells what a puller would stumble over; empty is good."""

    reference: ImageReference
    index: Manifest | None
    platforms: tuple[PulledPlatform, ...]
    problems: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """The inputs fingerprint it was published with, "" where it has none."""
        return self.index.annotations().get(FINGERPRINT_ANNOTATION, "") if self.index else ""


def pull(reference: ImageReference, registry: Registry) -> PulledImage:
    """Read an image as a puller would, without downloading layers. Raises RegistryError where the registry fails."""
    index = registry.get_manifest(reference)
    if index is None:
        return PulledImage(reference=reference, index=None, platforms=(), problems=(f"{reference} does not exist",))
    if not index.is_index:
        problem = f"{reference} is a single image, not an index of platforms"
        return PulledImage(reference=reference, index=index, platforms=(), problems=(problem,))
    problems: list[str] = []
    platforms = []
    for child in index.children():
        pulled = _pull_platform(reference, child, registry, problems)
        if pulled:
            platforms.append(pulled)
    return PulledImage(reference=reference, index=index, platforms=tuple(platforms), problems=tuple(problems))


def _pull_platform(
    reference: ImageReference, child: Descriptor, registry: Registry, problems: list[str]
) -> PulledPlatform | None:
    repository = reference.repository
    manifest = registry.get_manifest(repository.at(child.digest))
    if manifest is None:
        problems.append(f"{child.platform or 'an entry without platform'}: its manifest {child.digest} is missing")
        return None
    try:
        content = registry.get_blob(repository, manifest.config())
        # An attestation is there for who asks for it, and no platform to pull; its configuration may be anything.
        config = ImageConfig.parse(content) if child.platform is None or child.is_runnable else None
    except RegistryError as error:
        if error.status != 404:
            raise
        problems.append(f"{child.platform}: its configuration is missing")
        return None
    if config and config.platform != child.platform:
        problems.append(f"the index says {child.platform}, the image itself {config.platform}")
    problems += [
        f"{child.platform}: layer {layer.digest} is missing"
        for layer in manifest.layers()
        if not registry.has_blob(repository, layer.digest)
    ]
    return PulledPlatform(platform=config.platform, manifest=manifest, config=config) if config else None


def find_mirrored(plan: MirrorPlan, registry: Registry) -> Manifest | None:
    """The index of a mirror that every hub already holds, whole, whatever its tags are; else None."""
    found = None
    for repository in dict.fromkeys(reference.repository for reference in plan.references):
        image = pull(repository.at(plan.digest), registry)
        if image.problems or image.index is None:
            return None
        found = image.index
    return found


def find_published(plan: ImagePlan, registry: Registry) -> Manifest | None:
    """The index of an image that every hub already holds, whole and made from the same inputs; else None."""
    wanted = sorted(image.platform for image in plan.platforms)
    firsts = {reference.repository: reference for reference in reversed(plan.references)}.values()
    found = None
    for reference in firsts:
        image = pull(reference, registry)
        platforms = sorted(platform.platform for platform in image.platforms)
        if image.problems or image.fingerprint != plan.fingerprint or platforms != wanted:
            return None
        if found and image.index and found.digest != image.index.digest:
            return None
        found = image.index
    return found


def verify_content(publications: Sequence[Publication], registry: Registry) -> tuple[PulledImage, ...]:
    """Read back, by digest, what a puller would get: every platform whole, in every repository.

    Raises VerifyError listing what is not so. No tag is looked at: they are moved once this holds.
    """
    wanted = {
        reference.repository.at(publication.index.digest): publication
        for publication in publications
        for reference in publication.references
    }
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        images = tuple(pool.map(lambda reference: pull(reference, registry), wanted))
    problems = [f"{image.reference}: {problem}" for image in images for problem in image.problems]
    if problems:
        raise VerifyError(
            "the hub does not serve what was uploaded; no tag has moved:\n" + "\n".join(f"  {line}" for line in problems),
            hint="A clean-up job of the registry may have removed it meanwhile: run the same again.",
        )
    return images


def verify_tags(publications: Sequence[Publication], registry: Registry) -> None:
    """Read every tag back, after they have moved. Raises VerifyError saying which are not where they were put."""
    wanted = {reference: publication.index.digest for publication in publications for reference in publication.references}
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        found = dict(zip(wanted, pool.map(registry.get_manifest, wanted), strict=True))
    problems = [problem for reference, index in wanted.items() if (problem := _compare(reference, found[reference], index))]
    if problems:
        right = f"{len(wanted) - len(problems)} of {len(wanted)} tags are this release"
        raise VerifyError(
            f"all tags had moved, but {right}:\n" + "\n".join(f"  {problem}" for problem in problems),
            hint="Another run, or a clean-up job of the registry, has changed them meanwhile: run the same again.",
        )


def _compare(reference: ImageReference, found: Manifest | None, wanted: Digest) -> str:
    if found is None:
        return f"{reference} does not exist"
    return "" if found.digest == wanted else f"{reference} is {found.digest}, not {wanted}"
