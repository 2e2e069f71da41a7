"""How fast a host is asked: by as many requests at once, and as soon, as it allows. One pace for all that a run asks of it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# As many as there are ever workers for; a host that takes them all is never held back.
_MOST_AT_ONCE = 32
_POLL_SECONDS = 0.05


class Pace:
    """Slows down when a host says that it is asked too much (429, or 503 with Retry-After), and speeds up again.

    A refusal halves how many requests are made at once, and its Retry-After holds for all of them, not only for the one that
    got it. Each round of answers after that allows one more (additive increase, multiplicative decrease, as TCP does it).
    `wait(seconds)` has to end with the run, and raise Interrupted then. Where the host asks for a longer pause than `longest`
    seconds, nobody is held: who asks is told so. For many threads at once.
    """

    def __init__(
        self,
        wait: Callable[[float], None],
        *,
        longest: float = 120.0,
        most: int = _MOST_AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._wait = wait
        self._longest = longest
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._allowed = most
        self._busy = 0
        self._answers = 0
        self._not_before = 0.0
        self._slowed = float("-inf")

    @property
    def allowed(self) -> int:
        """How many requests may be on their way at once."""
        return self._allowed

    @contextmanager
    def turn(self) -> Iterator[float]:
        """One request, made in the block, which begins when it may; gives the moment, for `hear`."""
        began = self._begin()
        try:
            yield began
        finally:
            with self._lock:
                self._busy -= 1

    def hear(self, began: float, *, refused: bool, retry_after: float = 0.0) -> None:
        """The host has answered a request that began then: `refused` where it is asked too much."""
        with self._lock:
            if not refused:
                self._speed_up()
                return
            now = self._clock()
            if retry_after <= self._longest:
                self._not_before = max(self._not_before, now + retry_after)
            # Those that were on their way together are refused together: that is one refusal.
            if began > self._slowed:
                self._allowed = max(1, min(self._allowed, self._busy) // 2)
                self._slowed = now
                self._answers = 0

    def _speed_up(self) -> None:
        self._answers += 1
        if self._answers >= self._allowed and self._allowed < self._most:
            self._allowed += 1
            self._answers = 0

    def _begin(self) -> float:
        waited_for = 0.0
        while True:
            with self._lock:
                now = self._clock()
                until = self._not_before
                # A pause that was waited for is over, by whichever clock; a new one may have been asked for meanwhile.
                pause = until - now if until > waited_for else 0.0
                if pause <= 0 and self._busy < self._allowed:
                    self._busy += 1
                    return now
            self._wait(pause if pause > 0 else _POLL_SECONDS)
            waited_for = until
