"""Releases of Istio by rule: a version, a line for its newest patch, `latest`, a range of lines, `supported`. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum, auto
from typing import Self

from builder.errors import RecipeError, RequestError, SourceError
from builder.oci.reference import parse_tag
from builder.recipe.istio_release import IstioRelease, ReleaseRange

LATEST, SUPPORTED = "latest", "supported"
FORMS = "1.29.0, 1.29 (its newest patch), latest, 1.27+, `1.26 to 1.28` (the newest patch of each line) or supported"

_VERSION = re.compile(r"v?(\d+\.\d+\.\d+)")
_CANDIDATE = re.compile(r"v?\d+\.\d+\.\d+-(?:alpha|beta|rc)\b.*")
_LINE = re.compile(r"v?(\d+\.\d+)")
_RANGE = re.compile(r"\d+\.\d+(?:\.\d+)?(?:\+| to \d+\.\d+(?:\.\d+)?)")
_SHOWN = 5


class WishKind(Enum):
    """What a word for releases means. EXACT is a tag, of a version or not, and needs no look at what there is."""

    EXACT = auto()
    LINE = auto()
    LATEST = auto()
    RANGE = auto()
    SUPPORTED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseWish:
    """One word of `--istio`, and what it means."""

    text: str
    kind: WishKind

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one. Raises RequestError for what is neither a rule nor can be a tag."""
        if text in (LATEST, SUPPORTED):
            return cls(text=text, kind=WishKind.LATEST if text == LATEST else WishKind.SUPPORTED)
        if line := _LINE.fullmatch(text):
            return cls(text=line[1], kind=WishKind.LINE)
        if _RANGE.fullmatch(text):
            try:
                ReleaseRange.parse(text)
            except RecipeError as error:
                raise RequestError(f"--istio {text}: {error.message}", hint="Write the older line first.") from error
            return cls(text=text, kind=WishKind.RANGE)
        near = get_close_matches(text.lower(), (LATEST, SUPPORTED), n=1, cutoff=0.75)
        if near or " " in text or text == "to":
            raise RequestError(
                f"--istio {text!r} is malformed: it is no release, and no rule for releases",
                hint=f"Did you mean {near[0]}?" if near else f"Write it as {FORMS}.",
            )
        return cls(text=parse_tag(text.removeprefix("v") if IstioRelease.parse(text) else text), kind=WishKind.EXACT)

    @property
    def may_be_several(self) -> bool:
        """Whether it can mean more than one release, now or another day."""
        return self.kind in (WishKind.RANGE, WishKind.SUPPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownReleases:
    """The tags of a repository; `place` is its address for people, and `is_supported` knows lines."""

    tags: tuple[str, ...]
    place: str
    is_supported: Callable[[IstioRelease], bool]

    def choose(self, wishes: Sequence[ReleaseWish]) -> tuple[str, ...]:
        """The tags that these wishes mean, each once, newest first.

        Candidates for a release (`1.31.0-rc.0`) are meant only where they are named. Raises SourceError, with what there is,
        for a wish that nothing fulfils.
        """
        newest = self._newest_by_line()
        chosen = [tag for wish in wishes for tag in ((wish.text,) if wish.kind is WishKind.EXACT else self._find(wish, newest))]
        return newest_first(chosen)

    def _find(self, wish: ReleaseWish, newest: Sequence[tuple[IstioRelease, str]]) -> tuple[str, ...]:
        match wish.kind:
            case WishKind.LATEST:
                found = [tag for _, tag in newest[:1]]
            case WishKind.LINE:
                found = [tag for release, tag in newest if release.line == wish.text]
            case WishKind.RANGE:
                wanted = ReleaseRange.parse(wish.text)
                found = [tag for _, tag in _by_line(entry for entry in self._releases() if wanted.covers(entry[0]))]
            case _:
                found = [tag for release, tag in newest if self.is_supported(release)]
        if not found:
            raise self._nothing(wish, newest)
        return tuple(found)

    def _newest_by_line(self) -> list[tuple[IstioRelease, str]]:
        return _by_line(self._releases())

    def _releases(self) -> list[tuple[IstioRelease, str]]:
        """Those that are out. Of `1.29.0` and `v1.29.0`, which a fork may both have, the plain one counts."""
        plain_last = sorted(self.tags, key=lambda tag: not tag.startswith("v"))
        found = {release: tag for tag in plain_last if _VERSION.fullmatch(tag) and (release := IstioRelease.parse(tag))}
        return list(found.items())

    def _nothing(self, wish: ReleaseWish, newest: Sequence[tuple[IstioRelease, str]]) -> SourceError:
        if not newest:
            return SourceError(f"there is no release at {self.place}", hint="Is that a repository of Istio, with its tags?")
        lines = ", ".join(release.line for release, _ in newest[:_SHOWN])
        candidates = [tag for tag in self.tags if is_candidate(tag) and tag.removeprefix("v").startswith(f"{wish.text}.")]
        shown = ", ".join(sorted(candidates)[-_SHOWN:])
        hint = f"Of {wish.text} there is {shown}: such a one is named exactly." if candidates else ""
        return SourceError(
            f"--istio {wish.text}: there is no such release at {self.place}; the newest lines are {lines}",
            hint=hint or f"The newest release is {newest[0][1]}.",
        )


def _by_line(releases: Iterable[tuple[IstioRelease, str]]) -> list[tuple[IstioRelease, str]]:
    """The newest of each line, the newest line first."""
    lines: dict[str, tuple[IstioRelease, str]] = {}
    for release, tag in sorted(releases, key=lambda entry: entry[0]):
        lines[release.line] = (release, tag)
    return sorted(lines.values(), key=lambda entry: entry[0], reverse=True)


def parse_wishes(words: Sequence[str]) -> tuple[ReleaseWish, ...]:
    """All that `--istio` was given; `1.26 to 1.28` may have come in three words. Raises RequestError."""
    found: list[str] = []
    for word in words:
        if word == "to" or (found and found[-1].endswith(" to")):
            found[-1:] = [" ".join([*found[-1:], word])]
        else:
            found.append(" ".join(word.split()))
    return tuple(dict.fromkeys(map(ReleaseWish.parse, found)))


def is_candidate(tag: str) -> bool:
    """Whether a tag is of a release that is not out yet, such as `1.31.0-rc.0`."""
    return bool(_CANDIDATE.fullmatch(tag))


def newest_first(tags: Iterable[str]) -> tuple[str, ...]:
    """Each once, in the order of releases; a candidate is older than what it is for. What is no version comes last."""
    return tuple(sorted(dict.fromkeys(tags), key=_age, reverse=True))


def _age(tag: str) -> tuple[tuple[int, int, int], bool, str]:
    release = IstioRelease.parse(tag)
    return (release.version if release else (-1, -1, -1)), not is_candidate(tag), tag
