"""What the recipes can build, for which releases of Istio, on which platform; that holds for each. Pure: recipes in, rows out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from builder.errors import RecipeError
from builder.oci.reference import SUPPORTED_PLATFORMS, Platform
from builder.recipe.book import RecipeBook, Recipes
from builder.recipe.istio_release import IstioRelease
from builder.recipe.schema import BuiltImage, ImageRecipe
from builder.recipe.yaml_file import YamlDocument

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSupport:
    """One image: the releases that have it, its variants by release, and what each platform lacks by release.

    Each is a tuple of (releases, value); on a platform the value names what nobody publishes, and is empty where all is well.
    """

    image: str
    group: str
    summary: str
    releases: str
    variants: tuple[tuple[str, str], ...]
    lacks: tuple[tuple[Platform, tuple[tuple[str, str], ...]], ...]


def find_support(recipes: Recipes) -> tuple[ImageSupport, ...]:
    """What there is for every release that the recipes know."""
    books = [recipes.at(release) for release in recipes.turning_points()]
    return tuple(_support_of(name, books) for name, _ in recipes.images)


def check_every_release(recipes: Recipes) -> None:
    """Open the recipes at every release at which one of them changes, and see that each image gets a plain tag there.

    An image whose variants lack the release's default one would be pushed as `TAG-VARIANT` alone; of Istio's own there is
    none (tools/buildx-gen.sh and tools/docker-builder tag all images alike). Raises RecipeError with file and line.
    """
    books = [recipes.at(release) for release in recipes.turning_points()]
    for name, document in recipes.images:
        _check_plain_tags(name, document, books)


def _check_plain_tags(image: str, document: YamlDocument, books: Sequence[RecipeBook]) -> None:
    lacking = _ranges([(book.istio, _missing_default(image, book)) for book in books])
    entries = [(releases, *missing) for releases, missing in lacking if any(missing)]
    if not entries:
        return
    told = ", and ".join(f"no {default!r} for {releases}" for releases, default, _ in entries)
    whole = ", ".join(releases for releases, missing in lacking if not any(missing))
    lines = ", ".join(f"`{default}: {{istio: {releases!r}{more}}}`" for releases, default, more in entries)
    raise RecipeError(
        f"{document.where(('variants',))}: variants: there is {told}, so that nothing would get the plain TAG",
        hint=f"Add {lines}{f'; or say beside `image` that it is for other releases: `istio: {whole!r}`' if whole else ''}.",
    )


def _missing_default(image: str, book: RecipeBook) -> tuple[str, str] | None:
    """The default variant that an image lacks in this release, and what it would stand on; empty where it lacks none."""
    recipe = next((recipe for recipe in book.images if recipe.image == image), None)
    if recipe is None:
        return None
    default = book.release.default_variant
    if not recipe.variant_names or default in recipe.variant_names:
        return ("", "")
    return default, f", base: {next(iter(book.release.bases), 'base')}" if isinstance(recipe, BuiltImage) else ""


def support_at(book: RecipeBook) -> tuple[ImageSupport, ...]:
    """What there is for one release."""
    return tuple(_support_of(recipe.image, [book]) for recipe in book.images)


def _support_of(image: str, books: Sequence[RecipeBook]) -> ImageSupport:
    found = [(book, next((recipe for recipe in book.images if recipe.image == image), None)) for book in books]
    newest = next(recipe for _, recipe in reversed(found) if recipe)
    platforms = tuple(Platform.parse(text) for text in SUPPORTED_PLATFORMS)

    def ranges(value: Callable[[RecipeBook, ImageRecipe], str]) -> tuple[tuple[str, str], ...]:
        return tuple(_ranges([(book.istio, value(book, recipe) if recipe else None) for book, recipe in found]))

    return ImageSupport(
        image=image,
        group=newest.group,
        summary=newest.summary,
        releases=", ".join(releases for releases, _ in ranges(lambda _book, _recipe: "")),
        variants=ranges(lambda _book, recipe: ", ".join(recipe.variant_names)),
        lacks=tuple((platform, ranges(partial(_lacking, platform))) for platform in platforms),
    )


def _lacking(platform: Platform, book: RecipeBook, recipe: ImageRecipe) -> str:
    """The downloads that nobody publishes for this platform."""
    if not isinstance(recipe, BuiltImage):
        return ""
    published = {name: [str(key) for key in artifact.file] for name, artifact in book.release.artifacts.items()}
    return ", ".join(file.artifact for file in recipe.artifacts if platform.architecture not in published[file.artifact])


def _ranges(values: Sequence[tuple[IstioRelease, Value | None]]) -> list[tuple[str, Value]]:
    """Runs of the same value, each with its releases as a recipe would write them."""
    found: list[tuple[str, Value]] = []
    begin = 0
    for position in range(1, len(values) + 1):
        if position < len(values) and values[position][1] == values[begin][1]:
            continue
        value = values[begin][1]
        if value is not None:
            after = values[position][0] if position < len(values) else None
            found.append((range_text(values[begin][0], after, alone=len(values) == 1), value))
        begin = position
    return found


def range_text(first: IstioRelease, after: IstioRelease | None, *, alone: bool = False) -> str:
    """The releases from one on, up to where another begins, as a recipe would write them; `alone` is the first of them only."""
    begin = first.line if not first.patch and not alone else str(first)
    if after is None:
        return begin if alone else f"{begin}+"
    last = f"{after.line}.{after.patch - 1}" if after.patch else f"{after.major}.{after.minor - 1}"
    # `1.21.0` alone, and `1.20` where it is the whole line.
    return last if last in (begin, str(first)) else f"{begin} to {last}"
