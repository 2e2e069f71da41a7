"""Reads shell scripts as bash does, as far as Istio's build scripts go: variables, conditions, loops, what is called with what.

Runs nothing: commands are noted down, not carried out, and count as having succeeded. Functions are known by their
name alone; whoever reads the calls knows what they do. `$(…)` gives what the caller says that command prints, else it
stays as it is written, so that what cannot be known shows.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tools.parity.model import CouldNotRead
from tools.parity.shell_text import find_closing, find_quote, read_commands, split_bare

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.DOTALL)
_PARAMETER = re.compile(r"(?P<name>\w+|[@#?*])(?P<index>\[[@*\d]+\])?(?P<operator>:?[-+?=]|//?)?(?P<word>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A command with its words, as the script would start it, and the variables set for it alone."""

    words: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(slots=True)
class Script:
    """One run of a script.

    `printed` says what commands print, by the text of the command; `failing` are commands that fail; `files` are the
    lines of files that it reads.
    """

    variables: dict[str, str]
    arguments: Sequence[str] = ()
    printed: Mapping[str, str] = field(default_factory=dict)
    failing: Sequence[str] = ()
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    arrays: dict[str, list[str]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def run(self, text: str) -> "Script":
        """Read it to its end. Raises CouldNotRead."""
        commands = list(read_commands(text))
        end = self._block(commands, 0, live=True)
        if end != len(commands):
            raise CouldNotRead(f"{commands[end]!r} closes nothing")
        return self

    def calls_of(self, program: str) -> tuple[Call, ...]:
        """The calls of this program or function."""
        return tuple(call for call in self.calls if call.words and call.words[0] == program)

    def _block(self, commands: list[str], at: int, *, live: bool) -> int:
        """Read up to the word that closes the block; gives its place."""
        while at < len(commands):
            command = commands[at]
            word = command.split(None, 1)[0]
            if word in ("fi", "else", "elif", "done", "}", "esac"):
                return at
            if word == "if":
                at = self._if(commands, at, live=live)
            elif word == "for":
                at = self._for(commands, at, live=live)
            elif word == "while":
                at = self._while(commands, at, live=live)
            else:
                if live and word not in ("then", "do"):
                    self._simple(command)
                at += 1
        return at

    def _if(self, commands: list[str], at: int, *, live: bool) -> int:
        decided = False
        while True:
            word, _, rest = commands[at].partition(" ")
            if word == "fi":
                return at + 1
            branch = live and not decided and (word == "else" or self._holds(rest))
            decided = decided or branch
            at = self._block(commands, at + 1, live=branch)
            if at >= len(commands):
                raise CouldNotRead("an if has no fi")

    def _for(self, commands: list[str], at: int, *, live: bool) -> int:
        found = re.fullmatch(r"for\s+(\w+)\s+in\s+(.*)", commands[at])
        if not found:
            raise CouldNotRead(f"{commands[at]!r} is not understood")
        for word in self.expand(found[2]) if live else ():
            self.variables[found[1]] = word
            self._block(commands, at + 1, live=True)
        return self._block(commands, at + 1, live=False) + 1

    def _while(self, commands: list[str], at: int, *, live: bool) -> int:
        found = re.fullmatch(r"while\s+read\s+-r\s+(\w+)", commands[at])
        end = self._block(commands, at + 1, live=False)
        source = re.fullmatch(r"done\s*<\s*(.*)", commands[end]) if end < len(commands) else None
        if not found or not source:
            raise CouldNotRead(f"{commands[at]!r} is not understood")
        if live:
            [path] = self.expand(source[1])
            if path not in self.files:
                raise CouldNotRead(f"it reads {path!r}, of which nothing is known")
            for line in self.files[path]:
                self.variables[found[1]] = line
                self._block(commands, at + 1, live=True)
        return end + 1

    def _holds(self, condition: str) -> bool:
        return all(self._holds_part(part.strip()) for part in split_bare(condition, "&&"))

    def _holds_part(self, part: str) -> bool:
        negated, part = part.startswith("! "), part.removeprefix("! ")
        if "||" in part:
            raise CouldNotRead(f"condition {part!r} is not understood")
        is_test = part.startswith("[") or part.endswith("]")
        bare = re.sub(r"^\[\[?\s+|\s+\]\]?$", "", part)
        if bare.startswith("! "):
            negated, bare = not negated, bare.removeprefix("! ")
        if found := re.fullmatch(r"-([nz])\s+(.*)", bare):
            holds = bool("".join(self.expand(found[2]))) == (found[1] == "n")
        elif len(sides := re.split(r"\s+(==|!=|=)\s+", bare)) == 3:
            holds = (self._text(sides[0]) == self._text(sides[2])) == (sides[1] != "!=")
        elif is_test or part.startswith("-"):
            raise CouldNotRead(f"condition {part!r} is not understood")
        else:
            self._simple(part)
            holds = not any(part.startswith(command) for command in self.failing)
        return holds != negated

    def _text(self, text: str) -> str:
        return " ".join(self.expand(text))

    def _simple(self, command: str) -> None:
        words = [word for word in split_bare(command, " ") if word.strip()]
        if words[0] in ("export", "local", "readonly", "time"):
            words = words[1:]
        environment: dict[str, str] = {}
        while words and (found := _ASSIGNMENT.fullmatch(words[0])):
            self._assign(found, environment)
            words = words[1:]
        if not words:
            self.variables |= environment
            return
        expanded = [part for word in words for part in self.expand(word)]
        if expanded[:1] == ["shift"]:
            self.arguments = self.arguments[1:]
        elif expanded[:1] == ["exit"]:
            raise CouldNotRead(f"it gives up: {' '.join(self.calls[-1].words) if self.calls else command}")
        elif expanded:
            self.calls.append(Call(words=tuple(expanded), environment=environment))

    def _assign(self, found: re.Match[str], environment: dict[str, str]) -> None:
        name, plus, value = found.groups()
        if value.startswith("("):
            self.arrays[name] = self.expand(value[1:-1])
        else:
            environment[name] = (self.variables.get(name, "") if plus else "") + self._text(value)

    def expand(self, text: str) -> list[str]:
        """The words that the shell makes of this text."""
        return _Expansion(self).words(text)

    def parameter(self, inner: str) -> str | list[str]:
        """What `${inner}` stands for; a list where it is a whole array."""
        found = _PARAMETER.fullmatch(inner)
        if not found:
            raise CouldNotRead(f"${{{inner}}} is not understood")
        name, operator, word = found["name"], found["operator"], found["word"]
        if name == "@":
            return list(self.arguments)
        if found["index"]:
            return self._element(name, found["index"][1:-1])
        value = self._lookup(name)
        if not operator:
            if word:
                raise CouldNotRead(f"${{{inner}}} is not understood")
            return value or ""
        return self._operate(value, operator, word)

    def _operate(self, value: str | None, operator: str, word: str) -> str | list[str]:
        if operator in ("/", "//"):
            pattern, _, replacement = word.partition("/")
            return (value or "").replace(self._text(pattern), self._text(replacement), -1 if operator == "//" else 1)
        is_set = value is not None and (value != "" or not operator.startswith(":"))
        match operator[-1]:
            case "+":
                return self.expand(word) if is_set else []
            case "?" if not is_set:
                raise CouldNotRead(f"a variable is missing: {word}")
        return value if is_set and value is not None else self._text(word)

    def _element(self, name: str, index: str) -> str | list[str]:
        values = self.arrays.get(name, [])
        if index in ("@", "*"):
            return list(values)
        return values[int(index)] if int(index) < len(values) else ""

    def _lookup(self, name: str) -> str | None:
        if name.isdigit():
            return self.arguments[int(name) - 1] if 0 < int(name) <= len(self.arguments) else None
        return self.variables.get(name)


class _Expansion:
    """One text on its way to words."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._words: list[str] = []
        self._current: str | None = None

    def words(self, text: str) -> list[str]:
        """All words of it."""
        at = 0
        while at < len(text):
            at = self._step(text, at)
        self._end_word()
        return self._words

    def _step(self, text: str, at: int) -> int:
        character = text[at]
        if character.isspace():
            self._end_word()
            return at + 1
        if character == "\\":
            self._add(text[at + 1 : at + 2])
            return at + 2
        if character == "'":
            end = find_quote(text, at + 1, "'")
            self._add(text[at + 1 : end])
            return end + 1
        if character == '"':
            return self._quoted(text, at + 1)
        if character == "$":
            value, at = _dollar(self._script, text, at)
            self._add_unquoted(value)
            return at
        self._add(character)
        return at + 1

    def _quoted(self, text: str, at: int) -> int:
        whole_array = False
        start = len(self._words), self._current
        while text[at] != '"':
            if text[at] == "\\" and text[at + 1] in '"\\$`':
                self._add(text[at + 1])
                at += 2
            elif text[at] == "$":
                value, at = _dollar(self._script, text, at)
                whole_array = whole_array or isinstance(value, list)
                self._add_list(value) if isinstance(value, list) else self._add(value)
            else:
                self._add(text[at])
                at += 1
        # "" is a word; "${nothing[@]}" is none.
        if not whole_array and start == (len(self._words), self._current):
            self._add("")
        return at + 1

    def _add(self, text: str) -> None:
        self._current = (self._current or "") + text

    def _add_list(self, values: list[str]) -> None:
        for number, value in enumerate(values):
            if number:
                self._end_word()
            self._add(value)

    def _add_unquoted(self, value: str | list[str]) -> None:
        if isinstance(value, list):
            self._add_list(value)
            return
        if value[:1].isspace():
            self._end_word()
        self._add_list(value.split())
        if value.strip() and value[-1:].isspace():
            self._end_word()

    def _end_word(self) -> None:
        if self._current is not None:
            self._words.append(self._current)
        self._current = None


def _dollar(script: Script, text: str, at: int) -> tuple[str | list[str], int]:
    """The value of what begins at this `$`, and where it ends."""
    if text.startswith("$(", at):
        end = find_closing(text, at + 1, "(", ")")
        command = text[at + 2 : end].strip()
        for known, output in script.printed.items():
            if command.startswith(known):
                return output, end + 1
        return text[at : end + 1], end + 1
    if text.startswith("${", at):
        end = find_closing(text, at + 1, "{", "}")
        return script.parameter(text[at + 2 : end]), end + 1
    found = re.compile(r"\w+|[@#?*]").match(text, at + 1)
    return (script.parameter(found[0]), found.end()) if found else ("$", at + 1)
