"""Checks are made side by side; one that hangs or fails keeps no other from ending, and an interruption ends all."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from builder.doctor.examine import Check, examine
from builder.doctor.finding import Finding, State, ok
from builder.doctor.probes import Probes
from builder.errors import Interrupted, RegistryError
from tests.samples.doctor import World


class Counted:
    """Probes of a world, and how many were ended."""

    def __init__(self, scratch: Path) -> None:
        self.world = World(scratch)
        self.ended = threading.Event()

    @contextmanager
    def probes(self) -> Iterator[Probes]:
        yield self.world.probes()

    def end(self) -> None:
        self.ended.set()


def check(name: str, look: Callable[[Probes], Finding]) -> Check:
    return Check(name=name, subject="", look=look)


def test_findings_come_in_order_and_together(tmp_path: Path) -> None:
    together = threading.Barrier(3, timeout=10)

    def look(_: Probes) -> Finding:
        together.wait()
        return ok("well")

    found = examine([check(name, look) for name in "abc"], lambda: Counted(tmp_path), 20, time.sleep)
    assert [(one.name, one.finding.text) for one in found] == [("a", "well"), ("b", "well"), ("c", "well")]


def test_an_error_of_ours_is_a_finding_with_its_hint(tmp_path: Path) -> None:
    def look(_: Probes) -> Finding:
        raise RegistryError("it is away", hint="Start it.")

    [found] = examine([check("push", look)], lambda: Counted(tmp_path), 20, time.sleep)
    assert (found.finding.state, found.finding.text, found.finding.mend) == (State.FAILED, "it is away", "Start it.")


def test_so_is_one_of_the_system(tmp_path: Path) -> None:
    def look(_: Probes) -> Finding:
        raise PermissionError(13, "Permission denied", "/x")

    [found] = examine([check("disk", look)], lambda: Counted(tmp_path), 20, time.sleep)
    assert (found.finding.state, found.finding.text) == (State.FAILED, "/x: Permission denied")


def test_what_hangs_is_ended_and_told_and_the_rest_is_there(tmp_path: Path) -> None:
    given: list[Counted] = []

    def begin() -> Counted:
        given.append(Counted(tmp_path))
        return given[-1]

    def hang(_: Probes) -> Finding:
        given[0].ended.wait(60)
        return ok("too late")

    began = time.monotonic()
    hung, well = examine([check("hung", hang), check("well", lambda _: ok("well"))], begin, 0.3, time.sleep)
    assert time.monotonic() - began < 5
    assert (hung.finding.state, hung.finding.text) == (State.FAILED, "no answer within 0.3 s")
    assert well.finding.state is State.OK
    assert [one.ended.is_set() for one in given] == [True, False]


def test_an_interruption_ends_all(tmp_path: Path) -> None:
    given = [Counted(tmp_path)]

    def hang(_: Probes) -> Finding:
        given[0].ended.wait(60)
        return ok("too late")

    def interrupt(_: float) -> None:
        raise Interrupted("interrupted")

    with pytest.raises(Interrupted):
        examine([check("hung", hang)], lambda: given[0], 60, interrupt)
    assert given[0].ended.is_set()
