"""A run's wait for the leases of others: whom it has seen, for how long, and when they are taken for gone."""

from collections.abc import Collection, Mapping
from datetime import timedelta

from builder.errors import PublishError
from builder.oci.manifest import Manifest
from builder.oci.reference import Repository
from builder.publish.hub_record import Lease
from builder.publish.lease_times import LeaseTimes
from builder.runtime.progress import Progress


class Queue:
    """A run that waits for others: what it has seen of them, and for how long."""

    def __init__(self, times: LeaseTimes) -> None:
        self.waited = False
        self._times = times
        self._began = times.monotonic()
        self._seen: dict[Repository, tuple[Manifest | None, float]] = {}
        self._told: set[str] = set()

    def is_over(self, repository: Repository, lease: Lease, found: Manifest | None, dead: Collection[str]) -> bool:
        """Whether nobody holds this any more: its run has ended, or it is long past by the clock, or it has not been
        renewed for its whole time while we watched. Clocks may be wrong; how long we watched is not."""
        now = self._times.monotonic()
        self.watch({repository: found})
        _, since = self._seen[repository]
        long_past = self._times.now() - lease.expires > timedelta(seconds=self._times.skew)
        return lease.run in dead or long_past or now - since > lease.seconds

    def watch(self, found: Mapping[Repository, Manifest | None]) -> None:
        """Remember since when these records are what they are: a run that died has left several, and is waited for once."""
        for repository, record in found.items():
            if repository not in self._seen or self._seen[repository][0] != record:
                self._seen[repository] = (record, self._times.monotonic())

    def tell_or_end(self, blocked: tuple[Repository, Lease] | None, progress: Progress) -> None:
        """Say once for whom is waited; None where somebody came in between. Raises PublishError where that takes too long."""
        self.waited = True
        seconds = self._times.monotonic() - self._began
        who = _describe(*blocked) if blocked else "other runs move the same tags"
        if seconds > self._times.patience:
            raise PublishError(
                f"{who}; that has not ended in {seconds:.0f} seconds, and no tag has moved",
                hint="Let it end, then run the same again.",
            )
        if blocked and blocked[1].run not in self._told:
            self._told.add(blocked[1].run)
            progress.note(f"{who}; waiting for it to end, or to be silent for {blocked[1].seconds} seconds")


def _describe(repository: Repository, lease: Lease) -> str:
    since = lease.started.strftime("%H:%M:%S UTC")
    return f"another run moves tags of {repository} ({lease.owner}, since {since})"
