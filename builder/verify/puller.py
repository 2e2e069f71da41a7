"""A puller's eyes: manifests, configurations and sizes of blobs behind references, each asked for once."""

from builder.oci.manifest import Descriptor, FoundBlob, ImageConfig, Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.ports import BlobFinder
from builder.runtime.once import Once


class Puller:
    """For many threads. Every method raises RegistryError; one that is `damaged` says something of the image."""

    def __init__(self, registry: BlobFinder) -> None:
        self.registry = registry
        self.manifest: Once[ImageReference, Manifest | None] = Once(registry.get_manifest)
        self._blobs: Once[tuple[Repository, Digest], FoundBlob | None] = Once(lambda key: registry.find_blob(*key))
        self._configs: Once[tuple[Repository, Descriptor], ImageConfig] = Once(
            lambda key: ImageConfig.parse(registry.get_blob(*key))
        )

    def find_blob(self, repository: Repository, digest: Digest) -> FoundBlob | None:
        """What the registry has of a blob, None where it has none."""
        return self._blobs((repository, digest))

    def config(self, repository: Repository, descriptor: Descriptor) -> ImageConfig:
        """An image configuration."""
        return self._configs((repository, descriptor))
