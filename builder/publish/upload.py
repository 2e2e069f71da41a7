"""Publishes the content of a set of images, everything by its digest; `builder.publish.tags` then moves the tags."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from builder.oci.manifest import Descriptor
from builder.oci.reference import Repository
from builder.ports import RegistryWriter, UploadOutcome
from builder.publish.content import ContentSource
from builder.publish.publication import Publication, Traffic
from builder.runtime.cancellation import TaskGroup
from builder.runtime.concurrency import finish_or_end
from builder.runtime.progress import Progress, Task

_PARALLEL_UPLOADS = 6
_INTERRUPTED = "interrupted; no tag has moved"


def upload(publications: Sequence[Publication], registry: RegistryWriter, progress: Progress, group: TaskGroup) -> Traffic:
    """Send what the repositories lack, each thing under its digest; no tag is touched.

    What fails first ends the group. Raises RegistryError, CheckError, Interrupted.
    """
    outcomes = _upload_all(publications, registry, progress, group)
    return Traffic(
        uploaded=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.UPLOADED),
        mounted=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.MOUNTED),
        present=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.PRESENT),
        bytes_sent=sum(size for outcome, size in outcomes if outcome is UploadOutcome.UPLOADED),
    )


def _upload_all(
    publications: Sequence[Publication], registry: RegistryWriter, progress: Progress, group: TaskGroup
) -> list[tuple[UploadOutcome, int]]:
    """Blobs, then manifests, then the index, each by digest. A repository gets each blob once, whatever holds it."""
    by_repository: dict[Repository, list[Publication]] = {}
    for publication in publications:
        for repository in dict.fromkeys(reference.repository for reference in publication.references):
            if publication.content is not None:
                by_repository.setdefault(repository, []).append(publication)
    with (
        ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS) as pool,
        ThreadPoolExecutor(max_workers=max(1, len(by_repository))) as drivers,
    ):
        uploads = [_Upload(repository, registry, group, pool) for repository in by_repository]
        results = [
            drivers.submit(upload.run, images, progress) for upload, images in zip(uploads, by_repository.values(), strict=True)
        ]
        finish_or_end(results, group, _INTERRUPTED)
    return [outcome for result in results for outcome in result.result()]


class _Upload:
    """All that goes to one repository."""

    def __init__(self, repository: Repository, registry: RegistryWriter, group: TaskGroup, pool: ThreadPoolExecutor) -> None:
        self._repository = repository
        self._registry = registry
        self._group = group
        self._pool = pool

    def run(self, publications: Sequence[Publication], progress: Progress) -> list[tuple[UploadOutcome, int]]:
        with progress.task("push", str(self._repository)) as task:
            blobs: dict[Descriptor, ContentSource] = {}
            for publication in publications:
                assert publication.content is not None
                for child in publication.index.children():
                    manifest = publication.content.manifest(child)
                    for blob in (manifest.config(), *manifest.layers()):
                        blobs.setdefault(blob, publication.content)
            total = sum(blob.size for blob in blobs)
            futures = [self._pool.submit(self._push_blob, blob, content, task, total) for blob, content in blobs.items()]
            finish_or_end(futures, self._group, _INTERRUPTED)
            outcomes = [future.result() for future in futures]
            self._put_manifests(publications)
            sent = sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.UPLOADED)
            task.outcome = f"{sent} blobs sent"
        return outcomes

    def _push_blob(self, blob: Descriptor, content: ContentSource, task: Task, total: int) -> tuple[UploadOutcome, int]:
        self._group.check()
        outcome = self._registry.push_blob(
            self._repository,
            blob,
            lambda: content.blob(blob),
            mount_from=[other for other in content.mount_from if other.registry == self._repository.registry],
            on_bytes=lambda count: task.advance(count, total),
        )
        if outcome is not UploadOutcome.UPLOADED:
            task.advance(blob.size, total)
        return outcome, blob.size

    def _put_manifests(self, publications: Sequence[Publication]) -> None:
        for publication in publications:
            assert publication.content is not None
            for child in publication.index.children():
                self._registry.put_manifest(self._repository, publication.content.manifest(child))
            self._registry.put_manifest(self._repository, publication.index)
