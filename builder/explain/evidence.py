"""All that an explanation is made of, and where each value of it comes from."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from builder.config.merged import Setting
from builder.config.options import find_option
from builder.config.request import Request
from builder.explain.fact import Fact, Origin
from builder.oci.reference import Platform, redact_url
from builder.plan.lock import ListedDirectory, SourceFacts
from builder.plan.selection import platform_values, recipe_values
from builder.recipe.book import RecipeBook, Recipes
from builder.recipe.template import names_in, render_text
from builder.recipe.traced import TracedRecipe
from builder.resolve.source_lines import SourceLine

# What only a look at the base image would tell.
BASE_ENV = "base_env"
_UNSET_HUB = Origin(kind="default", text="no hub is given: --hub, ISTIO_BUILD_HUB, or `hub` in the project file")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What a lock binds of the things that an image is made of, by kind and name, each with `file:line`."""

    bases: tuple[tuple[str, str, Origin], ...] = ()
    go: tuple[str, Origin] | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is known.

    `places` tells where an artifact is looked for, each place with its source (`file`, `url`, `image`); `list_directory` what
    a directory of the tree holds.
    """

    request: Request
    recipes: Recipes
    book: RecipeBook
    source: SourceFacts
    tree: str
    lines: tuple[SourceLine, ...]
    settings: tuple[Setting, ...]
    places: Callable[[str, Platform], tuple[tuple[str, str], ...]]
    list_directory: Callable[[str], ListedDirectory]
    bound: Bound = Bound()

    @cached_property
    def values(self) -> dict[str, Any]:
        """What expressions in recipes may use."""
        return recipe_values(self.request, self.book.release, self.source)

    @cached_property
    def release(self) -> TracedRecipe:
        """release.yaml."""
        return TracedRecipe(self.recipes.release, self.book.istio)

    def recipe(self, image: str) -> TracedRecipe:
        """The recipe of an image."""
        return TracedRecipe(dict(self.recipes.images)[image], self.book.istio)

    def template_path(self, name: str) -> str:
        """The file of a template."""
        return str(dict(self.recipes.template_paths)[name])

    def setting(self, name: str) -> Origin | None:
        """Who gave a setting; None where nobody did."""
        found = next((each for each in self.settings if each.name == name), None)
        return origin_of(found) if found and found.given_by != "default" else None

    def setting_or(self, name: str, default: str) -> Origin:
        """The same, else its default in words."""
        return self.setting(name) or Origin(kind="default", text=default, key=find_option(name).flag)

    def in_source(self, name: str) -> Origin:
        """The line of Istio's tree that says this."""
        found = next((line for line in self.lines if line.name == name), None)
        if found is None:
            return Origin(kind="source", text=f"{self.tree}", key=name)
        return Origin(kind="source", path=f"{self.tree}/{found.file}", line=found.line, key=name)

    def filled(self, name: str, text: str, origins: tuple[Origin, ...], platform: Platform | None = None) -> Fact:
        """A text of a recipe with its expressions filled in, and with what they use; what needs the base image stays as it is."""
        names = names_in(text)
        unknown = any(used.partition(".")[0] == BASE_ENV for used in names)
        value = text if unknown else render_text(text, self._values_on(platform), name)
        return Fact(name=name, value=value, origins=origins, parts=tuple(self.known(used, platform) for used in names))

    def known(self, name: str, platform: Platform | None = None) -> Fact:
        """What a name in an expression stands for."""
        word, _, key = name.partition(".")
        value = self._values_on(platform).get(word, "")
        value = value.get(key, "") if isinstance(value, dict) else value
        text = str(value).lower() if isinstance(value, bool) else redact_url(str(value))
        return Fact(name=name, value=text, origins=self._origins(word, name))

    def _values_on(self, platform: Platform | None) -> dict[str, Any]:
        """What expressions may use, with what only those for a platform may."""
        return {**self.values, **(platform_values(platform) if platform else {})}

    def _origins(self, word: str, name: str) -> tuple[Origin, ...]:
        match word:
            case "version" | "tag":
                return self.version_origins
            case "hub":
                return (self.setting("hub") or _UNSET_HUB,)
            case "base_registry":
                return (self.setting(word) or line_origin(self.release, word),)
            case "built_bases":
                return (self.setting_or("bases", "base images are copied"),)
            case "base_version" | "dependencies" | "pins":
                return (self.in_source(name),)
            case "os" | "architecture":
                return (Origin(kind="platform", text="the platform"),)
            case "release":
                return self.release_origins
            case "commit" | "revision" | "status" | "description":
                return (Origin(kind="git", text=f"git, of {self.tree}"),)
        return (Origin(kind="builder", text="what the base image has, known once it is looked up"),)

    @property
    def version_origins(self) -> tuple[Origin, ...]:
        """Where the version that is stamped comes from: a tag that is asked for, git's, or the tree's own and the commit."""
        state = self.source.state
        patched = (Origin(kind="git", text="and the sum of the patches"),) if self.source.patches else ()
        if self.request.tags:
            return (self.setting_or("tag", "the first tag"),)
        if state.tag and not state.dirty:
            return (Origin(kind="git", text="the git tag at the commit"), *patched)
        return (self.in_source("version"), Origin(kind="git", text="and the commit"), *patched)

    @property
    def release_origins(self) -> tuple[Origin, ...]:
        """Where it comes from which release the tree is of: see `read_source`."""
        if str(self.source.release) == self.source.release.line:
            return (self.in_source("version"),)
        return (Origin(kind="git", text="the git tag at the commit, or the nearest before it"),)


def line_origin(recipe: TracedRecipe, *location: str | int, text: str = "") -> Origin:
    """A line of a recipe."""
    found = recipe.line(*location)
    if found is None:
        return Origin(kind="recipe", text=text, path=str(recipe.path), line=1, key=".".join(map(str, location)))
    return Origin(kind="recipe", text=text, path=str(found.path), line=found.line, key=found.key, ranges=found.ranges)


def has_line(recipe: TracedRecipe, *location: str | int) -> bool:
    """Whether the recipe says it, and no default."""
    return recipe.line(*location) is not None


def origin_of(setting: Setting) -> Origin:
    """Who gave a setting: a flag, a variable, a line of the project file, or nobody."""
    match setting.given_by:
        case "flag" | "variable":
            return Origin(kind=setting.given_by, key=setting.origin)
        case "project_file":
            path, _, _ = setting.origin.rpartition(":")
            return Origin(kind="project_file", path=path, line=setting.line, key=setting.name)
        case "default":
            return Origin(kind="default", key=find_option(setting.name).flag)
    return Origin(kind="found", text=setting.origin, key=setting.name)


def by_platform(facts: list[tuple[Platform, Fact]]) -> tuple[Fact, ...]:
    """Each fact once, with its platforms where others lack it."""
    every = dict.fromkeys(str(platform) for platform, _ in facts)
    found: dict[Fact, dict[str, None]] = {}
    for platform, fact in facts:
        found.setdefault(fact, {})[str(platform)] = None
    return tuple(
        fact if platforms.keys() == every.keys() else replace(fact, platforms=tuple(platforms))
        for fact, platforms in found.items()
    )
