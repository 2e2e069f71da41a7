"""The options of commands, made of the settings of `config.options`, and what of them was given."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from builder.cli.value_completion import COMPLETED, complete_value
from builder.config.option import Option
from builder.config.options import CACHE, GO, HOW, LOCK, OPTIONS, OUTPUTS, SOURCE, TAGS, WHAT, WHERE, find_option
from builder.errors import RequestError

if TYPE_CHECKING:
    from builder.config.merged import Given
    from builder.config.settings import Job

Command = TypeVar("Command", bound=Callable[..., None])


def setting(option: Option, *, has_variable: bool = True) -> Callable[[Command], Command]:
    """An option of the command line: the flag, and its variable."""
    more: dict[str, Any] = {}
    if option.kind == "switch":
        more = {"is_flag": True, "default": None}
    elif option.choices:
        more = {"type": click.Choice(option.choices)}
    else:
        more = {"metavar": option.metavar, "multiple": option.repeatable}
    if option.name in COMPLETED:
        more["shell_complete"] = complete_value
    return click.option(
        option.flag,
        option.name,
        envvar=option.variable if has_variable else None,
        show_envvar=True,
        help=f"{option.help} Repeatable." if option.repeatable else option.help,
        **more,
    )


def _settings(*groups: Sequence[Option]) -> Callable[[Command], Command]:
    return all_of(*(setting(option) for group in groups for option in group))


def setting_for(name: str, meaning: str) -> Callable[[Command], Command]:
    """A setting as it is meant for a command that builds nothing, and so is about one release at most."""
    option = dataclasses.replace(find_option(name), help=meaning)
    return setting(dataclasses.replace(option, kind="word") if name == "istio" else option)


def all_of(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator, in the order in which `--help` shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


where = _settings(WHERE)
project_file = click.option("--file", "project_file", metavar="FILE", help="The project file; ./istio-build.yaml by default.")
source = all_of(_settings(SOURCE), project_file, _settings(LOCK))
go = _settings(GO)
what = all_of(source, _settings(WHAT, GO))
# What a lock is made for; it is written, so it is not obeyed at the same time.
lockable = all_of(
    _settings(SOURCE), project_file, *(setting(option) for option in LOCK if option.name != "locked"), _settings(WHAT, GO)
)
how = all_of(
    _settings(HOW),
    click.option(
        "--progress",
        type=click.Choice(["auto", "tty", "plain", "json", "quiet"]),
        default="auto",
        envvar="ISTIO_BUILD_PROGRESS",
        show_envvar=True,
        help="How progress is shown on stderr.",
    ),
)


tags = all_of(
    _settings(TAGS),
    click.option(
        "--merge-platforms",
        is_flag=True,
        help="Keep the platforms that tags have and this push lacks: their images stay in the index.",
    ),
    click.option(
        "--replace",
        is_flag=True,
        help="Let tags lose platforms, and let a dirty, patched, debug or other build take over a release's tag.",
    ),
)


cache = _settings(CACHE)


pushing = all_of(
    click.option("--rebuild", is_flag=True, help="Build even what the hub already holds from the same inputs."),
    click.option(
        "--metadata-file",
        metavar="FILE",
        default="",
        help="Write what was pushed, with digests, to a file of JSON; also where one of several releases failed.",
    ),
)


_PRINTED_AT_THE_END = "What is printed on stdout at the end."


class _Renamed(click.Option):
    """An option that still goes by the name that it had, of which help says nothing."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """See `click.Option.get_help_record`."""
        record = super().get_help_record(ctx)
        return record and (record[0].replace(f", {self.opts[1]}", ""), record[1])


def output_format(*choices: str, meaning: str = "What is printed on stdout.", before: str = "") -> Callable[[Command], Command]:
    """The option that says what a command prints, the first of these by default; `before`: the name that it had."""
    return click.option(
        "--output-format",
        *([before] if before else ()),
        "output_format",
        cls=_Renamed if before else click.Option,
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help=meaning,
    )


fail_fast = click.option(
    "--fail-fast",
    is_flag=True,
    help="End with the first image, hub, or release of several, that fails; else the others go on.",
)


output_of_run = output_format("references", "json", meaning=_PRINTED_AT_THE_END)
output = all_of(fail_fast, output_of_run)


outputs = _settings(OUTPUTS)
# To be written down: what a variable says may be a secret, and counts for each job anyway.
every_setting = all_of(*(setting(option, has_variable=False) for option in OPTIONS))


only_shard = click.option(
    "--shard",
    metavar="K/N",
    envvar="ISTIO_BUILD_SHARD",
    show_envvar=True,
    help="Only the K-th of N parts of it all, as one of N machines that do the same.",
)


def words(given: "Mapping[str, Given]", name: str) -> tuple[str, ...]:
    """The words of one setting, none where it was not given."""
    return tuple(given[name].words) if name in given else ()


def collect_given(context: click.Context) -> dict[str, Any]:
    """What stands on the command line or in the environment; defaults are the settings' own business."""
    from builder.config.merged import Given

    given = {}
    for option in OPTIONS:
        if not _is_given(context, option.name):
            continue
        value = context.params[option.name]
        words = value if isinstance(value, tuple) else (str(value).lower() if isinstance(value, bool) else value,)
        if option.commas:
            words = tuple(part.strip() for word in words for part in word.split(",") if part.strip())
        if not any(words):
            raise RequestError(
                f"{option.flag} is given, but empty", hint="Is a variable unset? Leave the option out for its default."
            )
        from_variable = context.get_parameter_source(option.name) is ParameterSource.ENVIRONMENT
        given[option.name] = Given(words=words, origin=option.variable if from_variable else option.flag)
    return given


def no_source() -> "dict[str, Given]":
    """For commands that build nothing: what the project file says of a source is not asked for."""
    from builder.config.merged import Given

    return {"source": Given(words=(".",), origin="no source"), "istio": Given(words=(), origin="no source")}


def is_flag(context: click.Context, name: str) -> bool:
    """Whether it stands on the command line."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _is_given(context: click.Context, name: str) -> bool:
    sources = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return name in context.params and context.get_parameter_source(name) in sources


def read_job(context: click.Context) -> "Job":
    """What stands on the command line, in the environment and in the project file, as one job."""
    from builder.config.project_file import find_project
    from builder.config.settings import make_job

    return make_job(collect_given(context), find_project(context.params["project_file"] or ""))
