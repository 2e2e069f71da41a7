"""Layers of base images, fetched where an engine has not got them already."""

import threading
from collections import defaultdict
from pathlib import Path

from builder.build.context import BuildContext
from builder.images.layers import fetch_blob
from builder.oci.manifest import Descriptor
from builder.oci.reference import Digest, Repository
from builder.runtime.atomic_file import has_sha256
from builder.runtime.last_use import mark_used


class BaseLayers:
    """Each is fetched once, however many images and platforms wait for it. Blobs are named by their sha256, as downloads are."""

    def __init__(self, context: BuildContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._locks: defaultdict[Digest, threading.Lock] = defaultdict(threading.Lock)

    def fetch(self, repository: Repository, layer: Descriptor) -> Path:
        """The blob of a layer. Raises what the registry raises."""
        cached = self._context.downloads / layer.digest.hex
        with self._lock:
            lock = self._locks[layer.digest]
        with lock:
            mark_used(cached)
            if has_sha256(cached, layer.digest.hex):
                return cached
            with self._context.progress.task("fetch", f"layer {layer.digest.short} of {repository}") as task:
                size = layer.size
                return fetch_blob(
                    repository, layer, self._context.downloads, self._context.registry, lambda n: task.advance(n, size)
                )
