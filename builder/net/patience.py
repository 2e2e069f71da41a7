"""How long hosts are waited for: one clock for each, shared by all that a run asks of it."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

DEFAULT_PATIENCE = 120.0
# What a request is given where next to nothing is left, so that a host which has come back can be heard.
_LEAST_SECONDS = 1.0
# Waiting ends a little early or late: by the clock of the socket, not by ours.
_SLACK_SECONDS = 0.05


class HostSilent(TimeoutError):
    """A host has been given up: the text says how long it was waited for."""


class Patience:
    """Measures each host's silence: from the first request that it has not answered, over all requests and retries.

    Any byte that moves ends the silence. `told` says in messages where the time comes from. For many threads at once.
    """

    def __init__(
        self,
        seconds: float = DEFAULT_PATIENCE,
        *,
        told: str = "that is how long is waited (--timeout)",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._told = told
        self._clock = clock
        self._lock = threading.Lock()
        self._silent_since: dict[str, float] = {}
        self._waiting: Counter[str] = Counter()
        self._given_up: set[str] = set()
        self._heard: set[str] = set()

    @contextmanager
    def asking(self, host: str) -> Iterator[float]:
        """A request, in the block; gives the seconds that are left for its answer. Raises HostSilent after giving up."""
        with self._lock:
            if host in self._given_up:
                raise HostSilent(self._explain(host))
            since = self._silent_since.setdefault(host, self._clock())
            left = max(_LEAST_SECONDS, since + self.seconds - self._clock())
            self._waiting[host] += 1
        try:
            yield min(left, self.seconds)
        finally:
            with self._lock:
                self._waiting[host] -= 1

    def hear(self, host: str) -> None:
        """Something came from the host, or went to it."""
        with self._lock:
            self._heard.add(host)
            self._given_up.discard(host)
            if self._waiting[host]:
                self._silent_since[host] = self._clock()
            else:
                self._silent_since.pop(host, None)

    def has_heard(self, host: str) -> bool:
        """Whether anything ever came from the host, or went to it."""
        with self._lock:
            return host in self._heard

    def give_up(self, host: str) -> str:
        """After a request that timed out: why the host is given up, for all that is asked of it; "" where it is not yet."""
        with self._lock:
            since = self._silent_since.get(host)
            if since is None or self._clock() - since < self.seconds - _SLACK_SECONDS:
                return ""
            self._given_up.add(host)
            return self._explain(host)

    def _explain(self, host: str) -> str:
        return f"{host} has not answered for {self.seconds:g} s; {self._told}"
