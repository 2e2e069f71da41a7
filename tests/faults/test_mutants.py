"""The test of these tests: what pushes rely on is switched off, one thing at a time, and the schedules have to tell."""

from types import ModuleType

import pytest

from builder.pipeline import run
from builder.publish import tags
from builder.publish.lease import HubLease
from builder.publish.tags import TagMover
from tests.faults.judge import Broken
from tests.faults.mutants import mutated
from tests.faults.schedules import Tally, search

# What is switched off, what stands in its place, after how many schedules at most that is told, and in which words.
MUTANTS: dict[str, tuple[ModuleType | type, str, str, str, int, str]] = {
    "the look at a tag before it is moved": (
        *(TagMover, "_move_all", "now = self.tags.get_manifest(reference)", "now = found[reference]"),
        *(100, "has overwritten"),
    ),
    "the look at a tag before it is put back": (
        *(tags, "restore", "where_is(tags.get_manifest(reference), move)", "Where.AFTER"),
        *(100, "."),
    ),
    "the look at a record once it has stood": (
        *(HubLease, "_settle", "if not lost and self._is_ours(repository):", "if not lost:"),
        *(400, "."),
    ),
    "the look at what was uploaded": (
        *(run, "verify_content", "if problems:", "if False:"),
        *(100, "."),
    ),
}


@pytest.mark.parametrize("what", MUTANTS)
def test_what_is_switched_off_is_missed(what: str) -> None:
    where, name, text, instead, within, told = MUTANTS[what]
    tally = Tally()
    with mutated(where, name, text, instead), pytest.raises(Broken, match=told):
        search(within, 1, tally, shrink=False)
