"""Which line of a template wrote a line of a Dockerfile. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from builder.recipe.template import templates_of

# What a template fills in, or does, and then the text around it: `LABEL {{ name }}={{ value | quoted }}`.
_FILLED = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateLine:
    """A line of a template by the template's name; `text` is what it says."""

    template: str
    line: int
    text: str


class TemplateLines:
    """The lines of a template and of those that it takes parts of, in that order."""

    def __init__(self, templates: Mapping[str, str], name: str) -> None:
        self._lines = [(_pattern(line.text), line) for line in _lines(templates, name)]

    def find(self, written: str) -> TemplateLine | None:
        """The line that is this one, else the first that can have become it; None where none can."""
        text = written.strip()
        exact = next((line for _, line in self._lines if line.text.strip() == text), None)
        return exact or next((line for pattern, line in self._lines if pattern and pattern.fullmatch(text)), None)


def _lines(templates: Mapping[str, str], name: str) -> Iterator[TemplateLine]:
    for template in templates_of(templates, name):
        for number, text in enumerate(templates[template].splitlines(), start=1):
            yield TemplateLine(template=template, line=number, text=text)


def _pattern(text: str) -> re.Pattern[str] | None:
    """What the line may become; None for one that has no text of its own, as it could become anything."""
    around = _FILLED.split(text.strip())
    if not "".join(around).strip():
        return None
    return re.compile(".*".join(map(re.escape, around)), re.DOTALL)
