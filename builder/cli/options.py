"""The options of all commands, each declared once, and what of them was given."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from builder.errors import RequestError

if TYPE_CHECKING:
    from builder.config.settings import Given

Command = TypeVar("Command", bound=Callable[..., None])


REPEATED = (
    *("hub", "tag", "image", "variant", "platform", "recipes", "base", "mirror_from", "apt_mirror", "insecure_registry"),
    *("envoy", "envoy_from", "ztunnel", "ztunnel_from", "go_flags", "go_env"),
)


_LISTS = ("hub", "tag", "image", "variant", "platform", "insecure_registry", "envoy_from", "ztunnel_from")


SINGLE = (
    *("istio", "source", "git_url", "base_registry", "bases", "base_distribution", "builder", "compression"),
    *("envoy_url", "envoy_image", "debug_envoy", "ztunnel_url", "ztunnel_image", "go", "compile_in", "debug", "timeout"),
)


def option(name: str, help_text: str, **more: Any) -> Callable[[Command], Command]:  # noqa: ANN401 - click's own
    """A setting: a flag that is also a variable and a key of the project file."""
    key = name.removeprefix("--").replace("-", "_")
    more.setdefault("multiple", key in REPEATED)
    return click.option(name, key, envvar=f"ISTIO_BUILD_{key.upper()}", show_envvar=True, help=help_text, **more)


def _options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


where = _options(
    option("--hub", "Where images go: a registry and a path, such as docker.io/me. Repeatable.", metavar="HUB"),
    option("--tag", "The tag; by default the version of the source. Repeatable.", metavar="TAG"),
    option("--insecure-registry", "A registry to speak to over plain HTTP. Repeatable.", metavar="HOST"),
)


source = _options(
    option("--istio", "The release of Istio to fetch and build, such as 1.29.0.", metavar="VERSION"),
    option("--source", "A checkout of Istio to build instead.", metavar="DIR"),
    option("--git-url", "Where --istio fetches from.", metavar="URL"),
    option("--recipes", "A directory of recipes and templates of your own. Repeatable.", metavar="DIR"),
    click.option("--file", "project_file", metavar="FILE", help="The project file; ./istio-build.yaml by default."),
)


go = _options(
    option("--go", "Which Go compiles: release (what go.mod asks for; the default), machine, newest, or 1.25.9.", metavar="GO"),
    option("--compile-in", "An image to compile in, with its Go, instead of on this machine.", metavar="IMAGE"),
    option("--go-flags", "More flags of `go build`, such as -gcflags=-S. Repeatable.", metavar="FLAGS"),
    option("--go-env", "Go's environment: GOFIPS140, GOEXPERIMENT, CGO_ENABLED, … Repeatable.", metavar="NAME=VALUE"),
    option("--debug", "Compile for a debugger, as Istio's DEBUG=1 does.", is_flag=True),
    option("--builder", "The buildx builder to use.", metavar="NAME"),
)


what = _options(
    source,
    option("--image", "An image or group (core, mesh, test, bases, all); core by default. Repeatable.", metavar="NAME"),
    option("--variant", "A variant to build: debug, distroless; all by default. Repeatable.", metavar="NAME"),
    option("--platform", "A platform; linux/amd64 and linux/arm64 by default. Repeatable.", metavar="OS/ARCH"),
    option("--base-registry", "Where base images come from.", metavar="REGISTRY"),
    option("--base", "A base image of your own. Repeatable.", metavar="NAME=REFERENCE"),
    option("--mirror-from", "Where to copy a mirrored image from. Repeatable.", metavar="IMAGE=REFERENCE"),
    option("--bases", "How the images of group bases come about.", type=click.Choice(["copy", "build"])),
    option("--base-distribution", "What bases are built from, such as ubuntu:noble.", metavar="NAME:SUITE"),
    option("--apt-mirror", "A mirror of a package archive. Repeatable.", metavar="NAME=URL"),
    option("--envoy-url", "The URL below which Envoy's archives are: a mirror.", metavar="URL"),
    option("--envoy", "An Envoy of your own: a program or .tar.gz. Repeatable.", metavar="OS/ARCH=PATH-or-URL"),
    option("--envoy-image", "A proxyv2 image to take Envoy out of, where it is nowhere else.", metavar="REFERENCE"),
    option("--envoy-from", "Where to look for Envoy, in this order; file,url,image by default.", metavar="SOURCE,…"),
    option("--debug-envoy", "Take Envoy with its symbols, as Istio's DEBUG_IMAGE does.", is_flag=True, default=None),
    option("--ztunnel-url", "The URL below which ztunnel's programs are: a mirror.", metavar="URL"),
    option("--ztunnel", "A ztunnel of your own. Repeatable.", metavar="OS/ARCH=PATH-or-URL"),
    option("--ztunnel-image", "A ztunnel image to take the program out of.", metavar="REFERENCE"),
    option("--ztunnel-from", "Where to look for ztunnel, in this order; file,url,image by default.", metavar="SOURCE,…"),
    option("--compression", "How layers are compressed.", type=click.Choice(["gzip", "zstd"])),
    go,
)


how = _options(
    option("--timeout", "Give up on a host that has not answered for this long; 120 by default.", metavar="SECONDS"),
    click.option(
        "--progress",
        type=click.Choice(["auto", "tty", "plain", "json", "quiet"]),
        default="auto",
        envvar="ISTIO_BUILD_PROGRESS",
        show_envvar=True,
        help="How progress is shown on stderr.",
    ),
)


output = click.option(
    "--output-format",
    type=click.Choice(["references", "json"]),
    default="references",
    help="What is printed on stdout at the end.",
)


def words(given: "Mapping[str, Given]", name: str) -> tuple[str, ...]:
    """The words of one setting, none where it was not given."""
    return tuple(given[name].words) if name in given else ()


def collect_given(context: click.Context) -> dict[str, Any]:
    """What stands on the command line or in the environment; defaults are the settings' own business."""
    from builder.config.settings import Given

    given = {}
    for name in (*REPEATED, *SINGLE):
        if not _is_given(context, name):
            continue
        value = context.params[name]
        words = value if isinstance(value, tuple) else (str(value).lower() if isinstance(value, bool) else value,)
        if name in _LISTS:
            words = tuple(part.strip() for word in words for part in word.split(",") if part.strip())
        if not any(words):
            raise RequestError(
                f"--{name.replace('_', '-')} is given, but empty",
                hint="Is a variable unset? Leave the option out for its default.",
            )
        from_variable = context.get_parameter_source(name) is ParameterSource.ENVIRONMENT
        origin = f"ISTIO_BUILD_{name.upper()}" if from_variable else f"--{name.replace('_', '-')}"
        given[name] = Given(words=words, origin=origin)
    return given


def is_flag(context: click.Context, name: str) -> bool:
    """Whether it stands on the command line."""
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _is_given(context: click.Context, name: str) -> bool:
    sources = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    return name in context.params and context.get_parameter_source(name) in sources
