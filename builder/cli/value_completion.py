"""What a shell offers for a value that is half typed: images, variants and platforms. What cannot be read offers nothing."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from builder.recipe.book import Recipes

# Each value with what it is.
Values = Iterable[tuple[str, str]]


def complete_value(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The values of this option that begin with what stands behind the last comma."""
    from click.shell_completion import CompletionItem

    before, comma, begun = incomplete.rpartition(",")
    taken = set(before.split(","))
    values = COMPLETED[parameter.name or ""](context)
    return [
        CompletionItem(before + comma + value, help=meaning)
        for value, meaning in values
        if value.startswith(begun) and value not in taken
    ]


def _images(context: click.Context) -> Values:
    from builder.recipe.availability import find_support
    from builder.recipe.book import GROUPS

    recipes = _recipes(context)
    named = [(each.image, each.summary) for each in find_support(recipes)] if recipes else []
    return [*named, *((group, "every image" if group == GROUPS[-1] else "a group of images") for group in GROUPS)]


def _variants(context: click.Context) -> Values:
    from builder.recipe.availability import find_support

    recipes = _recipes(context)
    names = (names for each in find_support(recipes) for _, names in each.variants) if recipes else ()
    return [(name, "") for name in dict.fromkeys(", ".join(names).split(", ")) if name]


def _platforms(_: click.Context) -> Values:
    from builder.oci.reference import SUPPORTED_PLATFORMS

    return [(platform, "") for platform in SUPPORTED_PLATFORMS]


def _recipes(context: click.Context) -> "Recipes | None":
    """Ours, and those of the flag, the variable or the project file."""
    from builder.errors import BuilderError
    from builder.recipe.loader import load_recipes

    # Who presses Tab has not asked for anything yet, so mistakes are told by the command itself.
    try:
        return load_recipes(_directories(context))
    except BuilderError:
        return None


def _directories(context: click.Context) -> tuple[Path, ...]:
    from builder.config.merged import Given, Merged
    from builder.config.project_file import find_project

    typed = context.params.get("recipes") or ()
    merged = Merged(
        {"recipes": Given(words=tuple(typed), origin="--recipes")} if typed else {},
        find_project(context.params.get("project_file") or ""),
    )
    return tuple(merged.path(word, "recipes") for word in merged.words("recipes"))


# By the name of the setting, or of the argument.
COMPLETED: Mapping[str, Callable[[click.Context], Values]] = {
    "image": _images,
    "names": _images,
    "variant": _variants,
    "platform": _platforms,
}
