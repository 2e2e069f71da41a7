"""`istio-build init`: writes a project file, from flags or from a few questions."""

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from builder.cli.options import collect_given, every_setting, no_source
from builder.cli.themed_command import ThemedCommand
from builder.config.options import find_option
from builder.errors import BuilderError, RequestError

if TYPE_CHECKING:
    from builder.config.merged import Given

# What is asked, and what is taken of an empty answer; "" leaves the key out.
_QUESTIONS = (
    ("hub", "Where do images go? A registry and a path, such as docker.io/me", None),
    ("istio", "Which releases of Istio? 1.29.0, 1.29, latest, 1.27+, supported", "latest"),
    ("image", "Which images or groups? core, mesh, all, or names", "core"),
    ("moving_tags", "Which tags go on to the newest release? {{ line }}, latest; none with Enter", ""),
)
_URL = re.compile(r"https?://\S*")


@click.command(
    cls=ThemedCommand,
    examples=(
        ("istio-build init", "asks for the hub, releases, images and tags"),
        ("istio-build init --hub docker.io/me --istio supported --moving-tags '{{ line }}'", "asks nothing"),
    ),
)
@every_setting
@click.option("--force", is_flag=True, help="Write over the file that is there.")
@click.pass_context
def init(context: click.Context, /, force: bool, **_: Any) -> None:  # noqa: ANN401 - click
    """Write ./istio-build.yaml: all that a job may be told, each with what it is for, and what is given here filled in.

    Without settings, on a terminal, it asks for those that most jobs need. Variables are not written down: they count anyway.
    """
    from builder.config.project_file import PROJECT_FILE
    from builder.config.written_project import write_project
    from builder.runtime.atomic_file import whole_file

    path = Path(PROJECT_FILE)
    if os.path.lexists(path) and not force:
        raise RequestError(f"{path} is there already", hint="--force writes over it.")
    given = collect_given(context) or _ask()
    _check(given)
    with whole_file(path) as partial:
        partial.write_text(write_project({name: each.words for name, each in given.items()}), encoding="utf-8")
    click.echo(str(path))


def _check(given: "Mapping[str, Given]") -> None:
    """Raises RequestError for what a job would not take, or what does not belong into a file that others read."""
    from builder.config.outputs import check_addresses
    from builder.config.project_file import PROJECT_FILE
    from builder.config.settings import make_job
    from builder.oci.reference import redact_url

    for name, each in given.items():
        option = find_option(name)
        if any(redact_url(url) != url for word in each.words for url in _URL.findall(word)) and name != "notify":
            raise RequestError(
                f"{option.flag} holds a URL with credentials, or with a query, which may be one",
                hint=f"Leave it out here, and give it as a variable: {option.variable}.",
            )
    check_addresses(given["notify"].words if "notify" in given else (), PROJECT_FILE)
    sourceless = {} if given.keys() & {"source", "istio"} else no_source()
    make_job({**sourceless, **given}, None, needs_hub=False)


def _ask() -> "dict[str, Given]":
    if not sys.stdin.isatty():
        raise RequestError(
            "no setting is given, and there is no terminal to ask on",
            hint="`istio-build init --hub docker.io/me --istio supported`",
        )
    answers = {
        name: click.prompt(question, default=default, value_proc=_answer(name), err=True)
        for name, question, default in _QUESTIONS
    }
    return {name: answer for name, answer in answers.items() if answer.words}


def _answer(name: str) -> "Callable[[str], Given]":
    """Reads an answer as the flag would be read; click asks again where it is none."""
    from builder.config.merged import Given

    def read(answer: str) -> "Given":
        words = tuple(part.strip() for part in answer.split(",") if part.strip())
        given = Given(words=words, origin=find_option(name).flag)
        try:
            _check({name: given} if words else {})
        except BuilderError as error:
            raise click.UsageError(f"{error.message}\n{error.hint}".rstrip()) from error
        return given

    return read
