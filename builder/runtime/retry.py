"""When to try again: the one policy of all that asks others, be it by HTTP, git or Docker, on tenacity.

What may pass is for each adapter to say: an attempt that fails so raises `RetryableError`; anything else it raises ends it
at once. An attempt is one request, where that is possible: the more an attempt takes, the less likely all of it succeeds.
What an attempt asks in between under a policy of its own must end it when that policy gives up, or two layers multiply.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from builder.errors import BuilderError

if TYPE_CHECKING:
    from tenacity import RetryCallState

Result = TypeVar("Result")

# One connection may have died without a word. A second silence is the server's, though it may answer others.
_MOST_SILENCES = 2
# Of what most often is a mistake of the user's, and seldom passes: a resolver that was restarted is back sooner.
_BRIEF_SECONDS = 5.0
# Beyond so many doublings any first wait is at its longest.
_MOST_DOUBLINGS = 20


class RetryableError(Exception):
    """A failure that may pass: the error to raise when patience ends, and the seconds the server asked us to wait.

    `silent` says that it took the whole time a request is waited for: such an attempt is too long to be made often.
    `brief` says that it seldom passes, such as a name that cannot be looked up: it is tried again for five seconds in
    all, the attempts included. `progressed` says that the attempt got further than all before it, so that what comes next is
    as if it were the first.
    """

    def __init__(
        self,
        error: BuilderError,
        retry_after: float = 0.0,
        *,
        silent: bool = False,
        brief: bool = False,
        progressed: bool = False,
    ) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after = retry_after
        self.silent = silent
        self.brief = brief
        self.progressed = progressed


def _say_nothing(_: str) -> None:
    """Announce nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """For how long to try again. Waits double from `first_wait` to `longest_wait`, with jitter.

    `sleep(seconds)` has to end with the run, and raise Interrupted then.
    A server's Retry-After is a floor. All times are in seconds. `total_wait` is the budget: how long is waited, between the
    attempts of one `run`, without progress. It bounds the waiting and not the work, so that an upload cut off after ten
    minutes is still tried again; an attempt that got further fills it up. Where a server asks for a longer wait than is left,
    we give up: asking again earlier than it allows only prolongs the refusal. `attempts` bounds their number besides, for
    what takes minutes each time; 0 does not. `announce` is told of each wait.
    """

    sleep: Callable[[float], None]
    attempts: int = 0
    total_wait: float = 120.0
    first_wait: float = 0.5
    longest_wait: float = 20.0
    announce: Callable[[str], None] = _say_nothing

    def run(self, attempt: Callable[[], Result]) -> Result:
        """What `attempt` gives, in the end. Raises the error of the last attempt."""
        course = _Course(self)
        try:
            return course.timed(attempt)
        except RetryableError as error:
            failed = error
        return self._go_on(course, attempt, failed)

    def _go_on(self, course: "_Course", attempt: Callable[[], Result], failed: RetryableError) -> Result:
        """As tenacity has it, with what came of the first attempt. Imported here, as most runs see nothing fail."""
        from tenacity import Retrying, retry_if_exception_type

        begun = [failed]

        def attempt_again() -> Result:
            if begun:
                raise begun.pop()
            return course.timed(attempt)

        retrying = Retrying(
            retry=retry_if_exception_type(RetryableError),
            wait=course.wait,
            stop=course.is_over,
            sleep=self.sleep,
            before_sleep=course.note_wait,
            reraise=True,
        )
        try:
            result: Result = retrying(attempt_again)
        except RetryableError as last:
            tries = int(retrying.statistics.get("attempt_number", 1))
            last.error.hint = f"{last.error.hint} {_advice(tries, last.retry_after)}".strip()
            raise last.error from last.__cause__
        return result


class _Course:
    """How one operation has gone so far."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._began = 0.0
        self._silences = 0
        self._brief_seconds = 0.0
        # Since it last got further.
        self._failures = 0
        self._waited = 0.0

    def timed(self, attempt: Callable[[], Result]) -> Result:
        self._began = time.monotonic()
        return attempt()

    def wait(self, state: "RetryCallState") -> float:
        """How long to wait now. Tenacity asks this first, once for each failure."""
        from tenacity import wait_random

        failure, policy = _failure(state), self._policy
        if failure.progressed:
            self._failures = self._silences = 0
            self._waited = 0.0
        self._failures += 1
        doubled = policy.first_wait * 2.0 ** min(self._failures - 1, _MOST_DOUBLINGS)
        jitter: float = wait_random(0, policy.first_wait)(state)
        return max(min(doubled, policy.longest_wait) + jitter, failure.retry_after)

    def is_over(self, state: "RetryCallState") -> bool:
        failure, policy = _failure(state), self._policy
        self._silences += failure.silent
        if failure.brief:
            self._brief_seconds += time.monotonic() - self._began + state.upcoming_sleep
        return (
            self._silences >= _MOST_SILENCES
            or self._brief_seconds > _BRIEF_SECONDS
            or state.attempt_number == policy.attempts
            or self._waited + state.upcoming_sleep > policy.total_wait
        )

    def note_wait(self, state: "RetryCallState") -> None:
        self._waited += state.upcoming_sleep
        self._policy.announce(f"{_failure(state).error.message}; trying again in {state.upcoming_sleep:.1f} s")


def _failure(state: "RetryCallState") -> RetryableError:
    failure = state.outcome.exception() if state.outcome else None
    assert isinstance(failure, RetryableError)
    return failure


def _advice(tries: int, retry_after: float) -> str:
    times = "Tried once" if tries == 1 else f"Tried {tries} times"
    return f"{times}; the server asks to wait {retry_after:.0f} s." if retry_after > 1 else f"{times}."
