"""The test of these tests: what pushes rely on is switched off, one thing at a time, and the schedules have to tell."""

from types import ModuleType

import pytest

from builder.pipeline import release_at_hub
from builder.publish import guards, tags
from builder.publish.lease import HubLease
from builder.publish.tags import TagMover
from tests.faults.judge import Broken
from tests.faults.mutants import mutated
from tests.faults.schedules import numbers, races, scripts, search

# After so many schedules at most it has to be told.
WITHIN = 150
# Where each is told soonest; other numbers take up to some 350 schedules.
SEEDS = (3, 4, 2, 3, 1)
# What is switched off, what stands in its place, and in which words it is told.
MUTANTS: dict[str, tuple[ModuleType | type, str, str, str, str]] = {
    "the look at a tag before it is moved": (
        *(TagMover, "_move_all", "now = self.tags.get_manifest(reference)", "now = found[reference]"),
        "has overwritten|which was not there|a mixture",
    ),
    "the look at a tag before it is put back": (
        *(tags, "restore", "where_is(tags.get_manifest(reference), move)", "Where.AFTER"),
        "has put .* back from|has overwritten|a mixture",
    ),
    "the look at a record once it has stood": (
        *(HubLease, "_settle", "if not lost and self._is_ours(repository):", "if not lost:"),
        "a mixture|has overwritten",
    ),
    "the look at what was uploaded": (
        *(release_at_hub, "verify_content", "if problems:", "if False:"),
        "names a (manifest|blob) that is not there|StopIteration",
    ),
    "the look at whether a number is taken": (
        *(guards, "_refuse_taken_numbers", "if found and", "if False and"),
        "has taken the number",
    ),
}


@pytest.mark.parametrize(("what", "number"), list(zip(MUTANTS, SEEDS, strict=True)))
def test_what_is_switched_off_is_missed(what: str, number: int) -> None:
    where, name, text, instead, told = MUTANTS[what]
    with mutated(where, name, text, instead), pytest.raises(Broken, match=told):
        # Two leases at once are missed only where two runs come together, and one dies of it.
        search(WITHIN, number, shrink=False, made={HubLease: races, guards: numbers}.get(where, scripts))


def test_nothing_is_told_where_nothing_is_switched_off() -> None:
    assert search(50, 3, made=races).schedules >= 50
