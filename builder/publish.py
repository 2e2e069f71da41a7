"""Publishes a set of images as one release: all content first, by digest; then the tags, all of them or none.

A registry has no transaction over several tags. So what each tag pointed at is written down first (builder.journal),
and put back where a move fails. Tags that did not exist before are removed again, where the registry can do that.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from builder.errors import BuilderError, Interrupted, PublishError
from builder.journal import Journal
from builder.layout import Layout
from builder.oci import Descriptor, Manifest
from builder.ports import Registry, UploadOutcome
from builder.progress import Progress, Task
from builder.reference import ImageReference, Repository

_PARALLEL_UPLOADS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """One image to publish: its index, all the tags it gets, and its layout (None where the hub has it already).

    `mount_from` are repositories of the same registry that may hold its base layers.
    """

    key: str
    index: Manifest
    references: tuple[ImageReference, ...]
    layout: Layout | None
    mount_from: tuple[Repository, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What publishing moved: blobs by how they came to be there, and bytes sent."""

    uploaded: int = 0
    mounted: int = 0
    present: int = 0
    bytes_sent: int = 0
    tags_moved: int = 0


def publish(
    publications: Sequence[Publication],
    *,
    registry: Registry,
    registry_for_undoing: Registry,
    journal: Journal,
    progress: Progress,
    check_interrupted: Callable[[], None],
) -> Traffic:
    """Upload what is missing, then move the tags. Raises PublishError, RegistryError or Interrupted.

    After an error no tag is where this run wanted it and another is not: see the module's docstring.
    `registry_for_undoing` goes on working when the run has been interrupted.
    """
    outcomes = _upload_all(publications, registry, progress)
    check_interrupted()
    moved = _move_tags(publications, registry, registry_for_undoing, journal, progress, check_interrupted)
    return Traffic(
        uploaded=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.UPLOADED),
        mounted=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.MOUNTED),
        present=sum(1 for outcome, _ in outcomes if outcome is UploadOutcome.PRESENT),
        bytes_sent=sum(size for outcome, size in outcomes if outcome is UploadOutcome.UPLOADED),
        tags_moved=moved,
    )


def _upload_all(publications: Sequence[Publication], registry: Registry, progress: Progress) -> list[tuple[UploadOutcome, int]]:
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
            return [outcome for result in results for outcome in result.result()]


class _Upload:
    """All that goes to one repository."""

    def __init__(
        self,
        repository: Repository,
        publications: Sequence[Publication],
        registry: Registry,
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
                self._registry.put_manifest(self._repository, str(child.digest), manifest)
            self._registry.put_manifest(self._repository, str(publication.index.digest), publication.index)


def _move_tags(
    publications: Sequence[Publication],
    registry: Registry,
    registry_for_undoing: Registry,
    journal: Journal,
    progress: Progress,
    check_interrupted: Callable[[], None],
) -> int:
    wanted = {reference: publication.index for publication in publications for reference in publication.references}
    with progress.task("tag", f"{len(wanted)} tags") as task:
        found = _read_tags(tuple(wanted), registry)
        left_over = journal.unfinished()
        _put_back_strangers(left_over, wanted, registry_for_undoing, progress)
        moves = [ref for ref, index in wanted.items() if not _points_at(found[ref], index)]
        if not moves:
            journal.finish()
            task.outcome = "all in place"
            return 0
        # After a run that was killed, what tags were before *that* run is the last whole release.
        before = {ref: left_over.get(ref, found[ref]) for ref in wanted if ref in left_over or ref in moves}
        journal.begin(before)
        done: list[ImageReference] = [ref for ref in left_over if ref in wanted and ref not in moves]
        try:
            for reference in moves:
                check_interrupted()
                done.append(reference)
                registry.put_manifest(reference.repository, reference.tag, wanted[reference])
        except BuilderError as error:
            raise _put_back(error, done, before, registry_for_undoing, journal) from error
        journal.finish()
        task.outcome = f"{len(moves)} moved"
        return len(moves)


def _read_tags(references: Sequence[ImageReference], registry: Registry) -> dict[ImageReference, Manifest | None]:
    with ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS) as pool:
        return dict(zip(references, pool.map(registry.get_manifest, references), strict=True))


def _points_at(found: Manifest | None, wanted: Manifest) -> bool:
    return found is not None and found.digest == wanted.digest


def _put_back_strangers(
    left_over: Mapping[ImageReference, Manifest | None],
    wanted: Mapping[ImageReference, Manifest],
    registry: Registry,
    progress: Progress,
) -> None:
    """Tags that a killed run moved and this one does not set go back to where they were."""
    strangers = [reference for reference in left_over if reference not in wanted]
    for reference in strangers:
        _restore(reference, left_over[reference], registry)
    if left_over:
        put_back = f" {len(strangers)} tags that it alone set were put back." if strangers else ""
        progress.warn(f"An earlier run was cut off while it moved tags; this one finishes the work.{put_back}")


def _put_back(
    error: BuilderError,
    moved: Sequence[ImageReference],
    before: Mapping[ImageReference, Manifest | None],
    registry: Registry,
    journal: Journal,
) -> BuilderError:
    """Undo, newest move first. The journal goes only when every tag is back."""
    stuck: list[str] = []
    for reference in reversed(moved):
        try:
            if not _restore(reference, before[reference], registry):
                stuck.append(f"{reference} is new, and the registry cannot delete tags")
        except BuilderError as failure:
            stuck.append(f"{reference}: {failure.message}")
    if stuck:
        return PublishError(
            f"moving tags failed: {error.message}\nnot every tag could be put back:\n" + "\n".join(f"  {line}" for line in stuck),
            hint="Run the same command again: it moves the tags that are left, or puts these back if it fails.",
        )
    journal.finish()
    if isinstance(error, Interrupted):
        return Interrupted("interrupted; every tag is where it was before")
    return PublishError(
        f"moving tags failed, and every tag is where it was before: {error.message}",
        hint=error.hint or "Run the same command again: all content is there, only tags are left to move.",
    )


def _restore(reference: ImageReference, manifest: Manifest | None, registry: Registry) -> bool:
    if manifest is not None:
        registry.put_manifest(reference.repository, reference.tag, manifest)
        return True
    return registry.get_manifest(reference) is None or registry.delete_tag(reference)
