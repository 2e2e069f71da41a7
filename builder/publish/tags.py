"""Moves the tags of a release: all of them or none, although a registry has no transaction over several tags.

What each tag pointed at is written down first (builder.publish.shared_journal), and put back where a move fails. A tag is
touched, to move it or to put it back, only while it is what this run (or the one that left the journal) knows it to be: what
somebody else has put there meanwhile is never overwritten. Other runs are kept away by a lease (builder.publish.lease); who
knows of none can still come between the look at a tag and the request that follows. No registry can exclude that.

`TagMover._move_all` moves them; `builder.publish.put_back` puts one back, called after a failure (`_undo`) and for what an
earlier run left (`_settle_left_over`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import MappingProxyType

from builder.errors import BuilderError, Interrupted, PublishError, RegistryError
from builder.oci.manifest import Manifest
from builder.oci.reference import ImageReference
from builder.ports import ImageReader, TagStore
from builder.publish.guards import CAREFUL, Permissions, check_moves, intend
from builder.publish.journal import Move
from builder.publish.publication import Publication
from builder.publish.put_back import Restored, Where, digest_of, points_at, restore, where_is
from builder.publish.shared_journal import SharedJournal
from builder.runtime.progress import Progress
from builder.runtime.text import counted

_PARALLEL_READS = 6
# Of the client errors, those that say nothing of what became of the request.
_UNDECIDED = (408, 425, 429)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagMover:
    """What moving tags needs of the world.

    `rollback_tags` are the same tags through what goes on working when the run has been interrupted; `images` is asked
    what a tag has. `pause(seconds)` sleeps, and raises Interrupted once the run is. The process must not be ended in
    `protected`. `permissions` is what may be done to tags that are there, `source_tag` the tag of the commit that is pushed
    (see builder.publish.guards), `seen` where tags were a moment ago. `on_moved` is told where each was.
    `place` says where, where there are several hubs.
    """

    images: ImageReader
    tags: TagStore
    rollback_tags: TagStore
    journal: SharedJournal
    progress: Progress
    pause: Callable[[float], None]
    protected: Callable[[], AbstractContextManager[None]] = nullcontext
    permissions: Permissions = CAREFUL
    source_tag: str = ""
    seen: Mapping[ImageReference, Manifest | None] = field(default_factory=lambda: MappingProxyType({}))
    on_moved: Callable[[Mapping[ImageReference, Manifest | None]], None] = lambda before: None
    place: str = ""

    def move(self, publications: Sequence[Publication]) -> int:
        """Have every tag point at its image; gives how many had to be moved.

        Raises PublishError, or Interrupted, saying where the tags are; before any has moved what `check_moves` raises,
        JournalError and RegistryError.
        """
        wanted = {reference: publication.index for publication in publications for reference in publication.references}
        put_back: list[ImageReference] = []
        with self.progress.task("tag", f"{counted(len(wanted), 'tag')}{self.place}") as task, self._lock():
            with before_tags(put_back):
                unseen = tuple(reference for reference in wanted if reference not in self.seen)
                found = {**self.seen, **read_tags(unseen, self.tags)}
                if self.journal.is_quiet() and not _to_move(wanted, found):
                    task.outcome = "all in place"
                    return 0
                self._check(publications, looked := dict(found))
                resumed = self._take_lease(found, wanted, put_back)
                moves = _to_move(wanted, found)
                if found != looked:
                    self._check(publications, found)
            if moves:
                plan = {ref: Move(before=found[ref], after=wanted[ref].digest) for ref in moves}
                with self.protected():
                    with before_tags(put_back):
                        self.journal.begin(resumed | plan)
                    self._move_all(moves, wanted, found, resumed | plan, resumed)
                self.on_moved({ref: resumed[ref].before if ref in resumed else found[ref] for ref in wanted})
            self._finish_journal()
            task.outcome = f"{len(moves)} moved" if moves else "all in place"
        return len(moves)

    def _check(self, publications: Sequence[Publication], found: Mapping[ImageReference, Manifest | None]) -> None:
        check_moves(intend(publications, found), self.permissions, self.source_tag, self.images)

    def _take_lease(
        self,
        found: dict[ImageReference, Manifest | None],
        wanted: Mapping[ImageReference, Manifest],
        put_back: list[ImageReference],
    ) -> dict[ImageReference, Move]:
        """Keep other runs out, and settle what those left that died; `found` and `put_back` follow. Gives what stays of it.

        Raises PublishError where one of the tags has been moved since we looked.
        """
        waited = self.journal.acquire()
        runs = self.journal.unfinished()
        resumed: dict[ImageReference, Move] = {}
        if waited or runs:
            seen = dict(found)
            found |= read_tags(tuple(dict.fromkeys([*wanted, *(ref for run in runs for ref in run)])), self.tags)
            here = dict(found)
            for left_over in runs:
                resumed |= self._settle_left_over(left_over, found, wanted, put_back)
            for ref in _to_move(wanted, found):
                if digest_of(found[ref]) == digest_of(here[ref]) != digest_of(seen[ref]):
                    raise _moved_meanwhile(ref, found[ref])
        return resumed

    def _finish_journal(self) -> None:
        for path in self.journal.finish():
            self.progress.warn(f"{path} cannot be removed; the tags it names are where they belong.")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with ExitStack() as stack:
            with before_tags():
                stack.enter_context(self.journal.held(self.pause))
            yield

    def _settle_left_over(
        self,
        left_over: Mapping[ImageReference, Move],
        found: dict[ImageReference, Manifest | None],
        wanted: Mapping[ImageReference, Manifest],
        put_back: list[ImageReference],
    ) -> dict[ImageReference, Move]:
        """Put back what a run that was cut off had moved, so that the last whole release is where it was; `found` and
        `put_back` follow.

        Gives what stays: the tags that it had moved to just where this run wants them.
        """
        moved = self._judge_left_over(left_over, found)
        stays = {ref: move for ref, move in moved.items() if ref in wanted and wanted[ref].digest == move.after}
        for reference in (ref for ref in moved if ref not in stays):
            self.journal.confirm(reference)
            put_back.append(reference)
            match restore(reference, left_over[reference], self.rollback_tags):
                case Restored.BACK:
                    self.progress.warn(f"{reference} is back where it was before that run.")
                    found[reference] = left_over[reference].before
                case Restored.LEFT:
                    self.progress.warn(f"{reference} has been moved by somebody else just now, and is left so.")
                case Restored.STUCK:
                    self.progress.warn(f"{reference} was new in that run and stays: the registry cannot delete tags.")
        return stays

    def _judge_left_over(
        self, left_over: Mapping[ImageReference, Move], found: Mapping[ImageReference, Manifest | None]
    ) -> dict[ImageReference, Move]:
        """The moves that a run which was cut off had made, to be put back.

        None, where all tags are where it wanted them (it had finished) or somebody else has moved one since (then the hub
        has gone on without it, and what was the last whole release before it is of no use any more).
        """
        elsewhere = [ref for ref, move in left_over.items() if where_is(found[ref], move) is Where.ELSEWHERE]
        moved = [ref for ref, move in left_over.items() if where_is(found[ref], move) is Where.AFTER]
        if elsewhere:
            tags = "\n".join(f"  {ref} is {digest_of(found[ref]) or 'gone'}" for ref in elsewhere)
            self.progress.warn(
                "An earlier run was cut off while it moved tags, and somebody else has moved some of them since; they are "
                f"left as they are:\n{tags}"
            )
            return {}
        if len(moved) == len(left_over):
            return {}
        if moved:
            self.progress.warn("An earlier run was cut off while it moved tags; this one puts that right.")
        return {ref: left_over[ref] for ref in moved}

    def _move_all(
        self,
        moves: Sequence[ImageReference],
        wanted: Mapping[ImageReference, Manifest],
        found: Mapping[ImageReference, Manifest | None],
        plan: Mapping[ImageReference, Move],
        resumed: Mapping[ImageReference, Move],
    ) -> None:
        done: list[ImageReference] = list(resumed)
        # The tag of which a request is on its way.
        pending = ""
        try:
            for reference in moves:
                self.pause(0)
                self.journal.confirm(reference)
                now = self.tags.get_manifest(reference)
                if points_at(now, wanted[reference].digest):
                    # Another run moves the same release: what it put there is not ours to take back.
                    continue
                if digest_of(now) != digest_of(found[reference]):
                    raise _moved_meanwhile(reference, now)
                done.append(reference)
                pending = str(reference)
                self.tags.put_tag(reference, wanted[reference])
                pending = ""
        except Exception as error:
            if not self._is_whole(wanted):
                raise self._undo(error, done, plan, pending if _has_no_answer(error) else "") from error
            # Another run has finished this very release, or the request that got no answer has arrived.
            self.progress.warn(f"All tags are where they should be, although moving one failed: {_message(error)}")

    def _is_whole(self, wanted: Mapping[ImageReference, Manifest]) -> bool:
        """Whether all tags are where we want them nevertheless: another run may have finished the same release."""
        try:
            found = read_tags(tuple(wanted), self.rollback_tags)
        except Exception:  # Whatever it is, what this run has moved has to be put back.
            return False
        return all(points_at(found[reference], index.digest) for reference, index in wanted.items())

    def _undo(
        self, error: Exception, done: Sequence[ImageReference], plan: Mapping[ImageReference, Move], pending: str
    ) -> BuilderError:
        """Put back what this run moved, newest first; gives the error that says how that went.

        The journal goes only when nothing is left to put back, and no request is on its way that may yet move a tag, which
        `pending` names.
        """
        stuck: list[str] = []
        others: list[str] = []
        for reference in reversed(done):
            try:
                match restore(reference, plan[reference], self.rollback_tags):
                    case Restored.STUCK:
                        stuck.append(f"  {reference} is new, and the registry cannot delete tags")
                    case Restored.LEFT:
                        others.append(f"  {reference}")
                    case Restored.BACK:
                        pass
            except Exception as failure:
                stuck.append(f"  {reference}: {_message(failure)}")
        if stuck:
            return PublishError(
                f"moving tags failed: {_message(error)}\nnot every tag could be put back:\n" + "\n".join(stuck) + _left(others),
                hint="Run the same command again: it moves the tags that are left, or puts these back if it fails.",
            )
        unsure = f"\nthe last request, for {pending}, got no answer and may still arrive: the next run looks at it again"
        if not pending:
            unsure = ""
            self._finish_journal()
        where = "every tag that this run had moved is back" if others else "every tag is where it was before"
        if isinstance(error, Interrupted):
            return Interrupted(f"interrupted; {where}{_left(others)}{unsure}", hint=error.hint)
        return PublishError(
            f"moving tags failed, and {where}: {_message(error)}{_left(others)}{unsure}",
            hint=(error.hint if isinstance(error, BuilderError) else "")
            or "Run the same command again: all content is there, only tags are left to move.",
        )


@contextmanager
def before_tags(put_back: Sequence[ImageReference] = ()) -> Iterator[None]:
    """For what comes before the first tag is moved: an interruption says so, and which tags of an earlier run were `put_back`."""
    try:
        yield
    except Interrupted as error:
        back = "".join(f"\n  {reference}" for reference in put_back)
        none = f"this run has moved no tag of its own; of one that was cut off, these were being put back:{back}"
        raise Interrupted(f"interrupted; {none if back else 'no tag has moved'}", hint=error.hint) from error


def read_tags(references: Sequence[ImageReference], tags: TagStore) -> dict[ImageReference, Manifest | None]:
    """What each tag points at now, None where it does not exist. Raises RegistryError."""
    with ThreadPoolExecutor(max_workers=_PARALLEL_READS) as pool:
        return dict(zip(references, pool.map(tags.get_manifest, references), strict=True))


def _to_move(wanted: Mapping[ImageReference, Manifest], found: Mapping[ImageReference, Manifest | None]) -> list[ImageReference]:
    return [reference for reference, index in wanted.items() if not points_at(found[reference], index.digest)]


def _moved_meanwhile(reference: ImageReference, now: Manifest | None) -> PublishError:
    hint = "Is another run pushing to the same tags? Let it end, then run the same again."
    return PublishError(f"somebody else has moved {reference} meanwhile: it is {digest_of(now) or 'gone'} now", hint=hint)


def _message(error: Exception) -> str:
    return error.message if isinstance(error, BuilderError) else repr(error)


def _has_no_answer(error: Exception) -> bool:
    """Whether a request may still take effect: it was cut off, its answer was lost, or it is a gateway's (502, 504)."""
    if isinstance(error, RegistryError):
        return not 400 <= error.status < 500 or error.status in _UNDECIDED
    return True


def _left(others: Sequence[str]) -> str:
    if not others:
        return ""
    return "\nleft alone, as somebody else has moved them meanwhile:\n" + "\n".join(others)
