"""When we try again, how long we wait, and when we give up."""

import pytest
from tenacity import wait_none

from builder.errors import RegistryError
from builder.runtime.retry import RetryableError, RetryPolicy


def failing(times: int, *, retry_after: float = 0.0) -> tuple[RetryPolicy, list[float], list[str]]:
    waits: list[float] = []
    said: list[str] = []
    policy = RetryPolicy(attempts=times, total_wait=100.0, sleep=waits.append, announce=said.append)

    def attempt() -> None:
        raise RetryableError(RegistryError("it broke", hint="Look."), retry_after)

    with pytest.raises(RegistryError) as caught:
        policy.run(attempt)
    said.append(f"{caught.value.message} | {caught.value.hint}")
    return policy, waits, said


def test_waits_longer_each_time() -> None:
    policy, waits, said = failing(5)
    assert len(waits) == 4
    for number, wait in enumerate(waits):
        least = policy.first_wait * 2**number
        assert least <= wait <= least + policy.first_wait
    assert said[0].startswith("it broke; trying again in ")
    assert said[-1] == "it broke | Look. Tried 5 times."


def test_the_waits_in_all_are_bounded() -> None:
    policy, waits, said = failing(1000)
    assert policy.total_wait - policy.longest_wait - 1 < sum(waits) <= policy.total_wait
    assert max(waits) <= policy.longest_wait + policy.first_wait
    assert f"Tried {len(waits) + 1} times." in said[-1]


def test_a_server_that_asks_for_too_long_a_wait_is_not_asked_again() -> None:
    _, waits, said = failing(5, retry_after=101)
    assert waits == []
    assert said[-1] == "it broke | Look. Tried once; the server asks to wait 101 s."


def test_other_errors_end_it_at_once() -> None:
    def attempt() -> None:
        raise RegistryError("no")

    with pytest.raises(RegistryError, match=r"^no$"):
        RetryPolicy(sleep=lambda _: pytest.fail("waited")).run(attempt)


def test_gives_what_the_attempt_gives() -> None:
    answers = iter([RetryableError(RegistryError("no")), None])

    def attempt() -> str:
        failure = next(answers)
        if failure:
            raise failure
        return "yes"

    assert RetryPolicy(sleep=lambda _: None).run(attempt) == "yes"


@pytest.mark.parametrize(("seconds", "tries"), [(0.0, 4), (6.0, 1)])
def test_what_seldom_passes_is_tried_for_five_seconds_in_all_attempts_included(
    monkeypatch: pytest.MonkeyPatch, seconds: float, tries: int
) -> None:
    """A resolver may take its time to say that it fails."""
    now = 0.0
    made = 0
    monkeypatch.setattr("builder.runtime.retry.time.monotonic", lambda: now)

    def sleep(wait: float) -> None:
        nonlocal now
        now += wait

    def attempt() -> None:
        nonlocal now, made
        made += 1
        now += seconds
        raise RetryableError(RegistryError("no such name"), brief=True)

    # Without its random part, each wait is twice the one before: 0.5, 1 and 2 seconds.
    monkeypatch.setattr("tenacity.wait_random", lambda *_: wait_none())
    with pytest.raises(RegistryError, match="no such name"):
        RetryPolicy(sleep=sleep).run(attempt)
    assert made == tries
    assert now <= 5 + seconds


def test_the_end_is_one_of_time_and_not_of_tries() -> None:
    """A server that refuses a third of what it is asked, with a wait of two seconds, slows us down and never fails us."""
    waits: list[float] = []
    answers = iter([True] * 12 + [False])

    def attempt() -> str:
        if next(answers):
            raise RetryableError(RegistryError("busy"), 2.0)
        return "in the end"

    assert RetryPolicy(sleep=waits.append, total_wait=200).run(attempt) == "in the end"
    assert len(waits) == 12
    assert min(waits) >= 2.0


def test_what_gets_further_has_all_the_time_again() -> None:
    waits: list[float] = []
    made = 0

    def attempt() -> None:
        nonlocal made
        made += 1
        raise RetryableError(RegistryError("cut off"), progressed=made <= 50)

    with pytest.raises(RegistryError) as caught:
        RetryPolicy(sleep=waits.append, total_wait=10).run(attempt)
    assert max(waits[:50]) <= 1.0, "each is as a first failure"
    assert sum(waits[49:]) <= 10
    assert f"Tried {made} times." in caught.value.hint
    assert made > 53
