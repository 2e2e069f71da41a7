"""Publishes the content of a set of images, everything by its digest; `builder.publish.tags` then moves the tags."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Digest, Repository
from builder.ports import RegistryWriter, UploadOutcome
from builder.publish.content import ContentSource
from builder.publish.publication import Publication, Traffic
from builder.runtime.cancellation import TaskGroup
from builder.runtime.concurrency import finish_or_end
from builder.runtime.progress import Progress
from builder.runtime.text import counted

_PARALLEL_UPLOADS = 6
_INTERRUPTED = "interrupted; no tag has moved"


class Holders:
    """Which repository of each registry is given a blob first, and when it has it. The hubs of a run share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first: dict[tuple[str, Digest], tuple[Repository, Future[UploadOutcome]]] = {}

    def claim(
        self, repository: Repository, digest: Digest, send: Callable[[], Future[UploadOutcome]]
    ) -> tuple[Repository, Future[UploadOutcome], bool]:
        """The first one; where there was none it is this repository, which `send` then gives it to (True)."""
        key = (repository.registry, digest)
        with self._lock:
            known = self._first.get(key)
            if known:
                return (*known, False)
            self._first[key] = repository, send()
            return (*self._first[key], True)


class Uploads:
    """Sends what repositories of a hub lack, each thing under its digest; no tag is touched. A repository gets each blob once,
    whatever holds it; a registry is sent each once, and its other repositories, those of other hubs with the same `holders`
    among them, have it mounted from there.

    To be used in a `with` block, at whose end nothing is on its way any more.
    What fails first ends the group.
    """

    def __init__(self, registry: RegistryWriter, progress: Progress, group: TaskGroup, holders: Holders | None = None) -> None:
        self._registry = registry
        self._progress = progress
        self._group = group
        self._pool = ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS)
        self._ahead = ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS)
        # Those that wait for another repository to have their blob, so that they take no worker of who sends it.
        self._followers = ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS)
        self._sent_ahead: list[Future[None]] = []
        self._lock = threading.Lock()
        self._blobs: dict[tuple[Repository, Descriptor], Future[UploadOutcome]] = {}
        self._holders = holders or Holders()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error:
            self._group.fail(error)
        for pool in (self._ahead, self._followers, self._pool):
            pool.shutdown(cancel_futures=error is not None)

    def send_ahead(self, repositories: Sequence[Repository], name: str, manifest: Manifest, content: ContentSource) -> None:
        """Begin with the blobs of one platform's image, which `name` tells, while others are still being made.

        Nobody who pulls sees a difference. Should the release fail, they are left for the registry's next clean-up.
        """
        for repository in repositories:
            self._sent_ahead.append(self._ahead.submit(self._send_blobs, repository, name, manifest, content))

    def publish(self, publications: Sequence[Publication]) -> Traffic:
        """Send all: blobs, then manifests, then the index. Raises RegistryError, CheckError, Interrupted."""
        by_repository: dict[Repository, list[Publication]] = {}
        for publication in publications:
            for repository in dict.fromkeys(reference.repository for reference in publication.references):
                if publication.content is not None:
                    by_repository.setdefault(repository, []).append(publication)
        with ThreadPoolExecutor(max_workers=max(1, len(by_repository))) as drivers:
            results = [drivers.submit(self._publish_to, *entry) for entry in by_repository.items()]
            # What was sent ahead may be of an image that could not be finished, and so is none of these.
            finish_or_end([*results, *self._sent_ahead], self._group, _INTERRUPTED)
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
            task.outcome = f"{counted(sent, 'blob')} sent"

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
            task.outcome = f"{counted(sent, 'blob')} sent"

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
                    future = self._start(repository, blob, content, lambda count: advance(count, total))
                    self._blobs[repository, blob] = future
                else:
                    # On its way already, or there.
                    advance(blob.size, total)
            futures.append(future)
        finish_or_end(futures, self._group, _INTERRUPTED)
        return sum(1 for future in futures if future.result() is UploadOutcome.UPLOADED)

    def _start(
        self, repository: Repository, blob: Descriptor, content: ContentSource, advance: Callable[[int], None]
    ) -> Future[UploadOutcome]:
        def send() -> Future[UploadOutcome]:
            return self._pool.submit(self._push_blob, repository, blob, content, advance)

        holder, first, is_ours = self._holders.claim(repository, blob.digest, send)
        if is_ours:
            return first
        return self._followers.submit(self._push_after, first, holder, repository, blob, content, advance)

    def _push_after(
        self,
        first: Future[UploadOutcome],
        holder: Repository,
        repository: Repository,
        blob: Descriptor,
        content: ContentSource,
        advance: Callable[[int], None],
    ) -> UploadOutcome:
        """As `_push_blob`, once another repository of the registry has it, or was not given it: that one may be of a hub
        that has failed, which is none of ours."""
        came = _has_come(first)
        return self._push_blob(repository, blob, _MountedFirst(content, holder) if came else content, advance)

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
            manifests = [publication.content.manifest(child) for child in publication.index.children()]
            blobs = {blob for manifest in manifests for blob in (manifest.config(), *manifest.layers())}
            # Where a blob was missing, so is what names it, and to ask would be one request more.
            may_be_there = all(self._blobs[repository, blob].result() is UploadOutcome.PRESENT for blob in blobs)
            for manifest in (*manifests, publication.index):
                if not (may_be_there and self._registry.has_manifest(repository, manifest.digest)):
                    self._registry.put_manifest(repository, manifest)


def _has_come(first: Future[UploadOutcome]) -> bool:
    """Wait until it is known whether a blob is there. One that nobody will send any more was cancelled."""
    try:
        return first.exception() is None
    except CancelledError:
        return False


@dataclass(frozen=True, slots=True)
class _MountedFirst:
    """Content of which a repository of the same registry has something just now."""

    content: ContentSource
    holder: Repository

    @property
    def mount_from(self) -> tuple[Repository, ...]:
        """See `ContentSource.mount_from`."""
        return (self.holder, *self.content.mount_from)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """See `ContentSource.manifest`."""
        return self.content.manifest(descriptor)

    def blob(self, descriptor: Descriptor) -> Path:
        """See `ContentSource.blob`."""
        return self.content.blob(descriptor)
