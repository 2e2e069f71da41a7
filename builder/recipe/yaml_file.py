"""YAML files with the line of every key, so that a mistake is shown where it stands; and validation against a schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from builder.errors import RecipeError
from builder.runtime.regular_file import read_regular

Location = tuple[str | int, ...]

# libyaml's parser, where PyYAML was built with it, takes a tenth of the time: what a user waits for before anything starts.
_FAST_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What people write by hand has a tenth of each of these.
_LARGEST_FILE = 1024 * 1024
_DEEPEST = 50
# As many levels as libyaml may go down without a look before, on whatever stack it runs.
_LEVELS_IN_C = 1000
_MOST_VALUES = 100_000
_LONGEST_NUMBER = 64
_MOST_PROBLEMS = 20
# Types whose texts are computed with; `1:1:1` is one of them, to the base of 60.
_NUMBERS = tuple(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
# What PyYAML lets through of a value that does not look like its type: `!!bool maybe`, `!!int ""`, 2026-13-45.
_FAILURES = (yaml.YAMLError, ValueError, AttributeError, LookupError, TypeError, ArithmeticError)


class Schema(BaseModel):
    """Base of everything that is read from YAML: immutable, and unknown keys are refused."""

    # What validates is made when it is first asked to: most of what is read is a part of something else, or not there.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @classmethod
    def refusal(cls, location: Location) -> str:
        """Why there is no such key, where another kind of the same thing has it; "" for a key that none has."""
        return ""

    @classmethod
    def requirement(cls, key: str) -> str:
        """What makes this key required, where another kind of the same thing does without; "" where none does."""
        return ""


Model = TypeVar("Model", bound=Schema)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class YamlDocument:
    """A parsed file: its data, and the line (from 1) of each key and list entry. Equal to itself alone."""

    path: Path
    data: Any
    lines: Mapping[Location, int]

    def where(self, location: Location) -> str:
        """`file:line` of this place, or of the nearest place around it."""
        for length in range(len(location), -1, -1):
            if location[:length] in self.lines:
                return f"{self.path}:{self.lines[location[:length]]}"
        return str(self.path)


def read_yaml(path: Path) -> YamlDocument:
    """Parse one document. Raises RecipeError with file and line for what is not YAML, has a key twice, or is absurd.

    Absurd is what is no regular file, or is larger, deeper, or of more values than any file that people write; values are
    counted as they are once each alias is replaced by what it stands for.
    """
    try:
        text = read_regular(path, _LARGEST_FILE).decode()
        try:
            return _parse(text, path, _FAST_LOADER)
        except yaml.YAMLError:
            # Say it in the words, and with the line, of the slower parser, which are the better ones.
            return _parse(text, path, yaml.SafeLoader)
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}") from error
    except _FAILURES as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RecipeError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from error


def _parse(text: str, path: Path, loader_type: type[yaml.SafeLoader]) -> YamlDocument:
    lines: dict[Location, int] = {}
    # Each level needs one of these characters of its own. With few of them there is nothing to fear, and to go through a file
    # twice takes half as long again.
    if loader_type is yaml.SafeLoader or sum(map(text.count, "[{-:?")) > _LEVELS_IN_C:
        _check_depth(text, path, loader_type)
    loader = loader_type(text)
    root = loader.get_single_node()
    data = None
    if root is not None:
        _Bounds(path).check(root, 1)
        # Before the values are made, which resolves `<<` within the nodes themselves.
        _collect_lines(root, (), lines, path)
        data = loader.construct_document(root)
    return YamlDocument(path=path, data=data, lines=lines)


def _check_depth(text: str, path: Path, loader_type: type[yaml.SafeLoader]) -> None:
    """Before nodes are made, which is done by recursion, in C without an end to it."""
    depth = 0
    for event in yaml.parse(text, Loader=loader_type):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise _too_deep(path, event.start_mark.line + 1 if event.start_mark else 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Bounds:
    """Measures nodes as they are with each alias replaced by what it stands for, looking at each node once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Number of values and levels of each node that has been measured, None while it is.
        self._measured: dict[int, tuple[int, int] | None] = {}

    def check(self, node: yaml.Node, depth: int) -> tuple[int, int]:
        """The number of values in the node, and its levels. Raises RecipeError for too many."""
        line = node.start_mark.line + 1
        if id(node) not in self._measured:
            if depth > _DEEPEST and isinstance(node, yaml.CollectionNode):
                raise _too_deep(self._path, line)
            self._check_number(node, line)
            self._measured[id(node)] = None
            inner = [self.check(child, depth + 1) for child in _children(node)]
            self._measured[id(node)] = (1 + sum(count for count, _ in inner), 1 + max((levels for _, levels in inner), default=0))
        measured = self._measured[id(node)]
        if measured is None:
            raise RecipeError(f"{self._path}:{line}: an alias within what it stands for")
        count, levels = measured
        # What is no collection is no level of its own.
        if depth + levels - 2 > _DEEPEST:
            raise _too_deep(self._path, line)
        if count > _MOST_VALUES:
            raise RecipeError(
                f"{self._path}:{line}: more than {_MOST_VALUES} values, with aliases replaced by what they stand for"
            )
        return measured

    def _check_number(self, node: yaml.Node, line: int) -> None:
        if node.tag in _NUMBERS and not (isinstance(node, yaml.ScalarNode) and len(node.value) <= _LONGEST_NUMBER):
            raise RecipeError(f"{self._path}:{line}: not valid YAML: a number or date of more than {_LONGEST_NUMBER} characters")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _too_deep(path: Path, line: int) -> RecipeError:
    return RecipeError(f"{path}:{line}: nested too deeply, more than {_DEEPEST} levels")


def validate(model: type[Model], document: YamlDocument) -> Model:
    """The document as this model. Raises RecipeError naming file, line, key and the nearest valid key."""
    try:
        # Strict: YAML has types of its own, and `mode: 0755` read as a number must not silently become 493.
        return model.model_validate(document.data if document.data is not None else {}, strict=False)
    except ValidationError as error:
        # Not all of very many: each takes some time to explain.
        problems = [_explain(model, document, detail) for detail in error.errors()[:_MOST_PROBLEMS]]
        raise RecipeError("\n".join(problems), hint="`istio-build schema` prints what is allowed.") from error


def _explain(model: type[Schema], document: YamlDocument, detail: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    location: Location = tuple(detail["loc"])
    where = document.where(location)
    key = ".".join(str(part) for part in location)
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float | date):
        return f"{where}: {key}: {detail['msg']}; write it in quotes"
    if detail["type"] == "missing" and (requirement := model.requirement(key)):
        return f"{where}: {key}: {detail['msg']}, {requirement}"
    if detail["type"] != "extra_forbidden":
        return f"{where}: {key or 'the file'}: {detail['msg']}"
    if refusal := model.refusal(location):
        return f"{where}: {refusal}"
    siblings = _fields_at(model, location[:-1])
    close = get_close_matches(str(location[-1]), siblings, n=1, cutoff=0.4)
    known = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(siblings)}."
    return f"{where}: unknown key {key!r}; {known}"


def _fields_at(model: type[Schema], location: Location) -> list[str]:
    """The keys that the schema knows at this place, found by walking its JSON Schema."""
    root = model.model_json_schema()
    node: dict[str, Any] = root
    for part in location:
        node = _resolve(root, node)
        if isinstance(part, int):
            node = node.get("items", {})
        else:
            # Mappings with free keys have one schema for all their values; `pattern…` where the keys have a form.
            values = [node.get("additionalProperties") or {}, *node.get("patternProperties", {}).values()]
            node = node.get("properties", {}).get(part) or values[-1]
    return sorted(_resolve(root, node).get("properties", {}))


def _resolve(root: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    for choice in node.get("anyOf", ()):
        if "$ref" in choice:
            node = choice
    while "$ref" in node:
        node = root["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _collect_lines(node: yaml.Node, location: Location, lines: dict[Location, int], path: Path) -> None:
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*location, str(key.value))
            if here in lines:
                raise RecipeError(f"{path}:{key.start_mark.line + 1}: key {key.value!r} stands twice")
            lines[here] = key.start_mark.line + 1
            _collect_lines(value, here, lines, path)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _collect_lines(value, (*location, index), lines, path)
