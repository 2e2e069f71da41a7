"""Reads an image as a puller would get it: every platform's manifest, configuration and layers behind a reference."""

from collections.abc import Iterable
from dataclasses import dataclass

from builder.errors import RegistryError
from builder.images.noted_inputs import read_notes
from builder.oci.manifest import Descriptor, ImageConfig, Manifest
from builder.oci.reference import ImageReference, Platform
from builder.plan.fingerprint import split_fingerprints
from builder.plan.model import FINGERPRINT_ANNOTATION
from builder.plan.noted import Notes
from builder.ports import RegistryReader


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

    @property
    def inputs(self) -> dict[str, str]:
        """The same by platform."""
        return split_fingerprints(self.fingerprint)

    @property
    def notes(self) -> dict[str, Notes]:
        """What it was made from by name, by platform, as far as that is noted there."""
        return read_notes(self.index.annotations()) if self.index else {}


def pull(reference: ImageReference, registry: RegistryReader) -> PulledImage:
    """Read an image as a puller would, without downloading layers. Raises RegistryError where the registry fails."""
    index = registry.get_manifest(reference)
    if index is None:
        return PulledImage(reference=reference, index=None, platforms=(), problems=(f"{reference} does not exist",))
    if not index.is_index:
        problem = f"{reference} is a single image, not an index of platforms"
        return PulledImage(reference=reference, index=index, platforms=(), problems=(problem,))
    return pull_platforms(reference, index, index.children(), registry)


def pull_platforms(
    reference: ImageReference, index: Manifest, children: Iterable[Descriptor], registry: RegistryReader
) -> PulledImage:
    """The same of some of the manifests alone that the index behind a reference lists."""
    problems: list[str] = []
    pulled = [_pull_platform(reference, child, registry, problems) for child in children]
    return PulledImage(reference=reference, index=index, platforms=tuple(one for one in pulled if one), problems=tuple(problems))


def _pull_platform(
    reference: ImageReference, child: Descriptor, registry: RegistryReader, problems: list[str]
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
