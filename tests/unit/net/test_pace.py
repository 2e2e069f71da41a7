"""A host that says it is asked too much is asked less, by everybody, and more again once it answers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from builder.errors import Interrupted
from builder.net.pace import Pace
from builder.runtime.cancellation import Cancellation


class Clock:
    """Time as the test says, which passes where something waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> Pace:
    return Pace(clock.wait, most=8, clock=clock)


def ask(pace: Pace, *, refused: bool = False, retry_after: float = 0.0) -> None:
    with pace.turn() as began:
        pace.hear(began, refused=refused, retry_after=retry_after)


def test_nobody_is_held_where_nothing_was_refused(pace: Pace, clock: Clock) -> None:
    for _ in range(100):
        ask(pace)
    assert (clock.waits, pace.allowed) == ([], 8)


def test_what_one_is_asked_to_wait_all_wait(pace: Pace, clock: Clock) -> None:
    ask(pace, refused=True, retry_after=7)
    clock.now += 2
    ask(pace)
    assert clock.waits == [5]
    ask(pace)
    assert clock.waits == [5]


def test_a_longer_pause_that_is_asked_for_meanwhile_counts(clock: Clock) -> None:
    def wait(seconds: float) -> None:
        clock.wait(seconds)
        if len(clock.waits) == 1:
            asked.hear(clock.now, refused=True, retry_after=20)

    asked = Pace(wait, clock=clock)
    ask(asked, refused=True, retry_after=10)
    ask(asked)
    assert clock.waits == [10, 20]


def test_each_refusal_halves_and_each_round_of_answers_adds_one(pace: Pace, clock: Clock) -> None:
    allowed = []
    for _ in range(5):
        turns = [pace.turn() for _ in range(pace.allowed)]
        began = [turn.__enter__() for turn in turns]
        clock.now += 1
        # All that were on their way together are refused together, which is one refusal.
        for moment in began:
            pace.hear(moment, refused=True)
        for turn in turns:
            turn.__exit__(None, None, None)
        clock.now += 1
        allowed.append(pace.allowed)
    assert allowed == [4, 2, 1, 1, 1]
    for _ in range(1 + 2 + 3):
        ask(pace)
    assert pace.allowed == 4
    for _ in range(100):
        ask(pace)
    assert pace.allowed == 8


def test_so_many_are_made_at_once_and_no_more() -> None:
    pace = Pace(time.sleep, most=8)
    ask_in_parallel = threading.Barrier(4)

    def refuse(_: int) -> None:
        with pace.turn() as began:
            ask_in_parallel.wait(10)
            pace.hear(began, refused=True)

    busy: list[int] = []
    counted = threading.Lock()
    most = 0

    def answer(number: int) -> None:
        nonlocal most
        with pace.turn():
            with counted:
                busy.append(number)
                most = max(most, len(busy))
            time.sleep(0.01)
            with counted:
                busy.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(refuse, range(4)))
        assert pace.allowed == 2
        list(pool.map(answer, range(20)))
    assert most == 2


def test_nobody_is_held_for_longer_than_a_run_waits(clock: Clock) -> None:
    pace = Pace(clock.wait, longest=120, clock=clock)
    ask(pace, refused=True, retry_after=3600)
    ask(pace)
    assert clock.waits == []


def test_an_interruption_ends_the_wait() -> None:
    cancellation = Cancellation()
    pace = Pace(cancellation.wait)
    ask(pace, refused=True, retry_after=100)
    threading.Timer(0.1, cancellation.set).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        ask(pace)
    assert time.monotonic() - started < 1
