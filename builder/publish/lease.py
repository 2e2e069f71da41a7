"""Keeps runs on different machines from moving tags of one repository at once, by a record at the hub that expires.

Registries cannot compare and swap. So a run looks, writes its record, waits, and looks again: it holds the lease if the record
is still its own. This excludes all others whose record arrives within the waiting time after they looked; one that takes
longer waits longer itself, and whose record it overwrote finds that out before the next tag that it moves.

`HubLease.acquire` takes leases (`reserve` begins with that earlier), `confirm` is asked before each tag, `note` writes down the
moves, `release` ends it.
"""

import os
import platform
import random
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

from builder.errors import AccessDenied, BuilderError, JournalError, PublishError, RegistryError
from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Digest, Repository
from builder.ports import TagStore
from builder.publish.hub_record import HubRecord, Lease, read_record, record_reference, write_record
from builder.publish.lease_queue import Queue
from builder.publish.lease_times import LeaseTimes
from builder.runtime.progress import Progress

_PARALLEL_READS = 6
# Client errors that say nothing of what the registry takes.
_PASSING = (408, 425, 429)


def _owner() -> str:
    return f"{platform.node()}, process {os.getpid()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A record of ours: what it says, and when it was written. Of its `digests` the last was written last; another one is
    there while it is unknown whether that has arrived. It may be relied on after `settles` (None: now), when looked at again.
    """

    record: HubRecord
    before: tuple[Descriptor, ...]
    digests: tuple[Digest, ...]
    since: float
    settles: float | None


class HubLease:
    """The leases of one run, each on a repository. Not for several threads.

    `pause(seconds)` sleeps, and raises Interrupted once the run is. What ends a lease goes through `rollback_tags`, which
    works after that, too. A registry that refuses records is told once; then nothing keeps other machines away there.
    """

    def __init__(
        self,
        tags: TagStore,
        rollback_tags: TagStore,
        progress: Progress,
        pause: Callable[[float], None],
        times: LeaseTimes | None = None,
    ) -> None:
        self.run = uuid.uuid4().hex
        self._tags = tags
        self._rollback_tags = rollback_tags
        self._progress = progress
        self._pause = pause
        self._times = times or LeaseTimes()
        self._started = self._times.now()
        self._held: dict[Repository, _Held] = {}
        self._refused: set[Repository] = set()

    @property
    def refused(self) -> frozenset[Repository]:
        """Where the registry does not take records."""
        return frozenset(self._refused)

    def look(self, repositories: Iterable[Repository]) -> dict[Repository, HubRecord]:
        """The records there that say anything, but our own. Raises JournalError, RegistryError."""
        wanted = tuple(dict.fromkeys(repositories))
        with ThreadPoolExecutor(max_workers=_PARALLEL_READS) as pool:
            found = dict(zip(wanted, pool.map(self._read, wanted), strict=True))
        return {
            repository: record
            for repository, (record, _) in found.items()
            if not record.is_idle and not (record.lease and record.lease.run == self.run)
        }

    def acquire(self, repositories: Collection[Repository], dead: Collection[str]) -> bool:
        """Hold all of these, too; gives whether it had to wait. `dead` are runs that are known to have ended.

        Raises PublishError where another run holds one and does not end, JournalError, RegistryError, Interrupted.
        """
        queue = Queue(self._times)
        self._take_up_reserved()
        while missing := sorted(set(repositories) - self._held.keys() - self._refused):
            if any(repository > missing[0] for repository in self._held):
                # Always in the order of their names, so that no two runs wait for each other.
                self.release(settled=False)
                continue
            blocked = self._claim(missing, queue, dead)
            lost = self._settle()
            if blocked or lost:
                queue.tell_or_end(blocked, self._progress)
                self._pause(self._times.poll * random.uniform(0.5, 1.5))
            self._renew_due()
        return queue.waited

    def reserve(self, repositories: Collection[Repository]) -> None:
        """Write our records there if nobody is, so that `acquire` finds them settled: it then has no wait of its own.

        Waits for nobody, and raises nothing of what registries answer: `acquire` does. What is not taken up within half a
        lease is begun anew.
        """
        missing = sorted(set(repositories) - self._held.keys() - self._refused)
        try:
            self._claim(missing, Queue(self._times), ())
        except (RegistryError, AccessDenied, JournalError):
            # Where no answer came it is not known from when on the others count.
            self.release(settled=False)

    def confirm(self, repository: Repository) -> None:
        """See that the lease there is still ours, and renew those that are half over. Raises PublishError where one is lost."""
        if held := self._held.get(repository):
            self._look_again(repository, held)
        self._renew_due()

    def carried(self) -> dict[Repository, HubRecord]:
        """The records of ours that keep the moves of a run that died."""
        return {repository: held.record for repository, held in self._held.items() if held.record.moves}

    def note(self, record: HubRecord, before: Mapping[Repository, Iterable[Descriptor]]) -> None:
        """Write down these moves wherever we hold the lease, in place of what stands there."""
        self._renew_due()
        for repository in sorted(self._held):
            descriptors = tuple(dict.fromkeys(before.get(repository, ())))
            self._put(repository, replace(record, lease=self._lease()), descriptors)

    def release(self, *, settled: bool) -> None:
        """Let others in. `settled`: all tags are where they belong; else the records keep the moves for who comes next."""
        for repository in sorted(self._held):
            try:
                self._let_go(repository, settled=settled)
            except Exception as error:
                text = error.message if isinstance(error, BuilderError) else repr(error)
                self._progress.warn(
                    f"{record_reference(repository)} could not be removed, and keeps other runs waiting for "
                    f"{self._times.lease} seconds: {text}"
                )
        self._held.clear()

    def _take_up_reserved(self) -> None:
        """What is lost of it is not held, and what has stood for long is given back: others may take it for left."""
        reserved = [held.since for held in self._held.values() if held.settles is not None]
        if reserved and self._times.monotonic() - min(reserved) >= self._times.lease / 2:
            self.release(settled=False)
        self._settle()

    def _claim(self, missing: Sequence[Repository], queue: Queue, dead: Collection[str]) -> tuple[Repository, Lease] | None:
        """Write our record where nobody is alive, in order; gives the first where somebody is."""
        for repository in missing:
            looked = self._times.monotonic()
            record, found = self._read(repository)
            if record.lease and not queue.is_over(repository, record.lease, found, dead):
                queue.watch({other: self._read(other)[1] for other in missing if other > repository and not queue.waited})
                return repository, record.lease
            before = found.children() if found else ()
            self._put(repository, replace(record, lease=self._lease()), before, settling_since=looked)
        return None

    def _settle(self) -> bool:
        """Wait until all our records have stood long enough, and look; gives whether one was lost.

        What stands behind the first that was lost, by name, is given up, too: so no two runs wait for each other.
        """
        settling = {repository: held.settles for repository, held in self._held.items() if held.settles is not None}
        left = max(settling.values(), default=0.0) - self._times.monotonic()
        if settling and left > 0:
            self._pause(left)
        lost = False
        for repository in sorted(settling):
            if not lost and self._is_ours(repository):
                self._held[repository] = replace(self._held[repository], settles=None)
                continue
            lost = True
            self._let_go(repository, settled=False)
        return lost

    def _is_ours(self, repository: Repository) -> bool:
        found = self._tags.get_manifest(record_reference(repository))
        return found is not None and found.digest == self._held[repository].digests[-1]

    def _renew_due(self) -> None:
        half = self._times.lease / 2
        for repository, held in sorted(self._held.items(), key=lambda item: item[0]):
            if self._times.monotonic() - held.since >= half:
                self._look_again(repository, held)

    def _look_again(self, repository: Repository, held: _Held) -> None:
        """Raises PublishError where the lease is no longer ours. One that is over, but that nobody took, is taken anew."""
        if not self._is_ours(repository):
            raise self._lost(repository)
        age = self._times.monotonic() - held.since
        if age < self._times.lease / 2:
            return
        is_over = age >= self._times.lease
        since = self._times.monotonic() if is_over else None
        self._put(repository, replace(held.record, lease=self._lease()), held.before, settling_since=since)
        if is_over and repository in self._held and self._settle():
            raise self._lost(repository)

    def _lost(self, repository: Repository) -> PublishError:
        self._held.pop(repository, None)
        record, _ = self._read(repository)
        holder = f"{record.lease.owner} holds it now" if record.lease else "somebody has removed it"
        return PublishError(
            f"this run has lost its lease on {repository}: {holder}",
            hint="Is another run pushing there? Let it end, then run the same again.",
        )

    def _read(self, repository: Repository) -> tuple[HubRecord, Manifest | None]:
        reference = record_reference(repository)
        found = self._tags.get_manifest(reference)
        return (read_record(reference, found) if found else HubRecord()), found

    def _put(
        self, repository: Repository, record: HubRecord, before: tuple[Descriptor, ...], *, settling_since: float | None = None
    ) -> None:
        """Write it, and know it for ours; where the registry takes no such thing, that is told.

        `settling_since`: when we last saw that nobody else was there, for a record that has to stand for a while first.
        """
        since = self._times.monotonic()
        manifest = write_record(record, before)
        known = self._held[repository].digests if repository in self._held else ()
        held = _Held(record=record, before=before, digests=(manifest.digest,), since=since, settles=None)
        # Ours even where no answer comes.
        self._held[repository] = replace(held, digests=(*known, manifest.digest), settles=since)
        try:
            self._tags.put_tag(record_reference(repository), manifest)
        except RegistryError as error:
            if not _is_refusal(error):
                raise
            if before:
                # It may be the list that it refuses: then nothing but the registry's clean-up can take what it names.
                self._put(repository, record, (), settling_since=settling_since)
                return
            self._tell_refused(repository, error)
            return
        settles = None if settling_since is None else self._settles_at(settling_since)
        self._held[repository] = replace(held, settles=settles)

    def _settles_at(self, looked: float) -> float:
        written = self._times.monotonic()
        took = written - looked
        # Slower than others rely on: whose record this may have overwritten has to find out first, or its lease is over.
        return written + (min(5 * took, self._times.lease) if took > self._times.settle else self._times.settle)

    def _tell_refused(self, repository: Repository, error: RegistryError) -> None:
        if not self._refused:
            self._progress.warn(
                f"{record_reference(repository)} cannot be written, so nothing keeps runs on other machines away while tags "
                f"move, and only this machine can put right what is cut off: {error.message}"
            )
        self._held.pop(repository, None)
        self._refused.add(repository)

    def _lease(self) -> Lease:
        expires = self._times.now() + timedelta(seconds=self._times.lease)
        return Lease(run=self.run, owner=_owner(), started=self._started, expires=expires, seconds=self._times.lease)

    def _let_go(self, repository: Repository, *, settled: bool) -> None:
        """Remove our record, or have it say that nobody holds it, if it is still ours."""
        held = self._held.pop(repository)
        reference = record_reference(repository)
        found = self._rollback_tags.get_manifest(reference)
        if found is None or found.digest not in held.digests:
            return
        if held.record.moves and not settled:
            self._rollback_tags.put_tag(reference, write_record(replace(held.record, lease=None), held.before))
        elif not self._rollback_tags.delete_tag(reference):
            self._rollback_tags.put_tag(reference, write_record(HubRecord()))


def _is_refusal(error: RegistryError) -> bool:
    """Whether the registry takes no such record; not where it takes none of ours, or none now."""
    return 400 <= error.status < 500 and error.status not in _PASSING and not isinstance(error, AccessDenied)
