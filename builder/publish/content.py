"""Where the content of what is published comes from: a layout on disk, or a repository at a registry."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.errors import RegistryError
from builder.images.layers import fetch_blob
from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Digest, Repository
from builder.ports import RegistryReader


class ContentSource(Protocol):
    """Holds the manifests and blobs of an image."""

    @property
    def mount_from(self) -> tuple[Repository, ...]:
        """Repositories that may hold some of its blobs: a registry can take those over from another of its own."""
        ...

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """The manifest behind a descriptor. Raises CheckError or RegistryError where it cannot be had."""
        ...

    def blob(self, descriptor: Descriptor) -> Path:
        """A file with this blob. Asked for only what has to be sent. Raises CheckError or RegistryError."""
        ...


@dataclass(frozen=True, slots=True)
class LayoutContent:
    """A layout on disk. `mount_from` are repositories that may hold what it was made from, such as its base layers.

    `fetch` gets blobs that it names and lacks: those of its base, which most often need not be sent.
    """

    layout: Layout
    mount_from: tuple[Repository, ...] = ()
    fetch: Callable[[Descriptor], Path] | None = None

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """See `ContentSource.manifest`."""
        return self.layout.manifest(descriptor)

    def blob(self, descriptor: Descriptor) -> Path:
        """See `ContentSource.blob`."""
        path = self.layout.blob(descriptor.digest)
        return path if self.fetch is None or path.exists() else self.fetch(descriptor)


@dataclass(frozen=True, slots=True)
class JoinedContent:
    """Several layouts that hold the platforms of one image between them. `mount_from` is as that of `LayoutContent`."""

    layouts: tuple[Layout, ...]
    mount_from: tuple[Repository, ...] = ()

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """See `ContentSource.manifest`."""
        return self._holder(descriptor).manifest(descriptor)

    def blob(self, descriptor: Descriptor) -> Path:
        """See `ContentSource.blob`."""
        return self._holder(descriptor).blob(descriptor.digest)

    def _holder(self, descriptor: Descriptor) -> Layout:
        """The first layout that has it; where none has, the last says so."""
        return next((layout for layout in self.layouts if layout.blob(descriptor.digest).exists()), self.layouts[-1])


@dataclass(frozen=True, slots=True)
class RepositoryContent:
    """A repository at a registry. Blobs that have to be sent elsewhere are fetched into `cache` first, by their sha256."""

    repository: Repository
    registry: RegistryReader
    cache: Path

    @property
    def mount_from(self) -> tuple[Repository, ...]:
        """See `ContentSource.mount_from`."""
        return (self.repository,)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """See `ContentSource.manifest`."""
        reference = self.repository.at(descriptor.digest)
        manifest = self.registry.get_manifest(reference)
        if manifest is None:
            raise RegistryError(f"{reference} is not there", hint="Is the whole image there, with all of its platforms?")
        return manifest

    def blob(self, descriptor: Descriptor) -> Path:
        """See `ContentSource.blob`."""
        return fetch_blob(self.repository, descriptor, self.cache, self.registry)


@dataclass(frozen=True, slots=True)
class MergedContent:
    """What was made here, and what of the image is at a hub already: the manifests and blobs of these `digests`."""

    own: ContentSource
    other: ContentSource
    digests: frozenset[Digest]

    @property
    def mount_from(self) -> tuple[Repository, ...]:
        """See `ContentSource.mount_from`."""
        return (*self.own.mount_from, *self.other.mount_from)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """See `ContentSource.manifest`."""
        return self._holder(descriptor).manifest(descriptor)

    def blob(self, descriptor: Descriptor) -> Path:
        """See `ContentSource.blob`."""
        return self._holder(descriptor).blob(descriptor)

    def _holder(self, descriptor: Descriptor) -> ContentSource:
        return self.other if descriptor.digest in self.digests else self.own
