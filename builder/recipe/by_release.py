"""Recipes that hold for many releases of Istio, narrowed to one of them.

A value may be given by release, as a mapping whose keys are ranges; `null` means that there is none:

    base: {1.10 to 1.29: base, 1.30+: distroless}

and an entry of a list, or a whole recipe, may say for which releases it is there: `istio: 1.18+`. What is left once a
release is chosen is a plain document with the plain schema, in which every line is still known.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

from builder.errors import RecipeError
from builder.recipe.istio_release import IstioRelease, ReleaseRange, Version, is_range_key
from builder.recipe.yaml_file import Location, YamlDocument

PRESENCE_KEY = "istio"

_RANGE_PATTERN = r"^\d+\.\d+(\.\d+)?(\+| to \d+\.\d+(\.\d+)?)?(, *\d+\.\d+(\.\d+)?(\+| to \d+\.\d+(\.\d+)?)?)*$"
_PRESENCE_SCHEMA = {
    "type": "string",
    "pattern": _RANGE_PATTERN,
    "description": "The releases of Istio that this is there for, such as 1.10 to 1.17; all by default.",
}

# Stands for what is not there in a release.
_ABSENT = object()


def narrow(document: YamlDocument, release: IstioRelease) -> YamlDocument | None:
    """The document as it holds for this release; None where all of it does not.

    Raises RecipeError, with file and line, for a value that no range, or more than one, has for this release.
    """
    return _narrow(document, max((edge for edge in edges(document) if edge <= release.version), default=(0, 0, 0)))


# All releases from one edge to the next have the same document, and recipes are checked at the edges of all of them.
@lru_cache(maxsize=1024)
def _narrow(document: YamlDocument, edge: Version) -> YamlDocument | None:
    lines: dict[Location, int] = {}
    data = _Narrowing(document, IstioRelease(*edge), lines).walk(document.data, (), ())
    return None if data is _ABSENT else YamlDocument(path=document.path, data=data, lines=lines)


@lru_cache(maxsize=64)
def edges(document: YamlDocument) -> frozenset[Version]:
    """Every version at which something in the document changes. Raises RecipeError for a malformed range."""
    return frozenset(edge for location, text in _ranges(document.data, ()) for edge in _parse(document, location, text).edges)


def presence(document: YamlDocument) -> str:
    """The releases that the whole document is for, as it says; empty for all."""
    text = document.data.get(PRESENCE_KEY) if isinstance(document.data, Mapping) else None
    return str(text or "")


def find_origins(document: YamlDocument, release: IstioRelease) -> dict[Location, Location]:
    """Where in the whole document each value stands that `narrow` leaves, by where it comes to stand."""
    found: dict[Location, Location] = {}
    _Noting(document, release, found).walk(document.data, (), ())
    return found


def ranges_above(document: YamlDocument, origin: Location) -> tuple[tuple[Location, str], ...]:
    """The ranges that the value at a place of the whole document depends on, each with where it stands, the outermost first."""
    found: list[tuple[Location, str]] = []
    value = document.data
    for depth, part in enumerate((*origin, None)):
        here = origin[:depth]
        if isinstance(value, Mapping):
            if _is_choice(value):
                found += [((*here, part), str(part))] if part is not None else []
            elif PRESENCE_KEY in value:
                found.append(((*here, PRESENCE_KEY), str(value[PRESENCE_KEY])))
        if part is not None:
            value = _within(value, part)
    return tuple(found)


def _within(value: Any, part: str | int) -> Any:  # noqa: ANN401 - YAML
    """The entry of a mapping, of whatever type its key is, or of a list."""
    return next(entry for key, entry in value.items() if str(key) == part) if isinstance(value, Mapping) else value[part]


def check_entries(document: YamlDocument, lists: Sequence[str]) -> None:
    """Entries of these lists with the same `path`, each for some releases, must follow on each other without a gap.

    (That they do not overlap shows when they are narrowed.) Raises RecipeError.
    """
    for name in lists:
        entries = document.data.get(name) if isinstance(document.data, Mapping) else None
        by_path: dict[str, list[tuple[Version, Version | None, int]]] = {}
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            if isinstance(entry, Mapping) and PRESENCE_KEY in entry and isinstance(entry.get("path"), str):
                found = _parse(document, (name, number, PRESENCE_KEY), entry[PRESENCE_KEY])
                by_path.setdefault(entry["path"], []).extend((start, end, number) for start, end in found.intervals)
        for path, intervals in by_path.items():
            for (_, end, number), (start, _, next_number) in pairwise(sorted(intervals, key=lambda interval: interval[0])):
                if number != next_number and end is not None and end < start:
                    where = document.where((name, next_number, PRESENCE_KEY))
                    raise RecipeError(f"{where}: nothing goes to {path} from {_text(end)} on, until {_text(start)}")


def _text(version: Version) -> str:
    return ".".join(map(str, version if version[2] else version[:2]))


def schema_by_release(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a document before it is narrowed, from that of what it is narrowed to."""
    definitions = {name: _object_by_release(definition) for name, definition in schema.get("$defs", {}).items()}
    return {**_object_by_release(schema), **({"$defs": definitions} if definitions else {})}


def _object_by_release(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object whose values may each be given by release, and which may itself be there for some releases only."""
    properties = {name: _value_by_release(value) for name, value in schema.get("properties", {}).items()}
    return {**schema, "properties": {**properties, PRESENCE_KEY: _PRESENCE_SCHEMA}}


def _value_by_release(schema: Mapping[str, Any]) -> dict[str, Any]:
    inner = dict(schema)
    if isinstance(inner.get("items"), Mapping):
        inner["items"] = _value_by_release(inner["items"])
    if isinstance(inner.get("additionalProperties"), Mapping):
        inner["additionalProperties"] = _value_by_release(inner["additionalProperties"])
    if "patternProperties" in inner:
        inner["patternProperties"] = {key: _value_by_release(value) for key, value in inner["patternProperties"].items()}
    described: dict[str, Any] = {key: inner.pop(key) for key in ("title", "description", "default") if key in inner}
    by_range = {"type": "object", "minProperties": 1, "additionalProperties": False}
    choice = {**by_range, "patternProperties": {_RANGE_PATTERN: {"anyOf": [inner, {"type": "null"}]}}}
    return {**described, "anyOf": [inner, choice]}


class _Narrowing:
    """One walk through a document. `origin` is where a value stands in the file, `here` where it comes to stand."""

    def __init__(self, document: YamlDocument, release: IstioRelease, lines: dict[Location, int]) -> None:
        self._document = document
        self._release = release
        self._lines = lines

    def walk(self, value: Any, origin: Location, here: Location) -> Any:  # noqa: ANN401 - YAML
        if origin in self._document.lines:
            self._lines[here] = self._document.lines[origin]
        if isinstance(value, Mapping):
            if _is_choice(value):
                return self._choose(value, origin, here)
            if not self._applies(value, origin):
                return _ABSENT
            kept = ((key, self.walk(entry, (*origin, str(key)), (*here, str(key)))) for key, entry in value.items())
            return {key: entry for key, entry in kept if entry is not _ABSENT and key != PRESENCE_KEY}
        if isinstance(value, list):
            entries: list[Any] = []
            for number, entry in enumerate(value):
                narrowed = self.walk(entry, (*origin, number), (*here, len(entries)))
                if narrowed is not _ABSENT:
                    entries.append(narrowed)
            return entries
        return value

    def _choose(self, value: Mapping[Any, Any], origin: Location, here: Location) -> Any:  # noqa: ANN401 - YAML
        fitting = [key for key in value if _parse(self._document, (*origin, str(key)), key).covers(self._release)]
        if len(fitting) != 1:
            name = ".".join(str(part) for part in origin)
            what = f"is given twice, by {' and by '.join(fitting)}" if fitting else "is not given"
            raise RecipeError(
                f"{self._document.where((*origin, fitting[-1]) if fitting else origin)}: {name} {what}, for {self._release}",
                hint="The ranges of a value must cover all releases once; `null` says that there is none.",
            )
        chosen = value[fitting[0]]
        return _ABSENT if chosen is None else self.walk(chosen, (*origin, fitting[0]), here)

    def _applies(self, value: Mapping[Any, Any], origin: Location) -> bool:
        if PRESENCE_KEY not in value:
            return True
        return _parse(self._document, (*origin, PRESENCE_KEY), value[PRESENCE_KEY]).covers(self._release)


class _Noting(_Narrowing):
    """The same walk, for who wants to know where all of it comes from."""

    def __init__(self, document: YamlDocument, release: IstioRelease, found: dict[Location, Location]) -> None:
        super().__init__(document, release, {})
        self._found = found

    def walk(self, value: Any, origin: Location, here: Location) -> Any:  # noqa: ANN401 - YAML
        self._found[here] = origin
        return super().walk(value, origin, here)


def _is_choice(value: Mapping[Any, Any]) -> bool:
    return any(is_range_key(key) for key in value)


def _ranges(value: Any, location: Location) -> Iterator[tuple[Location, Any]]:  # noqa: ANN401 - YAML
    if isinstance(value, Mapping):
        choice = _is_choice(value)
        for key, entry in value.items():
            if choice:
                yield (*location, str(key)), key
            elif key == PRESENCE_KEY:
                yield (*location, key), entry
            yield from _ranges(entry, (*location, str(key)))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _ranges(entry, (*location, number))


def _parse(document: YamlDocument, location: Location, text: Any) -> ReleaseRange:  # noqa: ANN401 - YAML
    where = document.where(location)
    if not isinstance(text, str):
        # YAML reads 1.10 as the number 1.1.
        raise RecipeError(f"{where}: {text!r} is no range of Istio releases; write it in quotes")
    try:
        return ReleaseRange.parse(text)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error.message}", hint=error.hint) from error
