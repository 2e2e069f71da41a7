"""What is told of an image: facts, each with where it comes from. Frozen values."""

from dataclasses import dataclass
from typing import Literal

from builder.recipe.traced import RecipeRange

ImageKind = Literal["built", "mirror", "packages"]
# `builder` is istio-build itself: what no recipe and no setting says.
OriginKind = Literal[
    "recipe", "template", "source", "flag", "variable", "project_file", "default", "found", "git", "lock", "platform", "builder"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value comes from: a line of a file, a flag, a variable, or in words what decides it.

    `key` is the key there, or the flag's or variable's name. `ranges` are those of releases that it is there by.
    """

    kind: OriginKind
    text: str = ""
    path: str = ""
    line: int = 0
    key: str = ""
    ranges: tuple[RecipeRange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A value, where it comes from, and what it is made of; `platforms` are those that it is for, all where there are none."""

    name: str
    value: str
    origins: tuple[Origin, ...] = ()
    parts: tuple["Fact", ...] = ()
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Facts of one kind, such as `files`."""

    name: str
    facts: tuple[Fact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedImage:
    """One image. `kind` is how it comes to be: on a base, as a copy, or of packages."""

    image: str
    kind: ImageKind
    variants: tuple[str, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All images that were asked for, at one release. `shipped` is where istio-build's own recipes are, `tree` the source."""

    release: str
    version: str
    commit: str
    tree: str
    shipped: str
    images: tuple[ExplainedImage, ...]
