"""Schedules in which something was wrong once, as they were found."""

import json
from pathlib import Path

import pytest

from tests.faults.play import play
from tests.faults.script import Script

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.json"))


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.stem for path in SCRIPTS])
def test_it_holds(path: Path) -> None:
    text = path.read_text()
    assert json.loads(text)["about"], "says what was wrong"
    play(Script.from_json(text))
