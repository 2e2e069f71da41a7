"""Publishes a set of images as one release: all content first, by digest; then the tags, all of them or none.

A registry has no transaction over several tags. So what each tag pointed at is written down first (builder.journal),
and put back where a move fails. Tags that did not exist before are removed again, where the registry can do that.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

from builder.errors import BuilderError, Interrupted, PublishError
from builder.journal import Journal, Move
from builder.layout import Layout
from builder.oci import Descriptor, Manifest
from builder.ports import Registry, UploadOutcome
from builder.progress import Progress, Task
from builder.reference import Digest, ImageReference, Repository

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
    pause: Callable[[float], None],
) -> Traffic:
    """Upload what is missing, then move the tags. Raises PublishError, RegistryError or Interrupted.

    After an error no tag is where this run wanted it and another is not: see the module's docstring.
    `registry_for_undoing` goes on working when the run has been interrupted. `pause(seconds)` sleeps, and raises
    Interrupted once the run is.
    """
    outcomes = _upload_all(publications, registry, progress)
    pause(0)
    moved = _move_tags(publications, registry, registry_for_undoing, journal, progress, pause)
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
    pause: Callable[[float], None],
) -> int:
    wanted = {reference: publication.index for publication in publications for reference in publication.references}
    with progress.task("tag", f"{len(wanted)} tags") as task, journal.held(pause):
        left_over = journal.unfinished()
        found = _read_tags(tuple({**wanted, **left_over}), registry)
        # A tag that is not where the killed run put it was never moved, or has been moved by somebody else since.
        before = {ref: move.before for ref, move in left_over.items() if _points_at(found[ref], move.after)}
        _put_back_strangers(before, wanted, registry_for_undoing, progress)
        moves = [ref for ref, index in wanted.items() if not _points_at(found[ref], index.digest)]
        if not moves:
            journal.finish()
            task.outcome = "all in place"
            return 0
        # After a run that was killed, what tags were before *that* run is the last whole release.
        plan = {
            ref: Move(before=before.get(ref, found[ref]), after=index.digest)
            for ref, index in wanted.items()
            if ref in before or ref in moves
        }
        journal.begin(plan)
        done: list[ImageReference] = [ref for ref in before if ref in wanted and ref not in moves]
        try:
            for reference in moves:
                pause(0)
                done.append(reference)
                registry.put_manifest(reference.repository, reference.tag, wanted[reference])
        except Exception as error:
            raise _put_back(error, done, plan, registry_for_undoing, journal) from error
        journal.finish()
        task.outcome = f"{len(moves)} moved"
        return len(moves)


def _read_tags(references: Sequence[ImageReference], registry: Registry) -> dict[ImageReference, Manifest | None]:
    with ThreadPoolExecutor(max_workers=_PARALLEL_UPLOADS) as pool:
        return dict(zip(references, pool.map(registry.get_manifest, references), strict=True))


def _points_at(found: Manifest | None, wanted: Digest) -> bool:
    return found is not None and found.digest == wanted


def _put_back_strangers(
    before: Mapping[ImageReference, Manifest | None],
    wanted: Mapping[ImageReference, Manifest],
    registry: Registry,
    progress: Progress,
) -> None:
    """Tags that a killed run moved and this one does not set go back to where they were."""
    if not before:
        return
    progress.warn("An earlier run was cut off while it moved tags; this one puts that right.")
    for reference, manifest in before.items():
        if reference in wanted:
            continue
        if _restore(reference, manifest, registry):
            progress.warn(f"{reference} is back where it was before that run.")
        else:
            progress.warn(f"{reference} was new in that run and stays: the registry cannot delete tags.")


def _put_back(
    error: Exception,
    moved: Sequence[ImageReference],
    plan: Mapping[ImageReference, Move],
    registry: Registry,
    journal: Journal,
) -> BuilderError:
    """Undo, newest move first. The journal goes only when every tag is back."""
    stuck: list[str] = []
    for reference in reversed(moved):
        try:
            if not _restore(reference, plan[reference].before, registry):
                stuck.append(f"{reference} is new, and the registry cannot delete tags")
        except BuilderError as failure:
            stuck.append(f"{reference}: {failure.message}")
    message = error.message if isinstance(error, BuilderError) else repr(error)
    if stuck:
        return PublishError(
            f"moving tags failed: {message}\nnot every tag could be put back:\n" + "\n".join(f"  {line}" for line in stuck),
            hint="Run the same command again: it moves the tags that are left, or puts these back if it fails.",
        )
    journal.finish()
    if isinstance(error, Interrupted):
        return Interrupted("interrupted; every tag is where it was before")
    return PublishError(
        f"moving tags failed, and every tag is where it was before: {message}",
        hint=(error.hint if isinstance(error, BuilderError) else "")
        or "Run the same command again: all content is there, only tags are left to move.",
    )


def _restore(reference: ImageReference, manifest: Manifest | None, registry: Registry) -> bool:
    """Put a tag back; False where that would mean deleting it, and the registry cannot."""
    now = registry.get_manifest(reference)
    if manifest is None:
        return now is None or registry.delete_tag(reference)
    if now is None or now.digest != manifest.digest:
        registry.put_manifest(reference.repository, reference.tag, manifest)
    return True
