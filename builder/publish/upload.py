"""Publishes the content of a set of images, everything by its digest; `builder.publish.tags` then moves the tags."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Repository
from builder.ports import RegistryWriter, UploadOutcome
from builder.publish.content import ContentSource
from builder.publish.publication import Publication, Traffic
from builder.runtime.cancellation import TaskGroup
from builder.runtime.concurrency import finish_or_end
from builder.runtime.progress import Progress

_PARALLEL_UPLOADS = 6
_INTERRUPTED = "interrupted; no tag has moved"


class Uploads:
    """Sends what repositories lack, each thing under its digest; no tag is touched. A repository gets each blob once,
    whatever holds it. To be used in a `with` block, at whose end nothing is on its way any more.

    What fails first ends the group.
    """

    def __init__(self, registry: RegistryWriter, progress: Progress, group: TaskGroup) -> None:
        self._registry = registry
        self._progress = progress
        self._group = group
        self._pool = ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS)
        self._ahead = ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS)
        self._lock = threading.Lock()
        self._blobs: dict[tuple[Repository, Descriptor], Future[UploadOutcome]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error:
            self._group.fail(error)
        for pool in (self._ahead, self._pool):
            pool.shutdown(cancel_futures=error is not None)

    def send_ahead(self, repositories: Sequence[Repository], name: str, manifest: Manifest, content: ContentSource) -> None:
        """Begin with the blobs of one platform's image, which `name` tells, while others are still being made.

        Nobody who pulls sees a difference. Should the release fail, they are left for the registry's next clean-up.
        """
        for repository in repositories:
            self._ahead.submit(self._send_blobs, repository, name, manifest, content)

    def publish(self, publications: Sequence[Publication]) -> Traffic:
        """Send all: blobs, then manifests, then the index. Raises RegistryError, CheckError, Interrupted."""
        by_repository: dict[Repository, list[Publication]] = {}
        for publication in publications:
            for repository in dict.fromkeys(reference.repository for reference in publication.references):
                if publication.content is not None:
                    by_repository.setdefault(repository, []).append(publication)
        with ThreadPoolExecutor(max_workers=max(1, len(by_repository))) as drivers:
            results = [drivers.submit(self._publish_to, *entry) for entry in by_repository.items()]
            finish_or_end(results, self._group, _INTERRUPTED)
        return self._traffic()

    def _traffic(self) -> Traffic:
        with self._lock:
            # What was sent ahead of an image that failed may still be on its way, and more of it come.
            sent = tuple(self._blobs.items())
        outcomes = [(future.result(), blob.size) for (_, blob), future in sent]
        return Traffic(
            uploaded=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.UPLOADED),
            mounted=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.MOUNTED),
            present=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.PRESENT),
            bytes_sent=sum(size for outcome, size in outcomes if outcome is UploadOutcome.UPLOADED),
        )

    def _send_blobs(self, repository: Repository, name: str, manifest: Manifest, content: ContentSource) -> None:
        blobs = dict.fromkeys((manifest.config(), *manifest.layers()), content)
        with self._progress.task("push", f"{repository} {name}") as task:
            sent = self._push_blobs(repository, blobs, task.advance)
            task.outcome = f"{sent} blobs sent"

    def _publish_to(self, repository: Repository, publications: Sequence[Publication]) -> None:
        with self._progress.task("push", str(repository)) as task:
            blobs: dict[Descriptor, ContentSource] = {}
            for publication in publications:
                assert publication.content is not None
                for child in publication.index.children():
                    manifest = publication.content.manifest(child)
                    for blob in (manifest.config(), *manifest.layers()):
                        blobs.setdefault(blob, publication.content)
            sent = self._push_blobs(repository, blobs, task.advance)
            self._put_manifests(repository, publications)
            task.outcome = f"{sent} blobs sent"

    def _push_blobs(
        self, repository: Repository, blobs: dict[Descriptor, ContentSource], advance: Callable[[int, int], None]
    ) -> int:
        """Have these blobs there; gives how many of them were sent for it."""
        total = sum(blob.size for blob in blobs)
        futures = []
        for blob, content in blobs.items():
            with self._lock:
                future = self._blobs.get((repository, blob))
                if future is None:
                    future = self._pool.submit(self._push_blob, repository, blob, content, lambda count: advance(count, total))
                    self._blobs[repository, blob] = future
                else:
                    # On its way already, or there.
                    advance(blob.size, total)
            futures.append(future)
        finish_or_end(futures, self._group, _INTERRUPTED)
        return sum(1 for future in futures if future.result() is UploadOutcome.UPLOADED)

    def _push_blob(
        self, repository: Repository, blob: Descriptor, content: ContentSource, advance: Callable[[int], None]
    ) -> UploadOutcome:
        self._group.check()
        outcome = self._registry.push_blob(
            repository,
            blob,
            lambda: content.blob(blob),
            mount_from=[other for other in content.mount_from if other.registry == repository.registry],
            on_bytes=advance,
        )
        if outcome is not UploadOutcome.UPLOADED:
            advance(blob.size)
        return outcome

    def _put_manifests(self, repository: Repository, publications: Sequence[Publication]) -> None:
        for publication in publications:
            assert publication.content is not None
            for child in publication.index.children():
                self._registry.put_manifest(repository, publication.content.manifest(child))
            self._registry.put_manifest(repository, publication.index)
