"""When to try again: the one policy of all that asks others, be it by HTTP, git or Docker, on tenacity.

What may pass is for each adapter to say: an attempt that fails so raises `RetryableError`; anything else it raises ends it
at once. Attempts must not retry inside: two layers of retries multiply.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_random

from builder.errors import BuilderError

Result = TypeVar("Result")

# One connection may have died without a word. A second silence is the server's, though it may answer others.
_MOST_SILENCES = 2
# Of what most often is a mistake of the user's, and seldom passes: a resolver that was restarted is back sooner.
_BRIEF_SECONDS = 5.0


class RetryableError(Exception):
    """A failure that may pass: the error to raise when patience ends, and the seconds the server asked us to wait.

    `silent` says that it took the whole time a request is waited for: such an attempt is too long to be made often.
    `brief` says that it seldom passes, such as a name that cannot be looked up: it is tried again for five seconds in
    all, the attempts included.
    """

    def __init__(self, error: BuilderError, retry_after: float = 0.0, *, silent: bool = False, brief: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after
        self.silent = silent
        self.brief = brief


def _say_nothing(_: str) -> None:
    """Announce nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and for how long, to try again. Waits double from `first_wait` to `longest_wait`, with jitter.

    `sleep(seconds)` has to end with the run, and raise Interrupted then.
    A server's Retry-After is a floor. All times are in seconds; `total_wait` bounds the waiting and not the work, so
    that an upload cut off after ten minutes is still tried again. Where a server asks for a longer wait than is left,
    we give up: asking again earlier than it allows only prolongs the refusal. `announce` is told of each wait.
    """

    sleep: Callable[[float], None]
    attempts: int = 7
    total_wait: float = 120.0
    first_wait: float = 0.5
    longest_wait: float = 20.0
    announce: Callable[[str], None] = _say_nothing

    def run(self, attempt: Callable[[], Result]) -> Result:
        """What `attempt` gives, in the end. Raises the error of the last attempt."""
        silences = 0
        brief_seconds = began = 0.0

        def timed_attempt() -> Result:
            nonlocal began
            began = time.monotonic()
            return attempt()

        def is_over(state: RetryCallState) -> bool:
            nonlocal silences, brief_seconds
            silences += _failure(state).silent
            if _failure(state).brief:
                brief_seconds += time.monotonic() - began + state.upcoming_sleep
            return silences >= _MOST_SILENCES or brief_seconds > _BRIEF_SECONDS or self._is_over(state)

        retrying = Retrying(
            retry=retry_if_exception_type(RetryableError),
            wait=self._wait,
            stop=is_over,
            sleep=self.sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            return retrying(timed_attempt)
        except RetryableError as last:
            tries = int(retrying.statistics.get("attempt_number", 1))
            last.error.hint = f"{last.error.hint} {_advice(tries, last.retry_after)}".strip()
            raise last.error from last.__cause__

    def _wait(self, state: RetryCallState) -> float:
        backoff = wait_exponential(multiplier=self.first_wait, max=self.longest_wait) + wait_random(0, self.first_wait)
        return max(backoff(state), _failure(state).retry_after)

    def _is_over(self, state: RetryCallState) -> bool:
        waited = state.idle_for + state.upcoming_sleep
        return state.attempt_number >= self.attempts or waited > self.total_wait

    def _tell(self, state: RetryCallState) -> None:
        self.announce(f"{_failure(state).error.message}; trying again in {state.upcoming_sleep:.1f} s")


def _failure(state: RetryCallState) -> RetryableError:
    failure = state.outcome.exception() if state.outcome else None
    assert isinstance(failure, RetryableError)
    return failure


def _advice(tries: int, retry_after: float) -> str:
    times = "Tried once" if tries == 1 else f"Tried {tries} times"
    return f"{times}; the server asks to wait {retry_after:.0f} s." if retry_after > 1 else f"{times}."
