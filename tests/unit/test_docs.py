"""The documents say what the program does: commands, options, exit codes, keys of the project file."""

import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from builder import errors
from builder.cli.commands import cli
from builder.cli.themed_command import ThemedCommand
from builder.config.option import Option
from builder.config.options import OPTIONS, THEMES
from builder.config.project_file import ProjectFile, read_project
from builder.config.settings import make_job
from builder.errors import BuilderError
from builder.publish.guards import Permissions
from tests import ROOT
from tests.samples.golden import check_golden


def test_the_command_reference_is_what_help_prints() -> None:
    """docs/commands.md is made from the program's own help: `UPDATE_GOLDEN=1 make test-fast` writes it anew."""
    parts = ["# Commands", "What `istio-build COMMAND --help` prints."]
    for name, command in sorted(all_commands()):
        context = click.Context(command, info_name=f"istio-build {name}", terminal_width=110, max_content_width=110)
        parts.append(f"## istio-build {name}\n\n```text\n{command.get_help(context)}\n```")
    check_golden(ROOT / "docs" / "commands.md", "\n\n".join(parts) + "\n")


def test_the_examples_of_help_are_what_the_program_takes() -> None:
    calls = [call for _, command in all_commands() if isinstance(command, ThemedCommand) for call, _ in command.examples]
    assert len(calls) >= 14
    for call in calls:
        program, name, *arguments = shlex.split(call)
        assert program == "istio-build"
        cli.commands[name].make_context(name, arguments)


def test_help_has_every_option_once_below_its_theme() -> None:
    push = cli.commands["push"]
    told = push.get_help(click.Context(push, info_name="push", terminal_width=110))
    titles = re.findall(r"^(\w+):$", told, re.MULTILINE)
    # A push adds tags; what takes old ones away is a command of its own.
    themes = [(title, options) for title, options in THEMES if title != "Retention"]
    assert titles == ["Examples", "Options", *(title for title, _ in themes)]
    sections = dict(zip(titles, re.split(r"^\w+:$", told, flags=re.MULTILINE)[1:], strict=True))
    for title, options in themes:
        for option in options:
            assert re.search(rf"^  {option.flag}\b", sections[title], re.MULTILINE), option.flag
            assert len(re.findall(rf"^  {option.flag}(?![\w-])", told, re.MULTILINE)) == 1, option.flag
    assert "  --help" in sections["Options"]


def test_every_setting_has_a_theme() -> None:
    assert sorted(option.name for _, options in THEMES for option in options) == sorted(option.name for option in OPTIONS)


@pytest.mark.parametrize("name", ["push", "build", "plan", "nightly", "verify"])
def test_on_a_narrow_terminal_help_keeps_within_it_but_for_what_is_copied(name: str) -> None:
    command = cli.commands[name]
    assert isinstance(command, ThemedCommand)
    told = command.get_help(click.Context(command, info_name=name, terminal_width=60))
    calls = {f"  {part}" for call, meaning in command.examples for part in (call, f"# {meaning}")}
    assert calls <= set(told.splitlines())
    assert [line for line in told.splitlines() if len(line) > 60 and line not in calls] == []


def all_commands() -> Iterator[tuple[str, click.Command]]:
    """Every command, those of a group after it."""
    for name, command in cli.commands.items():
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {within}", command.commands[within]) for within in command.commands)


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


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_what_has_the_name_of_a_setting_is_that_setting(name: str) -> None:
    """Settings are collected by the names of parameters: `promote --from` was once taken for --source."""
    flags = {option.name: option.flag for option in OPTIONS}
    named = {parameter.name: parameter.opts for parameter in cli.commands[name].params if parameter.name in flags}
    assert {own: opts for own, opts in named.items() if opts != [flags[own or ""]]} == {}


def test_links_between_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


# What the pipelines of docs/shards.md have in variables.
PIPELINE_VALUES = {
    "${{ matrix.shard }}": "2/4",
    "${{ matrix.name }}": "shard-2-of-4",
    "$SHARD": "2/4",
    "$CI_NODE_INDEX": "2",
    "$((JOB_COMPLETION_INDEX + 1))": "2",
    "$JOB_COMPLETION_INDEX": "1",
}


def pipelines() -> dict[str, list[Any]]:
    """The YAML documents of docs/shards.md, by the heading that they stand under."""
    text = (ROOT / "docs" / "shards.md").read_text()
    found = re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?```yaml\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    return {heading: list(yaml.safe_load_all(block)) for heading, block in found}


def texts_in(value: Any) -> Iterator[str]:  # noqa: ANN401 - YAML
    if isinstance(value, str):
        yield value
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts_in(entry)


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of each call of istio-build in a script."""
    for variable, value in PIPELINE_VALUES.items():
        text = text.replace(variable, value)
    for call in re.findall(r"(?:^|\()istio-build ([^#)\n]+)", text, re.MULTILINE):
        yield shlex.split(call)


def test_the_pipelines_of_the_page_on_shards_are_there() -> None:
    found = pipelines()
    assert list(found) == ["GitHub Actions", "GitLab CI", "Kubernetes"]
    [github], [gitlab], jobs = found.values()
    assert github["jobs"]["build"]["strategy"]["matrix"] == "${{ fromJSON(needs.plan.outputs.matrix) }}"
    assert gitlab["build"]["parallel"]["matrix"] == [{"SHARD": ["1/4", "2/4", "3/4", "4/4"]}]
    assert [job["kind"] for job in jobs] == ["Job", "Job"]
    assert jobs[0]["spec"]["completionMode"] == "Indexed"
    assert jobs[0]["spec"]["completions"] == 4


@pytest.mark.parametrize("of", ["GitHub Actions", "GitLab CI", "Kubernetes"])
def test_what_pipelines_call_is_what_the_program_takes(of: str) -> None:
    calls = [words for document in pipelines()[of] for text in texts_in(document) for words in commands_in(text)]
    assert {words[0] for words in calls} >= {"build", "push"}
    for name, *arguments in calls:
        assert not [word for word in arguments if "$" in word]
        context = cli.commands[name].make_context(name, arguments)
        if name == "build":
            assert (context.params["shard"] or "").endswith("/4")


PAGES = {
    "shards": 7,
    "releases": 7,
    "why": 2,
    "cache": 3,
    "doctor": 2,
    "explain": 3,
    "patches": 2,
    "schedules": 5,
    "nightly": 4,
    "report": 3,
    "retain": 4,
    "completion": 2,
    "project-file": 2,
}


@pytest.mark.parametrize(("page", "count"), [(f"{name}.md", count) for name, count in PAGES.items()])
def test_the_commands_of_a_page_are_what_the_program_takes(page: str, count: int) -> None:
    text = (ROOT / "docs" / page).read_text()
    scripts = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    calls = [words for script in scripts for words in commands_in(script)]
    assert len(calls) == count
    for name, *arguments in calls:
        command = cli.commands[name]
        if isinstance(command, click.Group):
            name, *arguments = arguments
            command = command.commands[name]
        command.make_context(name, arguments)


def test_the_project_file_of_the_page_on_nights_is_one_and_does_not_hold_its_own_tags_back(tmp_path: Path) -> None:
    [text] = re.findall(r"```yaml\n# istio-build\.yaml\n(.*?)```", (ROOT / "docs" / "nightly.md").read_text(), re.DOTALL)
    (tmp_path / "istio-build.yaml").write_text(text)
    job = make_job({}, read_project(tmp_path / "istio-build.yaml"))
    assert job.source.may_be_several
    kept = Permissions(immutable=job.immutable)
    assert [bool(kept.keeping(tag)) for tag in ("1.29.3", "1.29.3-distroless", "1.29", "1.29-distroless", "latest")] == [
        *[True, True, False, False, False]
    ]


def test_the_commands_of_the_page_on_the_lock_are_what_the_program_takes() -> None:
    text = (ROOT / "docs" / "lock.md").read_text()
    calls = [words for script in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for words in commands_in(script)]
    assert [name for name, *_ in calls] == ["lock", "push", "lock", "lock", "push"]
    for name, *arguments in calls:
        cli.commands[name].make_context(name, arguments)
