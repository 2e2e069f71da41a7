"""The program's commands by name. Each is imported when it is asked for, with its options: a hundred for some."""

from collections.abc import Iterator, MutableMapping
from importlib import import_module

import click

from builder import __version__
from builder.cli.themed_command import CommandGroup, asked_alike

# The module and the command in it, by the name that is typed.
COMMANDS = {
    "archives": ("commands", "archives"),
    "build": ("commands", "build"),
    "cache": ("cache_command", "cache_command"),
    "completion": ("completion_command", "completion"),
    "doctor": ("doctor_command", "doctor"),
    "explain": ("explain_command", "explain"),
    "history": ("release_commands", "history"),
    "init": ("init_command", "init"),
    "list": ("commands", "list_images"),
    "lock": ("lock_command", "lock_command"),
    "nightly": ("nightly_command", "nightly"),
    "plan": ("commands", "plan"),
    "promote": ("release_commands", "promote"),
    "push": ("push_command", "push"),
    "retain": ("release_commands", "retain"),
    "rollback": ("release_commands", "rollback"),
    "schedule": ("schedule_command", "schedule"),
    "schema": ("commands", "schema"),
    "verify": ("verify_command", "verify"),
}


class _LateCommands(MutableMapping[str, click.Command]):
    """What click keeps the commands of a group in: names are known from the beginning, commands once they are looked up."""

    def __init__(self) -> None:
        self._found: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._found:
            module, command = COMMANDS[name]
            self._found[name] = asked_alike(getattr(import_module(f"builder.cli.{module}"), command))
        return self._found[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        raise TypeError(f"the command {name} stays")

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@click.group(cls=CommandGroup, commands=_LateCommands())
@click.version_option(__version__, prog_name="istio-build")
def cli() -> None:
    """Rebuild Istio's images for your own registry: linux/amd64 and linux/arm64, checked, pushed as one release."""
