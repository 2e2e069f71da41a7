"""A look at images that share content: what a digest names is asked for once, as variants and tags have most of it in common."""

from collections.abc import Callable
from pathlib import Path

from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.ports import RegistryReader
from builder.runtime.once import Once


class OneLook:
    """Implements `ports.RegistryReader` for a moment: what a digest names is taken to stay as it was when first asked for.

    A tag is read each time, and what failed is asked for again. Safe for several threads: who asks second waits for the first.
    """

    def __init__(self, registry: RegistryReader) -> None:
        self._registry = registry
        self._manifests: Once[ImageReference, Manifest | None] = Once(registry.get_manifest)
        self._blobs: Once[tuple[Repository, Descriptor], bytes] = Once(lambda key: registry.get_blob(*key))
        self._present: Once[tuple[Repository, Digest], bool] = Once(lambda key: registry.has_blob(*key))

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        """See `ports.ImageReader.get_manifest`."""
        return self._registry.get_manifest(reference) if reference.digest is None else self._manifests(reference)

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        """See `ports.ImageReader.get_blob`."""
        return self._blobs((repository, descriptor))

    def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """See `ports.RegistryReader.has_blob`."""
        return self._present((repository, digest))

    def pull_blob(
        self,
        repository: Repository,
        descriptor: Descriptor,
        into: Path,
        *,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """See `ports.RegistryReader.pull_blob`."""
        self._registry.pull_blob(repository, descriptor, into, on_bytes=on_bytes)
