"""Shows where the things of an image come from: as text of any width, as JSON (docs/schemas/explain.json). Pure."""

import textwrap
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from builder import __version__
from builder.explain.fact import ExplainedImage, Explanation, Fact, Origin, Section
from builder.runtime.text import printable

SCHEMA_VERSION = 1
_TITLES = {
    "recipe": "Recipe",
    "bases": "Base of each variant",
    "copy": "A copy, with every platform",
    "files": "Files, the same in every variant",
    "programs": "Programs",
    "compiling": "How programs are compiled",
    "packages": "Packages, and what is made of them",
    "users": "Users that are added",
    "configuration": "How it is run",
    "tags": "Tags",
    "platforms": "Platforms",
    "settings": "Settings",
}
_NARROWEST = 40
# Where values begin, in a line that has room for a name before them.
_WIDEST_NAME = 24
_STEP = 2
_ARROW = "← "


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """The same for programs."""
    return {
        "schema_version": SCHEMA_VERSION,
        "tool": f"istio-build {__version__}",
        "release": explanation.release,
        "version": explanation.version,
        "commit": explanation.commit,
        "source": explanation.tree,
        "recipes": explanation.shipped,
        "images": [
            {
                "image": image.image,
                "kind": image.kind,
                "variants": list(image.variants),
                "sections": {section.name: [_fact_json(fact) for fact in section.facts] for section in image.sections},
            }
            for image in explanation.images
        ],
    }


def _fact_json(fact: Fact) -> dict[str, Any]:
    return {
        "name": fact.name,
        "value": fact.value,
        "platforms": list(fact.platforms),
        "origins": [
            {
                "kind": origin.kind,
                "text": origin.text,
                "path": origin.path,
                "line": origin.line,
                "key": origin.key,
                "ranges": [{"releases": each.releases, "line": each.line} for each in origin.ranges],
            }
            for origin in fact.origins
        ],
        "parts": [_fact_json(part) for part in fact.parts],
    }


def explanation_text(explanation: Explanation, width: int) -> str:
    """For people: a part for each image, and in it a section for each kind of thing. No line is longer than `width`."""
    page = _Page(explanation, max(width, _NARROWEST))
    return "\n".join(page.lines())


class _Page:
    def __init__(self, explanation: Explanation, width: int) -> None:
        self._explanation = explanation
        self._width = width
        # The ranges of whole recipes, by file and line: told once, where the recipe is.
        self._whole: set[tuple[str, int]] = set()

    def lines(self) -> list[str]:
        known = self._explanation
        lines = self._wrapped(f"Istio {known.version}, commit {known.commit[:12]}", "", "  ")
        lines += self._wrapped(f"source: files marked so are in {known.tree}", "  ", "    ")
        lines += self._wrapped(f"recipes/ and dockerfiles/ are in {known.shipped}", "  ", "    ")
        for image in known.images:
            lines += ["", *self._image(image)]
        return lines

    def _image(self, image: ExplainedImage) -> list[str]:
        variants = f" ({', '.join(image.variants)})" if image.variants else ""
        title = f"{image.image}{variants}"
        recipe = next(fact for section in image.sections for fact in section.facts)
        self._whole = {(origin.path, each.line) for origin in recipe.origins for each in origin.ranges}
        lines = [*self._wrapped(title, "", "  "), "=" * min(len(title), self._width)]
        for section in image.sections:
            lines += ["", *self._section(section)]
        return lines

    def _section(self, section: Section) -> list[str]:
        return [_TITLES[section.name], *self._facts(section.facts, _STEP)]

    def _facts(self, facts: Sequence[Fact], indent: int) -> list[str]:
        names = [len(printable(_named(fact))) for fact in facts]
        column = max((length for length in names if length <= _WIDEST_NAME), default=0)
        lines: list[str] = []
        for fact in facts:
            head = self._head(printable(_named(fact)), printable(fact.value), indent, column)
            lines += self._with_origins(head, fact.origins, indent)
            lines += self._facts(fact.parts, indent + 2 * _STEP)
        return lines

    def _head(self, name: str, value: str, indent: int, column: int) -> list[str]:
        """The name and its value on one line, else the value below the name."""
        margin = " " * indent
        if not value:
            return self._wrapped(name, margin, margin + "  ")
        line = f"{margin}{name.ljust(column)}  {value}"
        if len(line) <= self._width:
            return [line]
        hanging = indent + column + 2
        if len(name) <= column and max(map(len, value.split()), default=0) <= self._width - hanging:
            return self._wrapped(value, f"{margin}{name.ljust(column)}  ", " " * hanging)
        below = " " * (indent + _STEP)
        return [*self._wrapped(name, margin, margin + "  "), *self._wrapped(value, below, below)]

    def _with_origins(self, lines: list[str], origins: Sequence[Origin], indent: int) -> list[str]:
        """Behind the last line where there is room, else below it."""
        if not origins:
            return lines
        told = printable("; ".join(self._origin(origin) for origin in origins))
        *before, last = lines
        for place in (self._width // 2, 0):
            whole = f"{last.ljust(place)}  {_ARROW}{told}"
            if len(whole) <= self._width:
                return [*before, whole]
        margin = " " * (indent + _STEP)
        return [*lines, *self._wrapped(told, margin + _ARROW, margin + " " * len(_ARROW))]

    def _origin(self, origin: Origin) -> str:
        ranges = [
            f"{each.releases}{f' (line {each.line})' if each.line != origin.line else ''}"
            for each in origin.ranges
            if each.line == origin.line or (origin.path, each.line) not in self._whole
        ]
        told = f"for {' and '.join(ranges)}" if ranges else ""
        if origin.kind == "default" and origin.key.startswith("--"):
            return f"{origin.text or 'the default'}; {origin.key} says otherwise"
        return " ".join(filter(None, (origin.text, self._place(origin), told)))

    def _place(self, origin: Origin) -> str:
        match origin.kind:
            case "flag" | "variable":
                return origin.key
            case "source" if origin.path:
                return f"source:{self._short(origin.path)}:{origin.line}"
        return f"{self._short(origin.path)}:{origin.line}" if origin.path else ""

    def _short(self, path: str) -> str:
        """A path within the source, or beside istio-build's own recipes, as it stands there."""
        for root in (self._explanation.tree, self._explanation.shipped):
            if PurePath(path).is_relative_to(root):
                return str(PurePath(path).relative_to(root))
        return path

    def _wrapped(self, text: str, first: str, then: str) -> list[str]:
        lines = textwrap.wrap(printable(text), self._width, initial_indent=first, subsequent_indent=then, break_on_hyphens=False)
        return lines or [first.rstrip()]


def _named(fact: Fact) -> str:
    return f"{fact.name} ({', '.join(fact.platforms)})" if fact.platforms else fact.name
