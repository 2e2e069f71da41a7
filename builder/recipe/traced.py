"""A recipe narrowed to one release, with the line that each value stands on and the ranges of releases that it is there by."""

from dataclasses import dataclass
from pathlib import Path

from builder.recipe.by_release import PRESENCE_KEY, find_origins, ranges_above
from builder.recipe.istio_release import IstioRelease
from builder.recipe.yaml_file import Location, YamlDocument

# With which a mapping takes over the keys of another.
_MERGE = "<<"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeRange:
    """A range of releases that something is there for, and the line that it stands on."""

    releases: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeLine:
    """Where a value of a recipe stands: `key` is its place in the file, `files[2].path`; the outermost range comes first."""

    path: Path
    line: int
    key: str
    ranges: tuple[RecipeRange, ...]


class TracedRecipe:
    """One file, at one release."""

    def __init__(self, document: YamlDocument, istio: IstioRelease) -> None:
        self._document = document
        self._origins = find_origins(document, istio)

    @property
    def path(self) -> Path:
        """The file."""
        return self._document.path

    def line(self, *location: str | int) -> RecipeLine | None:
        """Where the value stands that narrowing leaves at this place; None where the file does not say it."""
        origin = self._origins.get(location)
        if origin is None:
            return None
        ranges = ranges_above(self._document, origin)
        chosen = {place for place, _ in ranges if place[-1] != PRESENCE_KEY}
        return RecipeLine(
            path=self.path,
            line=self._line_of(origin),
            key=_key([part for number, part in enumerate(origin) if origin[: number + 1] not in chosen]),
            ranges=tuple(RecipeRange(releases=releases, line=self._line_of(place)) for place, releases in ranges),
        )

    def _line_of(self, origin: Location) -> int:
        """The line of a place, which may be within what is merged into a mapping around it; else of what is around it."""
        lines = self._document.lines
        if origin in lines:
            return lines[origin]
        for length in range(len(origin) - 1, -1, -1):
            head, tail = origin[:length], origin[length:]
            if (*head, _MERGE, *tail) in lines:
                return lines[*head, _MERGE, *tail]
            # Of several, the first that has it counts.
            number = 0
            while (*head, _MERGE, number) in lines:
                if (*head, _MERGE, number, *tail) in lines:
                    return lines[*head, _MERGE, number, *tail]
                number += 1
        return self._line_of(origin[:-1]) if origin else 1


def _key(parts: list[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.removeprefix(".")
