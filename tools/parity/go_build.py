"""What `go build` makes for Istio's images: Makefile.core.mk calls common/scripts/gobuild.sh, which calls Go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tools.parity.make import Makefile
from tools.parity.model import CouldNotRead, GoProgram
from tools.parity.shell import Script

_GOBUILD = "gobuild.sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildScripts:
    """The text of common/scripts/gobuild.sh and common/scripts/report_build_info.sh, and what they are told by git."""

    gobuild: str
    report_build_info: str
    commit: str
    description: str


def read_programs(make: Makefile, scripts: BuildScripts, environment: Mapping[str, str]) -> dict[str, GoProgram]:
    """The programs that the target `build-linux` makes, by name. Raises CouldNotRead.

    tools/docker-builder asks make for many targets at once, with BUILD_ALL at its default, so all of them are made by the
    recipe of `build-linux`, two calls of gobuild.sh (Makefile.core.mk@1.29.0, StandardEnv in tools/docker-builder@1.29.0).
    """
    programs: dict[str, GoProgram] = {}
    for line in make.rule("build-linux").recipe:
        [call] = Script(variables={}).run(make.expand(line)).calls
        # From 1.28.9 on some releases have `bin/retry.sh PATTERN` before it.
        places = [number for number, word in enumerate(call.words) if word.endswith(_GOBUILD)]
        if not places:
            raise CouldNotRead(f"build-linux does something else than gobuild.sh: {line}")
        arguments = call.words[places[0] + 1 :]
        programs |= _run_gobuild(scripts, {**environment, **call.environment}, arguments)
    return programs


def parse_go_build(argv: Sequence[str], environment: Mapping[str, str]) -> dict[str, GoProgram]:
    """The programs that one `go build` makes, by name, from its words behind `go build`. Raises CouldNotRead."""
    flags: list[str] = []
    tags: tuple[str, ...] = ()
    ldflags: tuple[str, ...] = ()
    packages: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("-o", "-ldflags", "-tags") and not equals:
            value = next(words)
        if name == "-ldflags":
            ldflags = tuple(value.split())
        elif name == "-tags":
            tags = tuple(sorted(tag for tag in value.replace(" ", ",").split(",") if tag))
        elif name.startswith("-") and name != "-o":
            flags.append(word)
        elif not name.startswith("-"):
            packages.append(word)
    if not packages:
        raise CouldNotRead(f"go build without a package: {' '.join(argv)}")
    rest, stamps = _split_ldflags(ldflags)
    return {
        PurePosixPath(package).name: GoProgram(
            main=package,
            flags=tuple(sorted(flags)),
            tags=tags,
            ldflags=rest,
            stamps=stamps,
            env=tuple(sorted(environment.items())),
        )
        for package in packages
    }


def _split_ldflags(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    rest, stamps = [], []
    position = 0
    while position < len(words):
        if words[position] == "-X":
            name, _, value = words[position + 1].partition("=")
            stamps.append((name, value))
            position += 2
        else:
            rest.append(words[position])
            position += 1
    return tuple(rest), tuple(sorted(stamps))


def _run_gobuild(scripts: BuildScripts, environment: Mapping[str, str], arguments: Sequence[str]) -> dict[str, GoProgram]:
    for_info = {
        **environment,
        "BUILD_GOOS": environment.get("GOOS", ""),
        "BUILD_GOARCH": environment.get("GOARCH", ""),
        # The release builder sets it (pkg/util/command.go of istio/release-builder).
        "IGNORE_DIRTY_TREE": "1",
    }
    told_by_git = {"git rev-parse HEAD": scripts.commit, "git describe": scripts.description}
    info = Script(variables=for_info, printed=told_by_git).run(scripts.report_build_info)
    lines = [" ".join(call.words[1:]) for call in info.calls_of("echo")]
    if not lines:
        raise CouldNotRead("report_build_info.sh prints nothing")
    script = Script(
        variables={**environment, "GOPATH": "/go"},
        arguments=arguments,
        printed={"mktemp": "build-info"},
        files={"build-info": lines},
    ).run(scripts.gobuild)
    builds = [call for call in script.calls_of("go") if call.words[1] == "build"]
    if len(builds) != 1:
        raise CouldNotRead(f"gobuild.sh calls `go build` {len(builds)} times")
    own = {"CGO_ENABLED": script.variables.get("CGO_ENABLED", ""), **builds[0].environment}
    return parse_go_build(builds[0].words[2:], own)
