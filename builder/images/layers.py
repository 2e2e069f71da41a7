"""The layers of an image at a registry, in a cache by their digest."""

from pathlib import Path

from builder.errors import BaseImageError
from builder.oci.manifest import Descriptor
from builder.oci.reference import ImageReference
from builder.ports import RegistryReader
from builder.runtime.atomic_file import has_sha256
from builder.runtime.progress import Task


def fetch_layer(reference: ImageReference, layer: Descriptor, cache: Path, registry: RegistryReader, task: Task) -> Path:
    """The blob of one layer; not fetched again where `cache` has it whole. Raises what the registry raises."""
    blob = cache / layer.digest.hex
    if not has_sha256(blob, layer.digest.hex):
        registry.pull_blob(reference.repository, layer, blob, on_bytes=lambda count: task.advance(count, layer.size))
    return blob


def fetch_layers(reference: ImageReference, cache: Path, registry: RegistryReader, task: Task) -> tuple[tuple[Path, str], ...]:
    """All layers of a base image, which `reference` binds to its manifest for one platform: blob and media type, base first.

    Raises BaseImageError where the image is gone, and what the registry raises.
    """
    manifest = registry.get_manifest(reference)
    if manifest is None:
        raise BaseImageError(f"{reference} is not there any more", hint="It was a moment ago: run the same again.")
    return tuple((fetch_layer(reference, layer, cache, registry, task), layer.media_type) for layer in manifest.layers())
