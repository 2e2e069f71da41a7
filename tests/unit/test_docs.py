"""The documents say what the program does: commands, options, exit codes, keys of the project file."""

import inspect
import re

import click

from builder import errors
from builder.cli.commands import cli
from builder.config.options import OPTIONS, Option
from builder.config.project_file import ProjectFile
from builder.errors import BuilderError
from tests import ROOT
from tests.samples.golden import check_golden


def test_the_command_reference_is_what_help_prints() -> None:
    """docs/commands.md is made from the program's own help: `UPDATE_GOLDEN=1 make test-fast` writes it anew."""
    parts = ["# Commands", "What `istio-build COMMAND --help` prints."]
    for name, command in sorted(cli.commands.items()):
        context = click.Context(command, info_name=f"istio-build {name}", terminal_width=110, max_content_width=110)
        parts.append(f"## istio-build {name}\n\n```text\n{command.get_help(context)}\n```")
    check_golden(ROOT / "docs" / "commands.md", "\n\n".join(parts) + "\n")


def test_every_exit_code_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| ([^|]+) \|", readme, re.MULTILINE))
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BuilderError)]
    assert {str(kind.exit_code) for kind in kinds} <= set(rows)


def test_the_table_of_settings_is_that_of_the_program() -> None:
    """The table in docs/project-file.md is made from `config.options`: `UPDATE_GOLDEN=1 make test-fast` writes it anew."""
    page = ROOT / "docs" / "project-file.md"
    before, head, table = page.read_text().partition("| key | value |\n| --- | --- |\n")
    assert head
    rows = [f"| `{option.name}` | {' '.join(filter(None, (option.help, option.more, form(option))))} |\n" for option in OPTIONS]
    after = "".join(line for line in table.splitlines(keepends=True) if not line.startswith("|"))
    check_golden(page, before + head + "".join(rows) + after)


def form(option: Option) -> str:
    """How a value is written, where it is not one word."""
    if option.choices:
        return f"{' or '.join(f'`{choice}`' for choice in option.choices)}."
    return {"words": "One, or a list.", "pairs": "A mapping.", "switch": "`true` or `false`."}.get(option.kind, "")


def test_every_setting_is_a_flag_of_some_command_and_a_key_of_the_project_file() -> None:
    flags = {word for command in cli.commands.values() for parameter in command.params for word in parameter.opts}
    assert {option.flag for option in OPTIONS} <= flags
    assert {option.name for option in OPTIONS} == set(ProjectFile.model_fields)


def test_links_between_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
