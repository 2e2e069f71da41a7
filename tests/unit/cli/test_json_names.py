"""All JSON that the program prints has its names in one way, and one option asks for it."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest

from builder.cache.entry import Survey
from builder.cache.prune import Pruned
from builder.cli.availability_view import support_json
from builder.cli.cache_view import pruned_json, survey_json
from builder.cli.comparison_view import comparison_json
from builder.cli.doctor_view import doctor_json
from builder.cli.history_view import history_json, rollback_json
from builder.cli.json_lines import describe, error_fields
from builder.cli.lock_view import lock_json
from builder.cli.plan_view import plan_json, plan_matrix
from builder.cli.program import cli
from builder.cli.record_view import record_json
from builder.cli.report_view import report_json
from builder.cli.retain_view import retain_json
from builder.cli.run_view import metadata_json, run_json
from builder.cli.verify_view import verify_json
from builder.errors import EngineError, Outcome, ReleaseEnd
from builder.recipe.availability import find_support
from builder.runtime.progress import CauseTold, Message, TaskAdvanced, TaskFinished, TaskStarted
from tests import ROOT
from tests.samples import views
from tests.samples.plans import built_in, make_sample_plan
from tests.samples.runs import FAILED_RUN, GOOD_RUN, REPORT
from tests.unit.cli.test_run_view import RUN

# Below these are names that are not ours: of images, platforms, stages, releases, tags, variables, annotations.
OF_OTHERS = {
    "annotations",
    "bases",
    "env",
    "kinds",
    "labels",
    "made",
    "mirrors",
    "noted",
    "patches",
    "platforms",
    "stages",
    "summary",
    "tags",
    "variants",
}
CACHE = Path("/cache")
PRUNED = Pruned(out=views.ENTRIES, in_use=views.ENTRIES, stuck=((views.ENTRIES[0], "busy"),), left=1)
FAILED = EngineError("broken", hint="mend it")
FAILED.ledger = (Outcome(image="pilot-debug", platform="linux/arm64", state="failed", error="broken"),)
FAILED.releases = (ReleaseEnd(release="1.29.0", state="failed", exit_code=6, error="broken"),)
EVENTS = (
    TaskStarted(task=1, stage="push", subject="pilot"),
    TaskAdvanced(task=1, stage="push", subject="pilot"),
    TaskFinished(task=1, stage="push", subject="pilot", seconds=1.0, outcome="", failed=False),
    Message(level="note", text="x"),
    Message(level="warning", text="x"),
    CauseTold(kind="base", text="x", images=("pilot-debug",)),
)

DOCUMENTS: Mapping[str, Callable[[], Any]] = {
    "push": lambda: report_json(replace(REPORT, patches=(("1.patch", "0" * 64),))),
    "nightly": lambda: run_json(RUN),
    "plan": lambda: json.loads(plan_json(make_sample_plan(), views.SETTINGS, comparison_json(views.comparison()))),
    "plan, as a matrix": lambda: json.loads(plan_matrix(make_sample_plan(), 2)),
    "list": lambda: support_json(find_support(built_in())),
    "history": lambda: history_json(views.past()),
    "rollback": lambda: rollback_json(views.way()),
    "retain": lambda: retain_json(views.retained(), done=False),
    "verify": lambda: verify_json(views.verification(), "1.29.0"),
    "doctor": lambda: doctor_json(views.CHECKED),
    "cache show": lambda: survey_json(Survey(entries=views.ENTRIES), CACHE, 1, 0.0),
    "cache prune": lambda: pruned_json(PRUNED, CACHE, 1, dry_run=True),
    "lock": lambda: lock_json(views.made_lock()),
    "--report": lambda: [record_json(GOOD_RUN), record_json(FAILED_RUN)],
    "--progress": lambda: [error_fields(FAILED), *(describe(event)[1] for event in EVENTS)],
}


def names_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """All names of objects, but those that somebody else has given."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield name
            of_others = name in OF_OTHERS and isinstance(entry, dict)
            for below in entry.values() if of_others else (entry,):
                yield from names_in(below)
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from names_in(entry)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_names_are_in_snake_case(name: str) -> None:
    names = set(names_in(DOCUMENTS[name]()))
    assert len(names) >= 3
    assert {each for each in names if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", each)} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "schemas").glob("*.json")), ids=lambda path: path.stem)
def test_so_are_those_of_the_schemas(path: Any) -> None:  # noqa: ANN401 - Path
    def properties(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
        if isinstance(value, dict):
            yield from value.get("properties", {})
        for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            yield from properties(entry)

    names = set(properties(json.loads(path.read_text())))
    assert len(names) >= 5
    assert {each for each in names if not re.fullmatch(r"[a-z][a-z0-9_]*", each)} == set()


def test_the_metadata_file_alone_has_names_of_buildx() -> None:
    metadata = metadata_json((REPORT,))
    assert {name for images in metadata.values() for image in images.values() for name in image} == {
        "containerimage.digest",
        "image.name",
    }


def commands() -> Iterator[tuple[str, click.Command]]:
    for name, command in cli.commands.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {within}", command.commands[within]) for within in command.commands)


def test_one_option_asks_for_it() -> None:
    asking = {
        name: parameter.opts[0]
        for name, command in commands()
        for parameter in command.params
        if isinstance(parameter.type, click.Choice) and "json" in parameter.type.choices and parameter.name != "progress"
    }
    assert set(asking.values()) == {"--output-format"}
    # All that print something that a program may want. What `explain` prints is held to its schema, which is among those above.
    assert set(asking) == {"archives", "build", "explain", "promote"} | {name for name in DOCUMENTS if name in dict(commands())}


@pytest.mark.parametrize("words", [("plan", "--hub", "docker.io/me"), ("verify", "docker.io/me/pilot:1")])
def test_the_name_that_it_had_is_taken_too(words: tuple[str, ...]) -> None:
    name, *more = words
    for flag in ("--format", "--output-format"):
        assert cli.commands[name].make_context(name, [*more, flag, "json"]).params["output_format"] == "json"
