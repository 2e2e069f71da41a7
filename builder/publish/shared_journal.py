"""The journal of tags being moved, on this machine's disk and at the hub: a run that died anywhere is settled by the next.

On the disk alone it would be lost with a runner that is thrown away; at the hub alone, where a registry takes no records.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from builder.oci.manifest import Descriptor
from builder.oci.reference import ImageReference, Repository
from builder.ports import TagStore
from builder.publish.hub_record import HubRecord, NotedMove, record_reference, unreadable
from builder.publish.journal import Journal, Move
from builder.publish.lease import HubLease
from builder.publish.put_back import digest_of


class SharedJournal:
    """What `builder.publish.tags` writes down and looks up. `repositories` are those of the release; `tags` reads the hub."""

    def __init__(self, local: Journal, lease: HubLease, tags: TagStore, repositories: Sequence[Repository]) -> None:
        self._local = local
        self._lease = lease
        self._tags = tags
        self._repositories = tuple(dict.fromkeys(repositories))
        self._settled = False

    @contextmanager
    def held(self, pause: Callable[[float], None]) -> Iterator[None]:
        """Keep other runs on this machine out while the block runs; at its end let those on other machines in again.

        Raises JournalError.
        """
        # Who holds the lock here may be waiting for what this run has reserved there.
        with self._local.held(pause, on_wait=lambda: self._lease.release(settled=False)):
            try:
                yield
            except Exception:
                self._lease.release(settled=self._settled)
                raise
            self._lease.release(settled=self._settled)

    @contextmanager
    def reserving(self) -> Iterator[Callable[[], None]]:
        """Gives what reserves the leases at the hub, to be called when tags are soon to move; what is not taken up by the end of
        the block is given back."""
        try:
            yield lambda: self._lease.reserve(self._repositories)
        finally:
            self._lease.release(settled=self._settled)

    def is_quiet(self) -> bool:
        """Whether no run is, or was cut off, at these repositories. Raises JournalError, RegistryError."""
        return not self._local.left_runs() and not self._lease.look(self._repositories)

    def acquire(self) -> bool:
        """Keep runs on other machines out, too, also of where runs that died had been; gives whether others had to be waited for.

        Raises PublishError where they do not end, JournalError, RegistryError, Interrupted.
        """
        left = self._local.left_runs()
        wanted = {*self._repositories, *(reference.repository for run in left for reference in run.moves)}
        waited = False
        while True:
            waited = self._lease.acquire(wanted, [run.run for run in left]) or waited
            more = {repository for run in self._noted_runs().values() for repository in run.repositories} - wanted
            if not more:
                return waited
            wanted |= more

    def unfinished(self) -> tuple[Mapping[ImageReference, Move], ...]:
        """What each run that was cut off had begun to move, and nobody has settled since. To be asked after `acquire`.

        Raises JournalError where that cannot be told.
        """
        noted = self._noted_runs()
        local = {
            left.run: left.moves
            for left in self._local.left_runs()
            if left.run in noted or not self._was_settled(left.moves, left.at_hub)
        }
        others = {run: self._read_moves(record) for run, record in noted.items() if run not in local}
        return (*local.values(), *others.values())

    def begin(self, moves: Mapping[ImageReference, Move]) -> None:
        """Write down, here and there, what is about to be moved."""
        noted: dict[ImageReference, NotedMove] = {}
        before: dict[Repository, list[Descriptor]] = {}
        for reference, move in moves.items():
            if reference.repository in self._lease.refused:
                continue
            noted[reference] = NotedMove(before=digest_of(move.before), after=move.after)
            if move.before:
                before.setdefault(reference.repository, []).append(move.before.descriptor)
        self._lease.note(HubRecord(run=self._lease.run, moves=noted), before)
        self._local.begin(moves, self._lease.run, at_hub=not self._refused(moves))

    def confirm(self, reference: ImageReference) -> None:
        """See, before a tag is touched, that nobody has taken over from us there. Raises PublishError, RegistryError."""
        self._lease.confirm(reference.repository)

    def finish(self) -> tuple[Path, ...]:
        """All tags are where they belong. Gives files that could not be removed; they say so, too, and do no harm."""
        self._settled = True
        return self._local.finish()

    def _was_settled(self, moves: Mapping[ImageReference, Move], at_hub: bool) -> bool:
        """Whether a run of this machine, whose record is no longer at the hub, has been settled by another machine."""
        return at_hub and not self._refused(moves)

    def _refused(self, moves: Mapping[ImageReference, Move]) -> bool:
        return any(reference.repository in self._lease.refused for reference in moves)

    def _noted_runs(self) -> dict[str, HubRecord]:
        """The runs of which the records say that they were cut off.

        A record speaks of other repositories, and is believed only where those say the same: who may write in one is not to
        have tags moved in another. A run notes all before it moves the first tag, and removes all after it has settled the
        last: where one is missing, nothing is left to be done. Who goes on with what another run has begun writes its own
        records over those, one by one: each move is believed of which its own repository speaks, in whichever run's name.
        """
        carried = self._lease.carried()
        runs = {record.run: record for record in carried.values()}
        others = sorted({repository for record in runs.values() for repository in record.repositories} - carried.keys())
        known = {**self._lease.look(others), **carried}
        return {run: agreed for run, record in runs.items() if (agreed := _agreed(record, known))}

    def _read_moves(self, record: HubRecord) -> dict[ImageReference, Move]:
        moves = {}
        for reference, noted in record.moves.items():
            before = self._tags.get_manifest(reference.repository.at(noted.before)) if noted.before else None
            if noted.before and before is None:
                why = f"{reference} was {noted.before} before, which is no longer there"
                raise unreadable(record_reference(reference.repository), why)
            moves[reference] = Move(before=before, after=noted.after)
        return moves


def _agreed(record: HubRecord, known: Mapping[Repository, HubRecord]) -> HubRecord | None:
    """The record with those moves that their own repositories speak of, None where one of these says nothing."""
    if not all(repository in known and known[repository].moves for repository in record.repositories):
        return None
    moves = {ref: move for ref, move in record.moves.items() if known[ref.repository].moves.get(ref) == move}
    return replace(record, moves=moves) if moves else None
