"""Where in Istio's tree the facts stand that `read_source` takes from it: file and line."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from builder.resolve.source import BASE_VERSION, GO_DIRECTIVE, PIN, PINNING, VERSION, read_text

_MAKEFILE, _DEPENDENCIES = "Makefile.core.mk", "istio.deps"
# The objects of istio.deps hold no others.
_ENTRY = re.compile(r"\{[^{}]*\}")
_NAME = re.compile(r'"name"\s*:\s*"([^"]*)"')
_SHA = re.compile(r'"lastStableSHA"\s*:')


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLine:
    """A fact by its name in expressions (`base_version`, `dependencies.PROXY_REPO_SHA`), or `version` or `go`."""

    name: str
    file: str
    line: int


def find_source_lines(tree: Path) -> tuple[SourceLine, ...]:
    """The lines of all facts of a tree that `read_source` has read. Raises SourceError."""
    return tuple(_find(tree))


def _find(tree: Path) -> Iterator[SourceLine]:
    makefile = read_text(tree, _MAKEFILE)
    yield from _match("base_version", _MAKEFILE, makefile, BASE_VERSION)
    yield from _match("go", "go.mod", read_text(tree, "go.mod"), GO_DIRECTIVE)
    if (tree / "VERSION").exists():
        yield from _match("version", "VERSION", read_text(tree, "VERSION"), re.compile(r"(\S)"))
    else:
        yield from _match("version", _MAKEFILE, makefile, VERSION)
    dependencies = read_text(tree, _DEPENDENCIES)
    for entry in _ENTRY.finditer(dependencies):
        name, sha = _NAME.search(entry[0]), _SHA.search(entry[0])
        if name and sha:
            line = _line(dependencies, entry.start() + sha.start())
            yield SourceLine(name=f"dependencies.{name[1]}", file=_DEPENDENCIES, line=line)
    for image, directory in PINNING.items():
        file = f"{directory}/Dockerfile.{image}"
        if (tree / file).is_file():
            yield from _match(f"pins.{image}", file, read_text(tree, file), PIN)


def _match(name: str, file: str, text: str, pattern: re.Pattern[str]) -> Iterator[SourceLine]:
    found = pattern.search(text)
    if found:
        yield SourceLine(name=name, file=file, line=_line(text, found.start(1)))


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1
