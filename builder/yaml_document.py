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

Location = tuple[str | int, ...]

# libyaml's parser, where PyYAML was built with it, takes a tenth of the time: what a user waits for before anything starts.
_FAST_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Schema(BaseModel):
    """Base of everything that is read from YAML: immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    """Parse one document. Raises RecipeError with file and line for what is not YAML, or has a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
        try:
            return _parse(text, path, _FAST_LOADER)
        except yaml.YAMLError:
            # Say it in the words, and with the line, of the slower parser, which are the better ones.
            return _parse(text, path, yaml.SafeLoader)
    except OSError as error:
        raise RecipeError(f"cannot read {path}: {error.strerror}") from error
    except RecursionError as error:
        raise RecipeError(f"{path}: nested too deeply, or an alias within what it stands for") from error
    # The latter two come from values that look like dates and are none.
    except (yaml.YAMLError, ValueError, AttributeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RecipeError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', None) or error}") from error


def _parse(text: str, path: Path, loader_type: type[yaml.SafeLoader]) -> YamlDocument:
    lines: dict[Location, int] = {}
    loader = loader_type(text)
    root = loader.get_single_node()
    data = None
    if root is not None:
        # Before the values are made, which resolves `<<` within the nodes themselves.
        _collect_lines(root, (), lines, path)
        data = loader.construct_document(root)
    return YamlDocument(path=path, data=data, lines=lines)


def validate(model: type[Model], document: YamlDocument) -> Model:
    """The document as this model. Raises RecipeError naming file, line, key and the nearest valid key."""
    try:
        # Strict: YAML has types of its own, and `mode: 0755` read as a number must not silently become 493.
        return model.model_validate(document.data if document.data is not None else {}, strict=False)
    except ValidationError as error:
        problems = [_explain(model, document, detail) for detail in error.errors()]
        raise RecipeError("\n".join(problems), hint="`istio-build schema` prints what is allowed.") from error


def _explain(model: type[Schema], document: YamlDocument, detail: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    location: Location = tuple(detail["loc"])
    where = document.where(location)
    key = ".".join(str(part) for part in location)
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float | date):
        return f"{where}: {key}: {detail['msg']}; write it in quotes"
    if detail["type"] != "extra_forbidden":
        return f"{where}: {key or 'the file'}: {detail['msg']}"
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
