"""Releases of Istio and ranges of them, as recipes write them: `1.10 to 1.17`, `1.20.7`, `1.11 to 1.20.6, 1.21.0`, `1.27+`."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from builder.errors import RecipeError

# The patch of a tree that is on its way to the next one: behind every patch that a recipe names.
_UNKNOWN_PATCH = 1_000_000

_RELEASE = re.compile(r"v?([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?:[-+].*)?")
_ANYWHERE = re.compile(r"(?<![0-9.])([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})(?![0-9])")
_BOUND = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})(?:\.([0-9]{1,9}))?")
_RANGE_KEY = re.compile(r"\d+\.\d+(?:\.\d+)?(?: *[+,]| +to +\d| *$)")

Version = tuple[int, int, int]


@dataclass(frozen=True, slots=True, order=True)
class IstioRelease:
    """A release of Istio, or a tree on the way to one. `text` is how a tag would write it; order is by number alone."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """`1.29.0`, `1.31.0-rc.0` or `1.29.0-corp.1` (both count as the release they begin with), else None."""
        found = _RELEASE.fullmatch(text)
        return cls(int(found[1]), int(found[2]), int(found[3])) if found else None

    @classmethod
    def find(cls, text: str) -> Self | None:
        """The first release that is named anywhere in a text, such as that in `corp-1.29.0`."""
        found = _ANYWHERE.search(text)
        return cls(int(found[1]), int(found[2]), int(found[3])) if found else None

    @classmethod
    def of_line(cls, text: str) -> Self | None:
        """The newest tree of a minor line, `1.29` or `1.29-dev`: behind all its patches. None where it is no version."""
        found = re.match(r"([0-9]{1,9})\.([0-9]{1,9})(?![0-9])", text)
        return cls(int(found[1]), int(found[2]), _UNKNOWN_PATCH) if found else None

    @property
    def version(self) -> Version:
        """As numbers."""
        return (self.major, self.minor, self.patch)

    @property
    def line(self) -> str:
        """`1.29`."""
        return f"{self.major}.{self.minor}"

    def __str__(self) -> str:
        return self.line if self.patch == _UNKNOWN_PATCH else f"{self.line}.{self.patch}"


@dataclass(frozen=True, slots=True)
class ReleaseRange:
    """Releases that something holds for: half-open intervals in order; the last may have no end (None)."""

    intervals: tuple[tuple[Version, Version | None], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a range. Bounds are inclusive; one without a patch stands for its whole minor line.

        Raises RecipeError for anything else, and for parts that are out of order or overlap.
        """
        return cls(_parse(text))

    def covers(self, release: IstioRelease) -> bool:
        """Whether it holds for this release."""
        return any(start <= release.version and (end is None or release.version < end) for start, end in self.intervals)

    @property
    def edges(self) -> tuple[Version, ...]:
        """The versions at which it begins to hold, or no longer does."""
        return tuple(version for interval in self.intervals for version in interval if version)


def is_range_key(text: object) -> bool:
    """Whether a key of a recipe is meant as a range of releases; no other key begins with `1.10`."""
    return isinstance(text, float) or (isinstance(text, str) and bool(_RANGE_KEY.match(text)))


@lru_cache(maxsize=256)
def _parse(text: str) -> tuple[tuple[Version, Version | None], ...]:
    intervals: list[tuple[Version, Version | None]] = []
    for part in text.split(","):
        start, end = _parse_part(part.strip(), text)
        last_end = intervals[-1][1] if intervals else (0, 0, 0)
        if last_end is None or start < last_end or (end and end <= start):
            raise RecipeError(f"the releases {text!r} are out of order", hint=_HINT)
        intervals.append((start, end))
    return tuple(intervals)


_HINT = "Write them as `1.10 to 1.17`, `1.20.7`, `1.27+`, or several of these with commas, oldest first."


def _parse_part(part: str, text: str) -> tuple[Version, Version | None]:
    first, to, last = (word.strip() for word in part.partition(" to "))
    open_ended = not to and first.endswith("+")
    start = _BOUND.fullmatch(first.removesuffix("+").strip() if open_ended else first)
    end = _BOUND.fullmatch(last) if to else start
    if not start or not end:
        raise RecipeError(f"{text!r} is no range of Istio releases", hint=_HINT)
    begin = (int(start[1]), int(start[2]), int(start[3] or 0))
    if open_ended:
        return begin, None
    after = (int(end[1]), int(end[2]), int(end[3]) + 1) if end[3] else (int(end[1]), int(end[2]) + 1, 0)
    return begin, after
