"""Publishes the content of a set of images, everything by its digest; `builder.publish.tags` then moves the tags."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor
from builder.oci.reference import Repository
from builder.ports import RegistryWriter, UploadOutcome
from builder.publish.publication import Publication, Traffic
from builder.runtime.progress import Progress, Task

_PARALLEL_UPLOADS = 6


def upload(publications: Sequence[Publication], registry: RegistryWriter, progress: Progress) -> Traffic:
    """Send what the repositories lack, each thing under its digest; no tag is touched. Raises RegistryError, CheckError."""
    outcomes = _upload_all(publications, registry, progress)
    return Traffic(
        uploaded=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.UPLOADED),
        mounted=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.MOUNTED),
        present=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.PRESENT),
        bytes_sent=sum(size for outcome, size in outcomes if outcome is UploadOutcome.UPLOADED),
    )


def _upload_all(
    publications: Sequence[Publication], registry: RegistryWriter, progress: Progress
) -> list[tuple[UploadOutcome, int]]:
    """Blobs, then manifests, then the index, each by digest. A repository gets each blob once, whatever holds it."""
    by_repository: dict[Repository, list[Publication]] = {}
    for publication in publications:
        for repository in dict.fromkeys(reference.repository for reference in publication.references):
            if publication.layout is not None:
                by_repository.setdefault(repository, []).append(publication)
    with ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS) as pool:
        uploads = [_Upload(repository, group, registry, progress, pool) for repository, group in by_repository.items()]
        with ThreadPoolExecutor(max_workers=max(1, len(uploads))) as drivers:
            results = [drivers.submit(upload.run) for upload in uploads]
            try:
                return [outcome for result in as_completed(results) for outcome in result.result()]
            except BaseException:
                # One that fails ends the release: what has not begun need not.
                pool.shutdown(wait=False, cancel_futures=True)
                raise


class _Upload:
    """All that goes to one repository."""

    def __init__(
        self,
        repository: Repository,
        publications: Sequence[Publication],
        registry: RegistryWriter,
        progress: Progress,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._repository = repository
        self._publications = publications
        self._registry = registry
        self._progress = progress
        self._pool = pool

    def run(self) -> list[tuple[UploadOutcome, int]]:
        with self._progress.task("push", str(self._repository)) as task:
            blobs: dict[Descriptor, tuple[Layout, tuple[Repository, ...]]] = {}
            for publication in self._publications:
                assert publication.layout is not None
                for child in publication.index.children():
                    manifest = publication.layout.manifest(child)
                    for blob in (manifest.config(), *manifest.layers()):
                        blobs.setdefault(blob, (publication.layout, publication.mount_from))
            total = sum(blob.size for blob in blobs)
            futures = [
                self._pool.submit(self._push_blob, blob, layout, mount_from, task, total)
                for blob, (layout, mount_from) in blobs.items()
            ]
            outcomes = [future.result() for future in futures]
            self._put_manifests()
            sent = sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.UPLOADED)
            task.outcome = f"{sent} blobs sent"
        return outcomes

    def _push_blob(
        self, blob: Descriptor, layout: Layout, mount_from: tuple[Repository, ...], task: Task, total: int
    ) -> tuple[UploadOutcome, int]:
        outcome = self._registry.push_blob(
            self._repository,
            blob,
            layout.blob(blob.digest),
            mount_from=[other for other in mount_from if other.registry == self._repository.registry],
            on_bytes=lambda count: task.advance(count, total),
        )
        if outcome is not UploadOutcome.UPLOADED:
            task.advance(blob.size, total)
        return outcome, blob.size

    def _put_manifests(self) -> None:
        for publication in self._publications:
            assert publication.layout is not None
            for child in publication.index.children():
                manifest = publication.layout.manifest(child)
                self._registry.put_manifest(self._repository, manifest)
            self._registry.put_manifest(self._repository, publication.index)
