"""What a setting is: its flag, its variable, its key of the project file, and what is said of it."""

from dataclasses import dataclass
from typing import Literal

# `word`: one value; `count`: a whole number above 0; `words`: any number; `pairs`: NAME=VALUE, a mapping in the project file;
# `switch`: on or off.
Kind = Literal["word", "words", "pairs", "switch", "seconds", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One setting.

    `name` is its key in the project file; the flag has dashes in place of its underscores. `help` is for the flag and
    the schema, `more` follows it in docs/project-file.md, as Markdown. `commas`: several words may stand in one,
    separated by commas. `spelled` is the flag where it is another.
    """

    name: str
    help: str
    metavar: str = ""
    kind: Kind = "word"
    commas: bool = False
    choices: tuple[str, ...] = ()
    more: str = ""
    spelled: str = ""

    @property
    def flag(self) -> str:
        """`--envoy-url`."""
        return self.spelled or f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """`ISTIO_BUILD_ENVOY_URL`."""
        return f"ISTIO_BUILD_{self.name.upper()}"

    @property
    def repeatable(self) -> bool:
        """Whether the flag may be given more than once."""
        return self.kind in ("words", "pairs")


def words(name: str, metavar: str, help: str, more: str = "") -> Option:
    """Any number of words; several may stand in one, separated by commas."""
    return Option(name=name, help=help, metavar=metavar, kind="words", commas=True, more=more)


def pairs(name: str, metavar: str, help: str, more: str = "") -> Option:
    """Any number of NAME=VALUE."""
    return Option(name=name, help=help, metavar=metavar, kind="pairs", more=more)


def word(name: str, metavar: str, help: str, more: str = "") -> Option:
    """One word."""
    return Option(name=name, help=help, metavar=metavar, more=more)
