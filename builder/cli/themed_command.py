"""Help: of commands of many options examples first, then what is the command's own, then the settings by theme."""

from collections.abc import Sequence
from typing import Any

import click

from builder.config.options import THEMES

# Flags that are no settings of a project file, but belong with some of them.
_BESIDE = {
    "project_file": "Source",
    "merge_platforms": "Tags",
    "replace": "Tags",
    "progress": "How",
    "fail_fast": "How",
    "rebuild": "How",
    "output_format": "Outputs",
    "metadata_file": "Outputs",
}
_THEME_OF = {option.name: title for title, options in THEMES for option in options} | _BESIDE
_OWN = "Options"


# Longer than any first sentence.
_WHOLE = 10_000
_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def asked_alike(command: click.Command) -> click.Command:
    """The command, which is asked for help in one way, whoever asks it."""
    command.context_settings = {**_SETTINGS, **command.context_settings}
    return command


class CommandGroup(click.Group):
    """Commands, of each of which `--help` has the first sentence whole, however narrow the terminal is; `-h` is the same."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - click
        super().__init__(*arguments, **more)
        self.context_settings = {**_SETTINGS, **self.context_settings}

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """See `click.Group.add_command`."""
        super().add_command(asked_alike(cmd), name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names and sentences."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(_WHOLE)) for name, command in commands if command])


class ThemedCommand(click.Command):
    """A command whose `--help` has its options by theme. `examples`: pairs of a call and what it is for."""

    def __init__(self, *arguments: Any, examples: Sequence[tuple[str, str]] = (), **more: Any) -> None:  # noqa: ANN401 - click
        super().__init__(*arguments, **more)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and the options below their titles."""
        self._format_examples(formatter)
        rows: dict[str, list[tuple[str, str]]] = {title: [] for title in (_OWN, *(title for title, _ in THEMES))}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx)
            if row:
                rows[_THEME_OF.get(parameter.name or "", _OWN)].append(row)
        for title, found in rows.items():
            if found:
                with formatter.section(title):
                    formatter.write_dl(found)

    def _format_examples(self, formatter: click.HelpFormatter) -> None:
        """As they are, however narrow the terminal is: a call that is broken in two cannot be copied."""
        if not self.examples:
            return
        with formatter.section("Examples"):
            for call, meaning in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}# {meaning}\n{'':>{formatter.current_indent}}{call}\n")
