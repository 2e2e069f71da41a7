"""A process that is killed at some of its requests; `make faults` kills it at each."""

import random

import pytest

from tests.faults import kill

pytestmark = pytest.mark.process
COUNT = 6


def test_a_push_that_is_killed_is_finished_by_the_next() -> None:
    with kill.ground() as here:
        steps = here.all_steps()
        assert len(steps) > 60
        here.kill_at(random.Random(1).sample(steps, COUNT), jobs=2)
