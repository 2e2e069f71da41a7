"""Checks recipes beyond what their schema says: what excludes what, and that names and paths make sense."""

from collections.abc import Collection, Mapping, Set
from difflib import get_close_matches
from typing import get_args

from builder.errors import RecipeError
from builder.recipe.rootfs_schema import ACCOUNT_FILES
from builder.recipe.schema import EVERYTHING, ArtifactFile, Binary, Group, ImageRecipe, ReleaseRecipe, TreeDirectory, TreeFile
from builder.recipe.yaml_file import Location, YamlDocument


def check_kind(recipe: ImageRecipe, document: YamlDocument) -> None:
    """An image is built or mirrored. Raises RecipeError with the line of a key that is missing, or of the other kind."""
    if recipe.image in (*get_args(Group), EVERYTHING):
        raise RecipeError(f"{document.where(('image',))}: {recipe.image!r} is the name of a group of images")
    given = recipe.model_fields_set - {"image", "summary", "group"}
    if recipe.mirror:
        _check_mirror(recipe, given, document)
    elif recipe.rootfs:
        _check_rootfs(given, document)
    else:
        _check_built(recipe, given, document)


def _check_mirror(recipe: ImageRecipe, given: Set[str], document: YamlDocument) -> None:
    for key in sorted(given - {"mirror", "tags", "variants"}):
        raise RecipeError(f"{document.where((key,))}: a mirror is copied as it is, so it has no {key!r}")
    for name in (name for name, variant in recipe.variants.items() if variant.base):
        raise RecipeError(f"{document.where(('variants', name, 'base'))}: a mirror is copied as it is, so it has no base")
    if recipe.tags and recipe.variants:
        raise RecipeError(f"{document.where(('variants',))}: variants are behind the release's tags, and these are replaced")


def _check_built(recipe: ImageRecipe, given: Set[str], document: YamlDocument) -> None:
    for key in ("template", "variants"):
        if key not in given:
            raise RecipeError(f"{document.where((key,))}: {key}: Field required, where there is no 'mirror'")
    if not recipe.variants:
        raise RecipeError(f"{document.where(('variants',))}: variants: there should be at least 1")
    if recipe.tags:
        raise RecipeError(f"{document.where(('tags',))}: only a mirror or a 'rootfs' has 'tags'")


def _check_rootfs(given: Set[str], document: YamlDocument) -> None:
    for key in sorted(given & {"binaries", "files", "directories", "artifacts", "users", "variants"}):
        raise RecipeError(f"{document.where((key,))}: an image with a 'rootfs' has no {key!r}")
    for key in ("template", "tags"):
        if key not in given:
            raise RecipeError(f"{document.where((key,))}: {key}: Field required, where there is a 'rootfs'")


def check_names(recipe: ImageRecipe, document: YamlDocument, release: ReleaseRecipe, templates: Mapping[str, str]) -> None:
    """Every name that a recipe uses must exist. Raises RecipeError with the line of the first that does not."""
    if recipe.mirror:
        return
    uses: list[tuple[Location, str, str, Collection[str]]] = [(("template",), "template", recipe.template, templates)]
    uses += [(("variants", name, "base"), "base", variant.base, release.bases) for name, variant in recipe.variants.items()]
    uses += [(("binaries", i, "tags"), "tag set", binary.tags, release.go.tags) for i, binary in enumerate(recipe.binaries)]
    uses += [
        (("artifacts", i, "artifact"), "artifact", file.artifact, release.artifacts) for i, file in enumerate(recipe.artifacts)
    ]
    for location, kind, name, known in uses:
        if name not in known:
            close = get_close_matches(name, list(known), n=1, cutoff=0.4)
            suggestion = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}."
            raise RecipeError(f"{document.where(location)}: there is no {kind} {name!r}; {suggestion}")


def check_paths(recipe: ImageRecipe, document: YamlDocument) -> None:
    """No two files may go to one place, nor one where users are written. Raises RecipeError with the line of the second."""
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


def check_users(recipe: ImageRecipe, document: YamlDocument) -> None:
    """No two users may have one name, number or home. Raises RecipeError with the line of the second."""
    for key in ("name", "uid", "home"):
        taken: set[object] = set()
        for index, user in enumerate(recipe.users):
            value = getattr(user, key)
            if value in taken and value != "":
                raise RecipeError(f"{document.where(('users', index, key))}: another user has the {key} {value} already")
            taken.add(value)
