"""Which recipes are meant, and the names that their expressions may use. Pure."""

from typing import Any

from builder.config.request import Request
from builder.errors import RequestError
from builder.oci.reference import Platform, parse_tag
from builder.plan.lock import SourceFacts
from builder.recipe.book import RecipeBook
from builder.recipe.istio_release import IstioRelease
from builder.recipe.schema import ImageRecipe, ReleaseRecipe


def select_images(request: Request, book: RecipeBook) -> tuple[tuple[ImageRecipe, tuple[str, ...]], ...]:
    """The recipes asked for, each with its variants. Raises RequestError, with the nearest name, for unknown ones."""
    recipes = book.chosen(request.images)
    known = sorted({variant for recipe in book.images for variant in recipe.variant_names})
    for variant in request.variants:
        if variant not in known:
            raise RequestError(f"there is no variant {variant!r}", hint=f"Known variants: {', '.join(known)}.")
    chosen = []
    for recipe in recipes:
        variants = tuple(name for name in recipe.variant_names if not request.variants or name in request.variants)
        if recipe.variant_names and not variants:
            # Of `--image all --variant distroless`, what has no such variant is simply not meant.
            if request.images and recipe.image not in request.images:
                continue
            raise RequestError(
                f"image {recipe.image} has no variant {' or '.join(request.variants)}",
                hint=f"It has {', '.join(recipe.variant_names)}.",
            )
        chosen.append((recipe, variants))
    return tuple(chosen)


def choose_version(request: Request, source: SourceFacts) -> str:
    """The version stamped into the programs: the first tag asked for, else the release tag at a clean HEAD.

    With patches it is another: what is patched is not that release.
    """
    if request.tags:
        return request.tags[0]
    patched = f"-patched-{source.series}" if source.patches else ""
    if source.state.tag and not source.state.dirty:
        return _as_tag(f"{source.state.tag}{patched}")
    return f"{source.version}-dev-{source.state.commit[:10]}{patched}{'-dirty' if source.state.dirty else ''}"


def _as_tag(git_tag: str) -> str:
    """Git allows more in a tag than a registry does: `release/1.29`, `1.29.0+corp`."""
    try:
        return parse_tag(git_tag)
    except RequestError as error:
        raise RequestError(
            f"the source's git tag {git_tag!r} is no image tag", hint=f"Give one with --tag. {error.hint}"
        ) from error


def recipe_values(request: Request, release: ReleaseRecipe, source: SourceFacts) -> dict[str, Any]:
    """The names that expressions in recipes may use."""
    state = source.state
    version = choose_version(request, source)
    return {
        "version": version,
        "tag": version,
        "hub": str(request.hubs[0]),
        "release": state.tag if IstioRelease.parse(state.tag) else str(source.release),
        "commit": state.commit,
        "revision": source.revision,
        "status": "Modified" if state.modified or source.patches else "Clean",
        "description": state.description,
        "base_registry": request.base_registry or release.base_registry,
        "base_version": source.base_version,
        "built_bases": request.build_bases,
        "dependencies": dict(source.dependencies),
        "pins": dict(source.pins),
    }


def platform_values(platform: Platform) -> dict[str, str]:
    """The names that expressions may use besides, where one platform is meant."""
    return {"os": platform.os, "architecture": platform.architecture}
