"""Blobs of an image at a registry, in a cache by their digest."""

from collections.abc import Callable
from pathlib import Path

from builder.errors import BaseImageError
from builder.oci.manifest import Descriptor
from builder.oci.reference import ImageReference, Repository
from builder.ports import RegistryReader
from builder.runtime.atomic_file import has_sha256
from builder.runtime.last_use import mark_used
from builder.runtime.progress import Task


def fetch_blob(
    repository: Repository,
    blob: Descriptor,
    cache: Path,
    registry: RegistryReader,
    on_bytes: Callable[[int], None] | None = None,
) -> Path:
    """The file of a blob; not fetched again where `cache` has it whole. Raises what the registry raises."""
    path = cache / blob.digest.hex
    mark_used(path)
    if not has_sha256(path, blob.digest.hex):
        registry.pull_blob(repository, blob, path, on_bytes=on_bytes)
    return path


def fetch_layer(reference: ImageReference, layer: Descriptor, cache: Path, registry: RegistryReader, task: Task) -> Path:
    """The blob of one layer, as `fetch_blob` gives it; `task` shows how much of it has come."""
    return fetch_blob(reference.repository, layer, cache, registry, lambda count: task.advance(count, layer.size))


def fetch_layers(reference: ImageReference, cache: Path, registry: RegistryReader, task: Task) -> tuple[tuple[Path, str], ...]:
    """All layers of a base image, which `reference` binds to its manifest for one platform: blob and media type, base first.

    Raises BaseImageError where the image is gone, and what the registry raises.
    """
    manifest = registry.get_manifest(reference)
    if manifest is None:
        raise BaseImageError(f"{reference} is not there any more", hint="It was a moment ago: run the same again.")
    return tuple((fetch_layer(reference, layer, cache, registry, task), layer.media_type) for layer in manifest.layers())
