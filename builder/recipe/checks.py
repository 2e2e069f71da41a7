"""Checks recipes beyond what their schema says: that names and paths make sense."""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import get_args

from builder.errors import RecipeError
from builder.recipe.rootfs_schema import ACCOUNT_FILES
from builder.recipe.schema import (
    EVERYTHING,
    ArtifactFile,
    Binary,
    BuiltImage,
    Group,
    ImageRecipe,
    Mirror,
    ReleaseRecipe,
    RootfsImage,
    TreeDirectory,
    TreeFile,
)
from builder.recipe.yaml_file import Location, YamlDocument

# Where a name stands, what it is of, the name, and those that there are.
_Use = tuple[Location, str, str, Collection[str]]


def check_image(recipe: ImageRecipe, document: YamlDocument, release: ReleaseRecipe, templates: Mapping[str, str]) -> None:
    """What the schema cannot say of an image. Raises RecipeError with the line of what makes no sense."""
    if recipe.image in (*get_args(Group), EVERYTHING):
        raise RecipeError(f"{document.where(('image',))}: {recipe.image!r} is the name of a group of images")
    match recipe:
        case Mirror():
            if recipe.tags and recipe.variants:
                where = document.where(("variants",))
                raise RecipeError(f"{where}: variants are behind the release's tags, and these are replaced")
        case RootfsImage():
            _check_names([(("template",), "template", recipe.template, templates)], document)
        case BuiltImage():
            _check_names(_names(recipe, release, templates), document)
            _check_paths(recipe, document)
            _check_users(recipe, document)


def _names(recipe: BuiltImage, release: ReleaseRecipe, templates: Mapping[str, str]) -> list[_Use]:
    uses: list[_Use] = [(("template",), "template", recipe.template, templates)]
    uses += [(("variants", name, "base"), "base", variant.base, release.bases) for name, variant in recipe.variants.items()]
    uses += [(("binaries", i, "tags"), "tag set", binary.tags, release.go.tags) for i, binary in enumerate(recipe.binaries)]
    uses += [
        (("artifacts", i, "artifact"), "artifact", file.artifact, release.artifacts) for i, file in enumerate(recipe.artifacts)
    ]
    return uses


def _check_names(uses: Sequence[_Use], document: YamlDocument) -> None:
    """Every name that a recipe uses must exist."""
    for location, kind, name, known in uses:
        if name not in known:
            close = get_close_matches(name, list(known), n=1, cutoff=0.4)
            suggestion = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}."
            raise RecipeError(f"{document.where(location)}: there is no {kind} {name!r}; {suggestion}")


def _check_paths(recipe: BuiltImage, document: YamlDocument) -> None:
    """No two files may go to one place, nor one where users are written."""
    lists: dict[str, tuple[Binary | TreeFile | TreeDirectory | ArtifactFile, ...]] = {
        "binaries": recipe.binaries,
        "files": recipe.files,
        "directories": recipe.directories,
        "artifacts": recipe.artifacts,
    }
    taken: set[str] = set(ACCOUNT_FILES if recipe.users else ())
    for kind, files in lists.items():
        for index, file in enumerate(files):
            if file.path in taken:
                raise RecipeError(f"{document.where((kind, index, 'path'))}: another file goes to {file.path} already")
            taken.add(file.path)


def _check_users(recipe: BuiltImage, document: YamlDocument) -> None:
    """No two users may have one name, number or home."""
    for key in ("name", "uid", "home"):
        taken: set[object] = set()
        for index, user in enumerate(recipe.users):
            value = getattr(user, key)
            if value in taken and value != "":
                raise RecipeError(f"{document.where(('users', index, key))}: another user has the {key} {value} already")
            taken.add(value)
