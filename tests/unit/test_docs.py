"""The documents say what the program does: commands, options, exit codes, keys of the project file."""

import inspect
import re

import click

from builder import errors
from builder.cli.commands import cli
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


def test_every_key_of_the_project_file_is_documented_and_is_a_flag() -> None:
    document = (ROOT / "docs" / "project-file.md").read_text()
    flags = {option for command in cli.commands.values() for parameter in command.params for option in parameter.opts}
    for key, field in ProjectFile.model_fields.items():
        assert f"`{key}`" in document
        assert field.description
        assert f"--{key.replace('_', '-')}" in flags


def test_links_between_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
