"""Settings from their three places, flags, variables and the project file, and which of them was taken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from builder.recipe.yaml_file import YamlDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What one flag or variable was given: the words, and whether it was `--hub` or `ISTIO_BUILD_HUB`."""

    words: tuple[str, ...]
    origin: str


# `found` is what was seen without anybody saying it: the working directory is Istio's source.
GivenBy = Literal["flag", "variable", "project_file", "default", "found"]
DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting as it came out, and where it came from, for `plan` and `explain` to show."""

    name: str
    value: str
    origin: str

    @property
    def given_by(self) -> GivenBy:
        """Which of its places it came from."""
        return given_by(self.origin)

    @property
    def line(self) -> int:
        """The line of its key in the project file; 0 where it does not come from there."""
        return int(self.origin.rpartition(":")[2]) if self.given_by == "project_file" else 0


def given_by(origin: str) -> GivenBy:
    """Which place an origin is: `--hub`, `ISTIO_BUILD_HUB`, `istio-build.yaml:3`, `default`, or words for what was found."""
    if origin.startswith("--"):
        return "flag"
    if origin.startswith("ISTIO_BUILD_"):
        return "variable"
    if origin == DEFAULT:
        return "default"
    return "project_file" if origin.rpartition(":")[2].isdecimal() else "found"


class Merged:
    """Looks a setting up in its three places, and remembers what was found where."""

    def __init__(self, given: Mapping[str, Given], project: YamlDocument | None) -> None:
        self._given = given
        self._project = project
        self.used: dict[str, Setting] = {}

    def words(self, name: str, default: Sequence[str] = ()) -> tuple[str, ...]:
        words, origin = self._find(name)
        if not words:
            words, origin = tuple(default), DEFAULT
        if words:
            self.used[name] = Setting(name=name, value=", ".join(words), origin=origin)
        return words

    def word(self, name: str, default: str = "") -> str:
        words = self.words(name, (default,) if default else ())
        return words[-1] if words else ""

    def path(self, word: str, name: str) -> Path:
        """A path of the project file is relative to that file, one of a flag to the working directory."""
        beside_project = self._project is not None and name not in self._given
        return self._project.path.parent / word if beside_project and self._project else Path(word)

    def location(self, word: str, name: str) -> str:
        """The same for what may also be a URL, or below somebody's home."""
        return word if "://" in word or word.startswith("~") else str(self.path(word, name))

    def rank(self, name: str) -> int:
        """How much a setting weighs: 2 for a flag, 1 for a variable, 0 for the project file."""
        if name not in self._given:
            return 0
        return 2 if self._given[name].origin.startswith("--") else 1

    def _find(self, name: str) -> tuple[tuple[str, ...], str]:
        if name in self._given:
            return self._given[name].words, self._given[name].origin
        data: dict[str, Any] = (self._project.data or {}) if self._project else {}
        if self._project and data.get(name):
            return _as_words(data[name]), self._project.where((name,))
        return (), ""


def _as_words(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - a value of a checked YAML file
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, Mapping):
        return tuple(f"{key}={entry}" for key, entry in value.items())
    return (str(value),) if isinstance(value, str | int | float) else tuple(str(entry) for entry in value)
