"""A push never takes a platform away from a tag that has it, unless it is told to: part of `builder.publish.guards`."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from builder.errors import PlatformLoss, RegistryError
from builder.oci.manifest import ImageConfig, Manifest
from builder.oci.reference import ImageReference, Platform
from builder.ports import ImageReader

_PARALLEL_READS = 6
_SHOWN = 12


def refuse_fewer_platforms(
    moves: Mapping[ImageReference, tuple[frozenset[Platform], Manifest | None]], registry: ImageReader
) -> None:
    """Raises PlatformLoss where what a tag is now has a platform that is not among those it is to have."""
    with ThreadPoolExecutor(max_workers=_PARALLEL_READS) as pool:
        present = pool.map(lambda item: _platforms(item[0], item[1][1], registry), moves.items())
        findings = [
            f"  {reference} has {_names(have)}; it would have {_names(wanted)}"
            for (reference, (wanted, _)), have in zip(moves.items(), present, strict=True)
            if have - wanted
        ]
    if findings:
        more = f"\n  … and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
        raise PlatformLoss(
            "this push would take platforms away from tags that have them; it has moved none:\n"
            + "\n".join(findings[:_SHOWN])
            + more,
            hint="Push those platforms, too (--platform linux/amd64,linux/arm64), say --merge-platforms to keep what the tag has "
            "for them, choose another --tag, or say --replace if nodes of these platforms are to find nothing there any more.",
        )


def _platforms(reference: ImageReference, manifest: Manifest | None, registry: ImageReader) -> frozenset[Platform]:
    """The platforms for which a puller finds something there. Raises RegistryError where that cannot be told."""
    if manifest is None:
        return frozenset()
    if not manifest.is_index:
        return _platform_of(reference, manifest, registry)
    # An index need not say which platform an image is for (image-spec v1.1, image-index.md).
    unnamed = [
        registry.get_manifest(reference.repository.at(child.digest)) for child in manifest.children() if not child.platform
    ]
    found = [_platform_of(reference, child, registry) for child in unnamed if child and not child.is_index]
    return frozenset(manifest.platforms()).union(*found)


def _platform_of(reference: ImageReference, manifest: Manifest, registry: ImageReader) -> frozenset[Platform]:
    try:
        content = registry.get_blob(reference.repository, manifest.config())
    except RegistryError as error:
        if error.status != 404:
            raise
        # Half an image: nothing that anybody could pull is lost.
        return frozenset()
    try:
        return frozenset((ImageConfig.parse(content).platform,))
    except RegistryError:
        # A document, such as an attestation, and no image.
        return frozenset()


def _names(platforms: frozenset[Platform]) -> str:
    return ", ".join(sorted(map(str, platforms))) or "none"
