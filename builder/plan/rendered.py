"""The Dockerfile of an image, filled in from its template: as a plan has it, and without any input in it. Pure."""

from collections.abc import Sequence
from typing import Any

from builder.errors import RecipeError
from builder.plan.model import FilesLayer, PlannedLayer
from builder.recipe.schema import AssembledImage
from builder.recipe.template import render_dockerfile

# By their names.
Templates = tuple[tuple[str, str], ...]
Pairs = tuple[tuple[str, str], ...]


def render_image(
    templates: Templates, recipe: AssembledImage, base: str, layers: Sequence[PlannedLayer], env: Pairs, labels: Pairs
) -> str:
    """That of an image on one platform. Raises RecipeError naming template and line."""
    return render_dockerfile(dict(templates), recipe.template, _values(recipe, base, tuple(layers), env, labels))


def render_bare(templates: Templates, recipe: AssembledImage, layers: int) -> str:
    """What of it comes from the recipe and the template, and not from what was looked up: the same for all platforms."""
    empty = tuple(FilesLayer(archive=f"{number}.tar", files=()) for number in range(layers))
    unfilled = _values(recipe, "", empty, tuple(recipe.env.items()), tuple(recipe.labels.items()))
    try:
        return render_dockerfile(dict(templates), recipe.template, unfilled)
    except RecipeError:
        # A template may reckon with values that are expressions here.
        return dict(templates)[recipe.template]


def _values(recipe: AssembledImage, base: str, layers: tuple[PlannedLayer, ...], env: Pairs, labels: Pairs) -> dict[str, Any]:
    """What a template may name of an image."""
    return {
        "name": recipe.image,
        "base": base,
        "layers": layers,
        "user": recipe.user,
        "workdir": recipe.workdir,
        "entrypoint": recipe.entrypoint,
        "command": recipe.command,
        "env": env,
        "labels": labels,
    }
