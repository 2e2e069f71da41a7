"""The program's commands are found by their names, and none before it is asked for."""

import pytest

from builder.cli.program import COMMANDS, cli


def test_every_command_has_the_name_that_is_typed() -> None:
    assert {name: command.name for name, command in cli.commands.items()} == {name: name for name in COMMANDS}


def test_what_is_no_command_is_none() -> None:
    assert cli.commands.get("pusj") is None
    with pytest.raises(TypeError, match="the command push stays"):
        del cli.commands["push"]
