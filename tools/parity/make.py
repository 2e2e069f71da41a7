"""Reads Makefiles as GNU make does, as far as Istio's go: variables, conditionals, includes, rules. Runs nothing.

`$(shell …)` and what else needs a running make stays in a value as it is written; whoever uses a value checks it with
`settled`, so nothing that could not be read passes for a value.
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tools.parity.make_text import CLOSING, enclosed, find_outside, join_lines, split_arguments
from tools.parity.model import CouldNotRead

_ASSIGNMENT = re.compile(r"(?P<export>export\s+)?(?P<name>[A-Za-z0-9_.-]+)\s*(?P<kind>\?=|::?=|\+=|=)\s*(?P<value>.*)", re.DOTALL)
_CONDITION = re.compile(r"(ifeq|ifneq|ifdef|ifndef)\s*(.*)")
_REFERENCE = re.compile(r"\$(?:\$|\(|\{|.)")


@dataclass(slots=True)
class Rule:
    """What make knows of a target: its prerequisites, its variables, its recipe."""

    prerequisites: list[str] = field(default_factory=list)
    variables: dict[str, str] = field(default_factory=dict)
    recipe: list[str] = field(default_factory=list)


class Makefile:
    """A Makefile with all that it includes. `given` are variables of the environment, which `?=` leaves alone."""

    def __init__(self, given: Mapping[str, str], read: Callable[[str], str | None]) -> None:
        self._read = read
        # A simple variable has its value; a recursive one is expanded whenever it is used.
        self._simple: dict[str, str] = dict(given)
        self._recursive: dict[str, str] = {}
        self._fixed: frozenset[str] = frozenset()
        self.exported: set[str] = set(given)
        self.rules: dict[str, Rule] = {}

    def include(self, path: str, *, fixed: Mapping[str, str] | None = None) -> "Makefile":
        """Read a file. `fixed` variables keep their value, whatever the file says. Raises CouldNotRead naming the line."""
        self._simple |= fixed or {}
        self._fixed |= frozenset(fixed or {})
        text = self._read(path)
        if text is None:
            raise CouldNotRead(f"{path} is not there")
        current: tuple[Rule, ...] = ()
        for number, line in self._live_lines(path, text):
            try:
                current = self._read_line(line, current)
            except CouldNotRead as error:
                raise CouldNotRead(f"{path}:{number}: {error}") from error
        return self

    def value(self, name: str) -> str:
        """A variable, expanded and settled. Raises CouldNotRead where there is none."""
        if name not in self._simple and name not in self._recursive:
            raise CouldNotRead(f"there is no variable {name}")
        return settled(self.expand(f"$({name})"), name)

    def find(self, name: str) -> str | None:
        """A variable, expanded and settled, None where there is none."""
        return self.value(name) if name in self._simple or name in self._recursive else None

    def environment(self) -> dict[str, str]:
        """The exported variables, as a recipe's shell gets them; those that need a running make are left out."""
        values = {name: self.expand(f"$({name})") for name in self.exported}
        return {name: value for name, value in values.items() if "$(" not in value}

    def rule(self, target: str) -> Rule:
        """The rule of a target. Raises CouldNotRead where there is none."""
        if target not in self.rules:
            raise CouldNotRead(f"there is no rule for {target}")
        return self.rules[target]

    def expand(self, text: str, own: Mapping[str, str] | None = None) -> str:
        """The text with its variables and functions filled in; `own` are variables of a target."""
        parts: list[str] = []
        position = 0
        while found := _REFERENCE.search(text, position):
            parts.append(text[position : found.start()])
            opening = found[0][1]
            position = found.end()
            if opening == "$":
                parts.append("$")
            elif opening in CLOSING:
                inner, position = enclosed(text, position, opening)
                parts.append(self._reference(inner, own or {}))
            else:
                parts.append(found[0])
        return "".join((*parts, text[position:]))

    def _live_lines(self, path: str, text: str) -> Iterator[tuple[int, str]]:
        """Lines with their number, continuations joined, without what conditionals leave out and what `define` holds."""
        states: list[tuple[bool, bool]] = []
        in_define = False
        for number, line in join_lines(text):
            words = line.split()
            word = words[0] if words and not line.startswith("\t") else ""
            if in_define or word == "define":
                in_define = word != "endef"
            elif _CONDITION.match(line.strip()) and word:
                states.append(self._branch(line.strip(), states, taken=False))
            elif word == "else" and states:
                taken = any(states.pop())
                outer = all(live for live, _ in states)
                rest = line.strip().removeprefix("else").strip()
                fresh = self._branch(rest, states, taken=taken) if rest else (outer and not taken, taken)
                states.append(fresh)
            elif word == "endif" and states:
                states.pop()
            elif all(live for live, _ in states):
                yield number, line
        if states or in_define:
            raise CouldNotRead(f"{path}: a conditional or define has no end")

    def _branch(self, line: str, states: list[tuple[bool, bool]], *, taken: bool) -> tuple[bool, bool]:
        """Whether this branch is live, and whether an earlier one of the same conditional was."""
        outer = all(live for live, _ in states)
        return (outer and not taken and self._holds(line), taken)

    def _holds(self, line: str) -> bool:
        found = _CONDITION.fullmatch(line)
        if not found:
            raise CouldNotRead(f"{line!r} is no conditional")
        kind, rest = found[1], found[2].strip()
        if kind in ("ifdef", "ifndef"):
            return bool(self.expand(f"$({rest})")) == (kind == "ifdef")
        if not (rest.startswith("(") and rest.endswith(")")):
            raise CouldNotRead(f"{line!r}: only the form with parentheses is understood")
        left, right = split_arguments(rest[1:-1], 2)
        return (self.expand(left).strip() == self.expand(right).strip()) == (kind == "ifeq")

    def _read_line(self, line: str, current: tuple[Rule, ...]) -> tuple[Rule, ...]:
        if line.startswith("\t"):
            for rule in current:
                rule.recipe.append(line[1:])
            return current
        line = re.sub(r"\s+#.*|^#.*", "", line).strip()
        if not line:
            return current
        if found := _ASSIGNMENT.fullmatch(line):
            self._assign(found["name"], found["kind"], found["value"].rstrip())
            if found["export"]:
                self.exported.add(found["name"])
            return ()
        if found := re.fullmatch(r"(-?)include\s+(.*)", line):
            for path in self.expand(found[2]).split():
                if not found[1] or self._read(path) is not None:
                    self.include(path)
            return ()
        if found := re.fullmatch(r"export\s+(.*)", line):
            self.exported.update(found[1].split())
            return ()
        return self._read_rule(line)

    def _assign(self, name: str, kind: str, value: str) -> None:
        if name in self._fixed:
            return
        known = name in self._simple or name in self._recursive
        if kind == "+=" and name in self._recursive:
            self._recursive[name] += f" {value}"
        elif kind in (":=", "::=", "+="):
            self._simple[name] = " ".join(filter(None, [self._simple.get(name, "") if kind == "+=" else "", self.expand(value)]))
            self._recursive.pop(name, None)
        elif kind == "=" or not known:
            self._recursive[name] = value
            self._simple.pop(name, None)

    def _read_rule(self, line: str) -> tuple[Rule, ...]:
        colon = find_outside(line, ":")
        if colon < 0:
            # A function that stands alone, such as $(foreach …,$(eval …)), makes rules that nothing here asks for.
            if line.startswith("$("):
                return ()
            raise CouldNotRead(f"{line!r} is neither a rule nor an assignment")
        rules = tuple(self.rules.setdefault(target, Rule()) for target in self.expand(line[:colon]).split())
        rest = line[colon + 1 :].lstrip(":").strip()
        if found := _ASSIGNMENT.fullmatch(rest):
            for rule in rules:
                rule.variables[found["name"]] = found["value"]
            return ()
        end = find_outside(rest, ";")
        prerequisites = (rest if end < 0 else rest[:end]).partition("|")[0]
        for rule in rules:
            rule.prerequisites += self.expand(prerequisites).split()
            rule.recipe += [] if end < 0 else [rest[end + 1 :].strip()]
        return rules

    def _reference(self, inner: str, own: Mapping[str, str]) -> str:
        name, separator, rest = inner.partition(" ")
        if separator and name in _FUNCTIONS:
            return _FUNCTIONS[name](self, rest.strip(), own)
        if ":" in inner and "=" in inner:
            name, _, pattern = inner.partition(":")
            before, _, after = pattern.partition("=")
            return self._patterned(f"%{before}", f"%{after}", self.expand(f"$({name})", own))
        name = self.expand(inner, own)
        if name in own:
            return self.expand(own[name], own)
        if name in self._simple:
            return self._simple[name]
        if name in self._recursive:
            return self.expand(self._recursive[name], own)
        if separator or "$" in name:
            # A function that only a running make can do.
            return f"$({inner})"
        return ""

    def _patterned(self, pattern: str, replacement: str, text: str) -> str:
        expression = re.compile("(.*)".join(re.escape(part) for part in pattern.split("%", 1)))
        words = [(word, expression.fullmatch(word)) for word in text.split()]
        return " ".join(replacement.replace("%", found[1] if "%" in pattern else "") if found else word for word, found in words)

    def _foreach(self, rest: str, own: Mapping[str, str]) -> str:
        name, words, text = split_arguments(rest, 3)
        return " ".join(self.expand(text, {**own, name.strip(): word}) for word in self.expand(words, own).split())

    def _if(self, rest: str, own: Mapping[str, str]) -> str:
        condition, yes, no = split_arguments(rest, 3)
        return self.expand(yes if self.expand(condition, own).strip() else no, own)

    def _or(self, rest: str, own: Mapping[str, str]) -> str:
        values = (self.expand(word, own).strip() for word in split_arguments(rest, 0))
        return next((value for value in values if value), "")

    def _filter(self, rest: str, own: Mapping[str, str], *, keep: bool) -> str:
        patterns, text = (self.expand(part, own) for part in split_arguments(rest, 2))
        expressions = [re.compile(re.escape(pattern).replace("%", ".*")) for pattern in patterns.split()]
        return " ".join(word for word in text.split() if any(each.fullmatch(word) for each in expressions) == keep)

    def _subst(self, rest: str, own: Mapping[str, str]) -> str:
        before, after, text = (self.expand(part, own) for part in split_arguments(rest, 3))
        return text.replace(before, after)

    def _patsubst(self, rest: str, own: Mapping[str, str]) -> str:
        pattern, replacement, text = (self.expand(part, own) for part in split_arguments(rest, 3))
        return self._patterned(pattern.strip(), replacement.strip(), text)

    def _findstring(self, rest: str, own: Mapping[str, str]) -> str:
        wanted, text = (self.expand(part, own) for part in split_arguments(rest, 2))
        return wanted if wanted in text else ""

    def _origin(self, rest: str, own: Mapping[str, str]) -> str:
        name = self.expand(rest, own).strip()
        return "file" if name in self._simple or name in self._recursive else "undefined"

    def _each_path(self, rest: str, own: Mapping[str, str], act: Callable[[str], str]) -> str:
        return " ".join(act(word) for word in self.expand(rest, own).split())


_Function = Callable[[Makefile, str, Mapping[str, str]], str]
_FUNCTIONS: dict[str, _Function] = {
    "foreach": Makefile._foreach,
    "if": Makefile._if,
    "or": Makefile._or,
    "filter": lambda make, rest, own: make._filter(rest, own, keep=True),
    "filter-out": lambda make, rest, own: make._filter(rest, own, keep=False),
    "subst": Makefile._subst,
    "patsubst": Makefile._patsubst,
    "findstring": Makefile._findstring,
    "origin": Makefile._origin,
    "strip": lambda make, rest, own: " ".join(make.expand(rest, own).split()),
    "dir": lambda make, rest, own: make._each_path(rest, own, lambda path: path[: path.rfind("/") + 1] or "./"),
    "notdir": lambda make, rest, own: make._each_path(rest, own, posixpath.basename),
    "suffix": lambda make, rest, own: make._each_path(rest, own, lambda path: posixpath.splitext(path)[1]),
    # They print, or make rules that nothing here asks for.
    "info": lambda make, rest, own: "",
    "eval": lambda make, rest, own: "",
}


def settled(value: str, what: str) -> str:
    """The value, which must hold nothing that only a running make can know. Raises CouldNotRead."""
    if "$(" in value or "${" in value:
        raise CouldNotRead(f"{what} is {value!r}, which cannot be read without running make")
    return value
