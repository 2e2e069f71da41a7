"""Fetches all that building a plan needs into the cache, and builds nothing: afterwards the build needs no network."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from builder.build.fetch import fetch_artifact, fetch_package
from builder.errors import BaseImageError
from builder.images.file import fetch_from_image
from builder.images.layers import fetch_layer
from builder.oci.manifest import Descriptor
from builder.oci.reference import ImageReference
from builder.plan.lock import ImageArtifact, Lock, LockedArtifact, LockedMirror, UrlArtifact
from builder.ports import Downloader, ImageReader, RegistryReader
from builder.runtime.cancellation import TaskGroup
from builder.runtime.concurrency import finish_or_end
from builder.runtime.progress import Progress

_PARALLEL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefetch:
    """What fetching needs of the world. `documents` remembers manifests and configurations, `downloads` has files by sha256."""

    downloads: Path
    downloader: Downloader
    registry: RegistryReader
    documents: ImageReader
    progress: Progress
    cancellation: TaskGroup

    def fetch(self, lock: Lock) -> None:
        """Fetch everything that the lock binds. Raises what fetching raises."""
        packages = {package.sha256: package for locked in lock.packages for package in locked.packages}
        tasks: list[Callable[[], None]] = [partial(self._artifact, artifact) for artifact in dict.fromkeys(lock.artifacts)]
        # Bases of one distribution share layers.
        layers = {layer.digest: (reference, layer) for reference, layer in self._layers(lock)}
        tasks += [partial(self._layer, reference, layer) for reference, layer in layers.values()]
        tasks += [partial(self._package, package) for package in packages.values()]
        with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
            finish_or_end([pool.submit(task) for task in tasks], self.cancellation, "interrupted; what is fetched stays")

    def _layers(self, lock: Lock) -> Iterator[tuple[ImageReference, Descriptor]]:
        """The layers of bases, and all blobs of what is copied."""
        for base in lock.bases:
            for platform in base.platforms:
                yield from ((base.reference, layer) for layer in platform.layers)
        for mirror in lock.mirrors:
            yield from ((mirror.source, blob) for blob in self._blobs_of(mirror))

    def _blobs_of(self, mirror: LockedMirror) -> Iterator[Descriptor]:
        index = self.documents.get_manifest(mirror.source)
        for child in index.children() if index else ():
            manifest = self.documents.get_manifest(mirror.source.repository.at(child.digest))
            if manifest is None:
                raise BaseImageError(
                    f"{mirror.source} lists {child.digest}, which is missing", hint="Name another source with --mirror-from."
                )
            yield manifest.config()
            yield from manifest.layers()

    def _artifact(self, artifact: LockedArtifact) -> None:
        with self.progress.task("fetch", f"{artifact.name} {artifact.platform}") as task:
            if isinstance(artifact, ImageArtifact):
                fetch_from_image(artifact, self.downloads, self.registry, task)
            else:
                fetch_artifact(artifact, self.downloads, self.downloader, task)

    def _layer(self, reference: ImageReference, layer: Descriptor) -> None:
        with self.progress.task("fetch", f"layer {layer.digest.short} of {reference.repository}") as task:
            self.downloads.mkdir(parents=True, exist_ok=True)
            fetch_layer(reference, layer, self.downloads, self.registry, task)

    def _package(self, package: UrlArtifact) -> None:
        with self.progress.task("fetch", package.name):
            fetch_package(package, self.downloads, self.downloader)
