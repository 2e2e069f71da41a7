"""When we try again, how long we wait, and when we give up."""

import pytest

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
