"""Schedules made up at random; `make faults` plays ten thousand."""

import pytest

from tests.faults.play import play
from tests.faults.schedules import numbers, search
from tests.faults.script import KINDS, Act, Fault, Run, Script

COUNT = 200


def test_what_is_promised_holds_in_all_of_them() -> None:
    tally = search(COUNT, 1)
    assert tally.schedules >= COUNT
    assert set(tally.injected) == set(KINDS), "every kind of fault has been there"
    assert {"a report", "PublishError", "RegistryError", "VerifyError", "Interrupted", "killed"} <= set(tally.endings)


def test_a_number_is_given_once_whoever_comes_between_and_dies() -> None:
    tally = search(COUNT, 1, made=numbers)
    assert {"a report", "PublishError", "killed"} <= set(tally.endings)


SCRIPT = Script(
    runs=(
        Run(
            release="a",
            tags=("1.29", "1.30"),
            faults=(Fault(call=31, kind="kill after"), Fault(call=20, kind="slow", seconds=0.3)),
        ),
        Run(release="b", machine=1, start=0.05, skew=280.0, sends=True),
    ),
    acts=(Act(what="move", image="pilot", tag="1.30", run=0, call=30), Act(what="sweep", image="pilot", at=3.0)),
    seed=7,
    spread=0.2,
)


def test_a_script_is_read_as_it_is_written() -> None:
    assert Script.from_json(SCRIPT.to_json()) == SCRIPT


def test_the_same_script_is_played_the_same_way_each_time() -> None:
    first, second = (play(SCRIPT) for _ in range(2))
    assert [(ended.name, ended.at, ended.course.calls) for ended in first.endings] == [
        (ended.name, ended.at, ended.course.calls) for ended in second.endings
    ]
    assert first.injected == {"kill after": 1, "slow": 1}


def test_a_moment_between_look_and_request_is_all_that_somebody_else_can_lose() -> None:
    """There and back again, for whoever comes before the look is seen by it."""
    look = _look_of_the_first_tag()
    played = play(Script(runs=(Run(release="a"),), acts=(Act(what="move", image="pilot", run=0, call=look),)))
    assert played.windows == [pytest.approx(0.01)]
    seen = play(Script(runs=(Run(release="a"),), acts=(Act(what="move", image="pilot", run=0, call=look - 1),)))
    assert seen.windows == []
    assert "somebody else has moved" in str(seen.endings[0].error)


def _look_of_the_first_tag() -> int:
    """The number of the last look at a tag before it is moved."""
    calls = play(Script(runs=(Run(release="a"),))).endings[0].course.calls
    moved = next(number for number, call in enumerate(calls) if call == ("put_tag", "hub.test/istio/pilot:1.29"))
    assert calls[moved - 1] == ("get_manifest", "hub.test/istio/pilot:1.29")
    return moved - 1
