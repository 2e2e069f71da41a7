"""A look at images that share content: what a digest names is asked for once, as variants and tags have most of it in common."""

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from threading import Lock
from typing import TypeVar

from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.ports import RegistryReader

Key = TypeVar("Key")
Answer = TypeVar("Answer")


class OneLook:
    """Implements `ports.RegistryReader` for a moment: what a digest names is taken to stay as it was when first asked for.

    A tag is read each time, and what failed is asked for again. Safe for several threads: who asks second waits for the first.
    """

    def __init__(self, registry: RegistryReader) -> None:
        self._registry = registry
        self._lock = Lock()
        self._manifests: dict[ImageReference, Future[Manifest | None]] = {}
        self._blobs: dict[tuple[Repository, Digest], Future[bytes]] = {}
        self._present: dict[tuple[Repository, Digest], Future[bool]] = {}

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        """See `ports.ImageReader.get_manifest`."""
        if reference.digest is None:
            return self._registry.get_manifest(reference)
        return self._once(self._manifests, reference, lambda: self._registry.get_manifest(reference))

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        """See `ports.ImageReader.get_blob`."""
        return self._once(self._blobs, (repository, descriptor.digest), lambda: self._registry.get_blob(repository, descriptor))

    def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """See `ports.RegistryReader.has_blob`."""
        return self._once(self._present, (repository, digest), lambda: self._registry.has_blob(repository, digest))

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

    def _once(self, known: dict[Key, Future[Answer]], key: Key, ask: Callable[[], Answer]) -> Answer:
        with self._lock:
            future = known.get(key)
            mine = future is None
            if future is None:
                future = known[key] = Future()
        if mine:
            try:
                future.set_result(ask())
            except BaseException as error:
                with self._lock:
                    known.pop(key, None)
                future.set_exception(error)
        return future.result()
