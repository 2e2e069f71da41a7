"""Which minor lines of Istio are supported, by the data that is shipped: recipes/support/lines.yaml, which names its source."""

from collections.abc import Mapping
from datetime import date
from functools import cache

from builder.errors import RecipeError
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import shipped
from builder.recipe.yaml_file import Schema, read_yaml, validate

_FILE = "lines.yaml"


class SupportedLines(Schema):
    """When lines ended (`1.29` to the last day), where Istio says so, and at which release of Istio that was looked up."""

    source: str
    read_at: str
    ended: Mapping[str, date]

    def covers(self, release: IstioRelease, today: date) -> bool:
        """Whether the line of this release is supported on that day.

        One of which no end is known is, unless it is older than all lines that are listed.
        """
        if release.line in self.ended:
            return today <= self.ended[release.line]
        oldest = min(_number(line) for line in self.ended)
        return (release.major, release.minor) > oldest

    def note(self) -> str:
        """How far it can be relied on, for people."""
        newest = max(self.ended, key=_number)
        known = f"the last line known to have ended is {newest}, as of Istio {self.read_at}"
        return f"{known}; newer ones count as supported ({self.source})"


@cache
def load_support() -> SupportedLines:
    """The data that is shipped, read when it is first asked for. Raises RecipeError with file and line."""
    document = read_yaml(shipped("recipes/support") / _FILE)
    lines = validate(SupportedLines, document)
    for line in lines.ended:
        if not IstioRelease.of_line(line):
            raise RecipeError(f"{document.where(('ended', line))}: {line!r} is no line of Istio, such as 1.29")
    return lines


def _number(line: str) -> tuple[int, int]:
    found = IstioRelease.of_line(line)
    return (found.major, found.minor) if found else (0, 0)
