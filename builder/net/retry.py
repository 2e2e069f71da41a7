"""When to try again: the one policy of everything that talks HTTP, on tenacity.

An attempt that fails in a way that may pass raises `RetryableError`; anything else it raises ends the run at once. Attempts
must not retry inside: two layers of retries multiply.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential, wait_random

from builder.errors import BuilderError

Result = TypeVar("Result")

# 501 and 505 are about the request, 507 about a disk that is full, 511 about a login to the network.
_LASTING_SERVER_ERRORS = (501, 505, 507, 508, 511)
_TEMPORARY_CLIENT_ERRORS = (408, 425, 429)
# Of a Retry-After: more digits are more than a lifetime all the same.
_LONGEST_SECONDS = 12
_LONGEST_DATE = 64

# One connection may have died without a word. A second silence is the server's, though it may answer others.
_MOST_SILENCES = 2


class RetryableError(Exception):
    """A failure that may pass: the error to raise when patience ends, and the seconds the server asked us to wait.

    `silent` says that it took the whole time a request is waited for: such an attempt is too long to be made often.
    """

    def __init__(self, error: BuilderError, retry_after: float = 0.0, *, silent: bool = False) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after
        self.silent = silent


def is_temporary_status(status: int) -> bool:
    """Whether the same request may succeed later (RFC 9110 section 15, RFC 6585)."""
    return status in _TEMPORARY_CLIENT_ERRORS or (500 <= status < 600 and status not in _LASTING_SERVER_ERRORS)


def retry_after_seconds(header: str, now: float) -> float:
    """What a Retry-After header asks for, in seconds or as a date (RFC 9110 section 10.2.3); 0 where it says nothing.

    `now` is in seconds since 1970.
    """
    text = header.strip()
    # Of `str.isdigit` also ² is a digit, and of `float` none.
    if text.isascii() and text.isdigit():
        return float(text[:_LONGEST_SECONDS])
    try:
        moment = parsedate_to_datetime(text[:_LONGEST_DATE])
        # A date that says "-0000" for its zone parses without one; HTTP dates are always in UTC.
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    # The parser's own are ValueErrors in its documentation, and others for years and zones that there cannot be.
    except (ValueError, ArithmeticError, TypeError, LookupError, AttributeError):
        return 0.0
    return max(0.0, seconds - now)


def now_utc() -> float:
    """Seconds since 1970."""
    return datetime.now(UTC).timestamp()


def _say_nothing(_: str) -> None:
    """Announce nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and for how long, to try again. Waits double from `first_wait` to `longest_wait`, with jitter.

    A server's Retry-After is a floor. All times are in seconds; `total_wait` bounds the waiting and not the work, so
    that an upload cut off after ten minutes is still tried again. Where a server asks for a longer wait than is left,
    we give up: asking again earlier than it allows only prolongs the refusal. `announce` is told of each wait.
    """

    attempts: int = 7
    total_wait: float = 120.0
    first_wait: float = 0.5
    longest_wait: float = 20.0
    sleep: Callable[[float], None] = time.sleep
    announce: Callable[[str], None] = _say_nothing

    def run(self, attempt: Callable[[], Result]) -> Result:
        """What `attempt` gives, in the end. Raises the error of the last attempt."""
        silences = 0

        def is_over(state: RetryCallState) -> bool:
            nonlocal silences
            silences += _failure(state).silent
            return silences >= _MOST_SILENCES or self._is_over(state)

        retrying = Retrying(
            retry=retry_if_exception_type(RetryableError),
            wait=self._wait,
            stop=is_over,
            sleep=self.sleep,
            before_sleep=self._tell,
            reraise=True,
        )
        try:
            return retrying(attempt)
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
