"""What is wrong with the commands and the blocks of a page: each is read by the program, or the tool, that it is written for."""

import importlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import jinja2
import yaml

from builder.cli.commands import cli
from builder.config.project_file import PROJECT_FILE, ProjectFile, read_project
from builder.errors import BuilderError
from tests import ROOT
from tests.samples.pages import DOCS, Block, blocks_in, command_lines, prose_of, simple_commands, spans_in

_MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = frozenset(re.findall(r"^([a-z-]+):", _MAKEFILE, re.MULTILINE))
VARIABLES = frozenset(re.findall(r"^([A-Z_]+) [:?]?=", _MAKEFILE, re.MULTILINE))
# Programs of others, of which no test of ours knows more than that pages may call them.
_SHELL = ("cd", "chown", "echo", "eval", "grep", "mkdir", "tar", "tee")
OTHERS = frozenset((*_SHELL, "crane", "docker", "git", "go", "helm", "istioctl", "jq", "kubectl", "pip"))
# Flags that are none of ours, and are told of outside of blocks.
_FLAGS_OF_OTHERS = frozenset(("--binary", "--set"))
_TOOLS = {"bench": "tools.bench.__main__", "parity": "tools.parity.__main__"}
_FIGURES = ("bench.json",)
# What stands for a word of the reader's own.
_PLACEHOLDER = re.compile(r"[A-Z]+|…|\.\.\.")


def problems_of(page: str) -> list[str]:
    """What is wrong with a page, a sentence each."""
    try:
        blocks = blocks_in(page)
    except ValueError as error:
        return [str(error)]
    found = [f"line {block.line}: {problem}" for block in blocks for problem in _problems_of_block(block)]
    found += [f"line {line}: {problem}" for block in blocks for line, problem in _problems_of_commands(block)]
    found += [f"`{span}`: {problem}" for span in spans_in(page) for problem in _problems_of_span(span)]
    # Only fenced blocks are read, here and by people who look for what can be copied.
    indented = re.findall(r"^(?: {4}|\t)(istio-build \w.*)$", prose_of(page), re.MULTILINE)
    return [*found, *(f"`{line}` stands in no block" for line in indented)]


def _problems_of_commands(block: Block) -> Iterator[tuple[int, str]]:
    for number, line in command_lines(block) if block.language in ("sh", "console", "text") else ():
        try:
            calls = [*simple_commands(line)]
        except ValueError as error:
            yield number, f"{line}: {error}"
            continue
        for words in calls:
            if problem := problem_of_call(words):
                yield number, f"{' '.join(words)}: {problem}"


def problem_of_call(words: Sequence[str]) -> str:
    """What is wrong with a call of a program, "" where nothing is."""
    program, *arguments = words[1:] if words[0] == "sudo" else words
    program = program.removeprefix(".venv/bin/").removeprefix("./")
    image = next((number for number, word in enumerate(arguments) if re.search(r"/istio-build:[\w.]+$", word)), None)
    if program == "docker" and arguments[0] == "run" and image is not None:
        program, arguments = "istio-build", arguments[image + 1 :]
    if program == "istio-build":
        return _parse(cli, arguments)
    if program == "make":
        return _problem_of_make(arguments)
    if program == "python":
        return _problem_of_module(arguments)
    if program in OTHERS:
        return ""
    if (ROOT / program).is_file():
        return ""
    return f"no test knows the program {program}"


def _parse(command: click.Command, arguments: Sequence[str]) -> str:
    """What the real command says of these words."""
    if list(arguments) in (["--help"], ["--version"]):
        return ""
    name, rest = "", list(arguments)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in command.commands:
            return f"there is no command {name}"
        command = command.commands[name]
    try:
        command.make_context(name, rest)
    except click.ClickException as error:
        return error.format_message()
    return ""


def _problem_of_make(arguments: Sequence[str]) -> str:
    values = dict(word.split("=", 1) for word in arguments if "=" in word)
    targets = [word for word in arguments if "=" not in word]
    unknown = [*(set(targets) - TARGETS), *(values.keys() - VARIABLES)]
    if unknown or not targets:
        return f"the Makefile has no {', '.join(sorted(unknown)) or 'target without a name'}"
    tool = _TOOLS.get(targets[0])
    return _problem_of_tool(tool, values["ARGS"].split()) if tool and "ARGS" in values else ""


def _problem_of_module(arguments: Sequence[str]) -> str:
    if arguments[0] != "-m":
        return "no test knows this script"
    module, rest = arguments[1], arguments[2:]
    if module == "builder":
        return _parse(cli, [word for word in rest if word != "…"])
    name = module if (ROOT / f"{module.replace('.', '/')}.py").is_file() else f"{module}.__main__"
    return _problem_of_tool(name, rest)


def _problem_of_tool(module: str, arguments: Sequence[str]) -> str:
    try:
        command = importlib.import_module(module).main
    except ImportError:
        return f"there is no module {module}"
    # What it is to read may be somebody else's clone, which need not be here, or lies beside the page.
    words = [str(ROOT) if word.startswith("/path/") else str(DOCS / word) if word in _FIGURES else word for word in arguments]
    if isinstance(command, click.Group) and not (words and words[0] in command.commands):
        # The benchmark's own default.
        words = ["run", *words]
    return _parse(command, words)


def _problems_of_span(span: str) -> Iterator[str]:
    """What is wrong with a call, or a flag, that is told of in the middle of a sentence."""
    words = span.split()
    if words[0] == "istio-build" and len(words) > 1:
        command: click.Command = cli
        for name in words[1:]:
            if not isinstance(command, click.Group) or name.startswith("-") or _PLACEHOLDER.fullmatch(name):
                break
            if name not in command.commands:
                # Such as the path of an image: it is no call.
                yield f"there is no command {name}"
                return
            command = command.commands[name]
        known = _flags(command) if not isinstance(command, click.Group) or command.params else _all_flags()
    elif words[0].startswith("--"):
        known = _all_flags() | _tool_flags() | _FLAGS_OF_OTHERS
    else:
        return
    for word in words:
        flag = re.match(r"--[a-z][a-z-]*", word)
        if flag and flag[0] not in known | {"--help"}:
            yield f"there is no flag {flag[0]}"


def _flags(command: click.Command) -> set[str]:
    return {word for parameter in command.params for word in (*parameter.opts, *parameter.secondary_opts)}


def _all_flags() -> set[str]:
    commands: list[click.Command] = [cli]
    for command in commands:
        if isinstance(command, click.Group):
            commands.extend(command.commands.values())
    return {flag for command in commands for flag in _flags(command)}


def _tool_flags() -> set[str]:
    mains = [importlib.import_module(module).main for module in (*_TOOLS.values(), "tools.parity.images")]
    commands = [command for main in mains for command in (main, *getattr(main, "commands", {}).values())]
    return {flag for command in commands for flag in _flags(command)}


def _problems_of_block(block: Block) -> Iterator[str]:
    read = _READERS.get(block.language)
    if read is None:
        yield f"no test reads a block of {block.language or 'no language'}"
        return
    try:
        read(block.text)
    except (ValueError, yaml.YAMLError, jinja2.TemplateError, BuilderError) as error:
        yield str(error)


def _read_json(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        # Or a document in each line.
        for line in text.splitlines():
            json.loads(line)


def is_project(document: object) -> bool:
    """Whether this is meant to be a project file: most of its keys are. A slip in one must not make it something else."""
    if not isinstance(document, dict) or not document:
        return False
    return 2 * len(document.keys() & ProjectFile.model_fields.keys()) > len(document)


def _read_yaml(text: str) -> None:
    documents = [*yaml.safe_load_all(text)]
    if text.startswith(f"# {PROJECT_FILE}") or any(map(is_project, documents)):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / PROJECT_FILE
            path.write_text(text)
            read_project(path)


def _read_nothing(_: str) -> None:
    """What a program prints, and scripts, whose commands are read one by one."""


_READERS: dict[str, Callable[[str], Any]] = {
    "json": _read_json,
    "yaml": _read_yaml,
    "jinja": jinja2.Environment(autoescape=True).parse,
    "sh": _read_nothing,
    "console": _read_nothing,
    "text": _read_nothing,
}
