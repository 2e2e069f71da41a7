"""Reads Dockerfiles as BuildKit does, as far as Istio's and ours go: stages, build arguments, what an image gets.

Not `dockerfile-parse`, the library for it: it leaves out `${NAME:-default}`, which most of Istio's COPY and FROM lines
use, does not start a stage anew, and passes over a line that is no instruction; here that is an error.
Rules: https://docs.docker.com/reference/dockerfile/
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tools.parity.model import CouldNotRead

_INSTRUCTION = re.compile(r"([A-Za-z]+)(?:\s+(.*))?", re.DOTALL)
_FROM = re.compile(r"(?:--platform=\S+\s+)?(\S+)(?:\s+[aA][sS]\s+(\S+))?")
_VARIABLE = re.compile(r"\\(?P<escaped>.)|\$(?:(?P<plain>\w+)|\{(?P<name>\w+)(?:(?P<operator>:?[-+])(?P<word>[^{}]*))?\})")
_OPTION = re.compile(r"--([a-z-]+)(?:=(\S*))?\s+")
# Instructions that say nothing of what we compare.
_IGNORED = {"MAINTAINER", "EXPOSE", "HEALTHCHECK", "SHELL", "STOPSIGNAL", "VOLUME", "ONBUILD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A COPY or ADD: what of the context goes where. `stage` is the stage it is taken from, where it is not the context."""

    sources: tuple[str, ...]
    destination: str
    stage: str = ""


@dataclass(slots=True)
class Stage:
    """What an image is after the last instruction of a stage."""

    base: str
    user: str = ""
    workdir: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    arguments: dict[str, str] = field(default_factory=dict)

    def child(self) -> "Stage":
        """A stage that goes on from this one, its build arguments included."""
        return Stage(
            base=self.base,
            user=self.user,
            workdir=self.workdir,
            entrypoint=self.entrypoint,
            command=self.command,
            env=dict(self.env),
            labels=dict(self.labels),
            runs=list(self.runs),
            copies=list(self.copies),
            arguments=dict(self.arguments),
        )


def read_dockerfile(text: str, arguments: Mapping[str, str]) -> Stage:
    """The last stage, built with these build arguments. Raises CouldNotRead naming the line."""
    reader = _Reader(arguments)
    for line, instruction, rest in _instructions(text):
        try:
            reader.read(instruction, rest)
        except (ValueError, KeyError) as error:
            raise CouldNotRead(f"line {line}: {instruction} {rest}: {error}") from error
    if reader.stage is None:
        raise CouldNotRead("it has no FROM")
    return reader.stage


class _Reader:
    def __init__(self, arguments: Mapping[str, str]) -> None:
        self._given = arguments
        self._global: dict[str, str] = {}
        self._stages: dict[str, Stage] = {}
        self.stage: Stage | None = None
        self._acts: dict[str, Callable[[Stage, str], None]] = {
            "ENV": lambda stage, rest: stage.env.update(_pairs(rest, stage)),
            "LABEL": lambda stage, rest: stage.labels.update(_pairs(rest, stage)),
            "USER": _read_user,
            "WORKDIR": _read_workdir,
            "ENTRYPOINT": _read_entrypoint,
            "CMD": _read_command,
            "COPY": _read_copy,
            "ADD": _read_copy,
            "RUN": lambda stage, rest: stage.runs.append(" ".join(rest.split())),
        }

    def read(self, instruction: str, rest: str) -> None:
        """Take one instruction. Raises ValueError or KeyError."""
        if instruction == "FROM":
            self._read_from(rest)
        elif instruction == "ARG":
            self._read_argument(rest)
        elif self.stage is None:
            raise ValueError("it stands before FROM")
        elif instruction not in _IGNORED:
            if instruction not in self._acts:
                raise ValueError("unknown instruction")
            self._acts[instruction](self.stage, rest)

    def _read_from(self, rest: str) -> None:
        found = _FROM.fullmatch(rest.strip())
        if not found:
            raise ValueError("not a FROM")
        base = _substitute(found[1], self._global)
        earlier = self._stages.get(base.lower())
        self.stage = earlier.child() if earlier else Stage(base=base)
        if found[2]:
            self._stages[found[2].lower()] = self.stage

    def _read_argument(self, rest: str) -> None:
        for word in _split(rest):
            name, equals, default = word.partition("=")
            known = self._global if self.stage is None else {**self._global, **self.stage.arguments}
            # Within a stage, an argument without a default has the value that it has before the first FROM.
            value = self._given.get(name, _dequote(_substitute(default, known)) if equals else known.get(name, ""))
            (self._global if self.stage is None else self.stage.arguments)[name] = value


def _read_user(stage: Stage, rest: str) -> None:
    stage.user = _expand(rest.strip(), stage)


def _read_workdir(stage: Stage, rest: str) -> None:
    stage.workdir = posixpath.normpath(posixpath.join(stage.workdir or "/", _expand(rest.strip(), stage)))


def _read_entrypoint(stage: Stage, rest: str) -> None:
    # An ENTRYPOINT clears the CMD that comes from the base image, not one of this Dockerfile.
    stage.entrypoint = _exec_form(rest)


def _read_command(stage: Stage, rest: str) -> None:
    stage.command = _exec_form(rest)


def _read_copy(stage: Stage, rest: str) -> None:
    options: dict[str, str] = {}
    while option := _OPTION.match(rest):
        options[option[1]], rest = option[2] or "", rest[option.end() :]
    unknown = set(options) - {"from", "link"}
    if unknown:
        raise ValueError(f"option {', '.join(sorted(unknown))} is not understood")
    words = [_expand(word, stage) for word in _split(rest)]
    if len(words) < 2 or rest.lstrip().startswith(("[", "<<")):
        raise ValueError("only the plain form is understood")
    stage.copies.append(Copy(sources=tuple(words[:-1]), destination=words[-1], stage=options.get("from", "")))


def _exec_form(rest: str) -> tuple[str, ...]:
    if rest.lstrip().startswith("["):
        words = json.loads(rest)
        if not all(isinstance(word, str) for word in words):
            raise ValueError("not a list of strings")
        return tuple(words)
    return ("/bin/sh", "-c", rest.strip())


def _pairs(rest: str, stage: Stage) -> dict[str, str]:
    words = _split(rest)
    if "=" not in words[0]:
        name, _, value = rest.strip().partition(" ")
        return {name: _expand(value.strip(), stage)}
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word!r} has no value")
        pairs[_expand(name, stage)] = _expand(value, stage)
    return pairs


def _expand(text: str, stage: Stage) -> str:
    """ENV wins over ARG of the same name; an unknown name may be the base image's own and stays as `$NAME`."""
    return _dequote(_substitute(text, {**stage.arguments, **stage.env}, keep_unknown=True))


def _substitute(text: str, values: Mapping[str, str], *, keep_unknown: bool = False) -> str:
    def replace(found: re.Match[str]) -> str:
        if found["escaped"] is not None:
            return found[0]
        name = found["plain"] or found["name"]
        value, word = values.get(name), _substitute(found["word"] or "", values)
        match found["operator"]:
            case ":-":
                return value or word
            case "-":
                return word if value is None else value
            case ":+":
                return word if value else ""
            case "+":
                return "" if value is None else word
        return (f"${name}" if keep_unknown else "") if value is None else value

    if "'" in text and "$" in text:
        raise ValueError("a variable within single quotes is not understood")
    return _VARIABLE.sub(replace, text)


def _dequote(text: str) -> str:
    return re.sub(r"\\(.)|[\"']", lambda found: found[1] or "", text)


def _split(text: str) -> list[str]:
    """Words, with their quotes."""
    return re.findall(r"(?:\\.|\"(?:\\.|[^\"])*\"|'[^']*'|[^\s\"'\\])+", text)


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number (from 1), instruction in capitals, and the rest with its line breaks joined."""
    if re.match(r"\s*#\s*escape\s*=", text):
        raise CouldNotRead("the escape directive is not understood")
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or (not line.strip() and not pending):
            continue
        start = start if pending else number
        joined = pending + line
        if re.search(r"\\\s*$", line):
            pending = re.sub(r"\\\s*$", "", joined)
            continue
        pending = ""
        found = _INSTRUCTION.fullmatch(joined.strip())
        if not found:
            raise CouldNotRead(f"line {start}: {joined.strip()!r} is no instruction")
        yield start, found[1].upper(), (found[2] or "").strip()
    if pending:
        raise CouldNotRead(f"line {start} goes on behind the end of the file")
