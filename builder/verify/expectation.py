"""What an image of a release must be, as far as recipes tell without the source of Istio. Pure: recipes in, values out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from builder.errors import RecipeError, RequestError
from builder.oci.reference import Hub, ImageReference, Platform
from builder.plan.tags import image_references, mirror_references
from builder.recipe.availability import support_at
from builder.recipe.book import RecipeBook
from builder.recipe.schema import AssembledImage, BuiltImage, ImageRecipe, Mirror, RootfsImage
from builder.recipe.template import render_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """A file that must be there, with its mode; `package` is the end of its main package's path, where it is a Go program."""

    path: str
    mode: str
    package: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedImage:
    """What a recipe says of one variant. "" and () say nothing.

    `env` and `labels` are names with the values that are right; none, where it depends on the source. `versions` are those
    that programs may be stamped with. `original` is its tag where Istio itself publishes it. `optional`: nobody asked for
    this image by its name. `lacks` are platforms for which nobody publishes a part of it.
    """

    image: str
    variant: str = ""
    tags: tuple[str, ...] = ()
    user: str = ""
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    workdir: str = ""
    env: tuple[tuple[str, tuple[str, ...]], ...] = ()
    labels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    files: tuple[ExpectedFile, ...] = ()
    versions: tuple[str, ...] = ()
    original: str = ""
    optional: bool = False
    lacks: tuple[Platform, ...] = ()

    def references(self, hub: Hub) -> tuple[ImageReference, ...]:
        """All its tags at a hub."""
        return tuple(hub.repository(self.image).at(tag) for tag in self.tags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of a release's images are meant: names and groups (none for all), variants (none for all), tags."""

    images: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


def expect_release(book: RecipeBook, selection: Selection) -> tuple[tuple[ExpectedImage, ...], tuple[str, ...]]:
    """Every variant of every chosen image, and the images of which no recipe tells the tags without the source.

    Raises RequestError for an image or variant that there is none of.
    """
    chosen = book.chosen(selection.images or ("all",))
    _check_variants(chosen, selection)
    found: list[ExpectedImage] = []
    unknown: list[str] = []
    for recipe in chosen:
        images = _expect_image(book, recipe, selection)
        found += images
        # Of `--image all --variant distroless`, what has no such variant is simply not meant.
        if not images and not (selection.variants and recipe.variant_names):
            unknown.append(recipe.image)
    return tuple(found), tuple(unknown)


def _check_variants(recipes: Sequence[ImageRecipe], selection: Selection) -> None:
    known = sorted({name for recipe in recipes for name in recipe.variant_names})
    for variant in selection.variants:
        if variant not in known:
            raise RequestError(f"none of these images has a variant {variant!r}", hint=f"They have {', '.join(known)}.")


def _expect_image(book: RecipeBook, recipe: ImageRecipe, selection: Selection) -> list[ExpectedImage]:
    named = recipe.image in selection.images
    lacks = _lacking_platforms(book, recipe.image)
    if isinstance(recipe, Mirror | RootfsImage) and recipe.tags:
        tags = _render_all(recipe.tags, _values(book, selection.tags[0]))
        expected = ExpectedImage(image=recipe.image, tags=tags, optional=not named)
        return [expected] if tags else []
    variants = [name for name in recipe.variant_names if not selection.variants or name in selection.variants]
    images = []
    for variant in variants:
        tags = _tags(book, recipe, variant, selection.tags)
        if isinstance(recipe, BuiltImage):
            images.append(_expect_built(book, recipe, variant, tags, selection.tags))
        else:
            images.append(ExpectedImage(image=recipe.image, variant=variant, tags=tags))
    is_optional = not named and recipe.group != "core"
    return [replace(image, optional=is_optional, lacks=lacks) for image in images]


def _tags(book: RecipeBook, recipe: ImageRecipe, variant: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """As Istio sets them; the hub does not matter."""
    anywhere = (Hub("hub.invalid", ""),)
    is_default = variant == book.release.default_variant
    if isinstance(recipe, Mirror):
        references = mirror_references(anywhere, tags, recipe.image, ((variant, is_default),), ())
    else:
        references = image_references(anywhere, tags, recipe.image, variant, is_default=is_default)
    return tuple(reference.tag for reference in references)


def _expect_built(
    book: RecipeBook, recipe: BuiltImage, variant: str, tags: tuple[str, ...], wanted: tuple[str, ...]
) -> ExpectedImage:
    versions = tuple(dict.fromkeys((*wanted, str(book.istio))))
    files = [
        ExpectedFile(path=binary.path, mode=binary.mode, package=binary.main.removeprefix(".")) for binary in recipe.binaries
    ]
    files += [ExpectedFile(path=file.path, mode=file.mode) for file in recipe.files]
    files += [ExpectedFile(path=file.path, mode=file.mode) for file in recipe.artifacts]
    return ExpectedImage(
        image=recipe.image,
        variant=variant,
        tags=tags,
        user=recipe.user,
        entrypoint=recipe.entrypoint,
        command=recipe.command,
        workdir=recipe.workdir,
        env=_right_values(book, recipe, recipe.env, versions),
        labels=_right_values(book, recipe, recipe.labels, versions),
        files=tuple(files),
        versions=versions,
        original=_tags(book, recipe, variant, (str(book.istio),))[-1],
    )


def _right_values(
    book: RecipeBook, recipe: AssembledImage, texts: Mapping[str, str], versions: tuple[str, ...]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    found = []
    for name, text in texts.items():
        values = dict.fromkeys(value for version in versions for value in _render_all((text,), _values(book, version)))
        found.append((name, tuple(values)))
    return tuple(found)


def _values(book: RecipeBook, version: str) -> dict[str, str]:
    """What of the names that expressions may use is known without a source."""
    return {"version": version, "tag": version, "release": str(book.istio)}


def _render_all(texts: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """Those that can be told."""
    found = []
    for text in texts:
        try:
            found.append(render_text(text, values, "recipe"))
        except RecipeError:
            continue
    return tuple(found)


def _lacking_platforms(book: RecipeBook, image: str) -> tuple[Platform, ...]:
    support = next(entry for entry in support_at(book) if entry.image == image)
    return tuple(platform for platform, ranges in support.lacks if any(lacking for _, lacking in ranges))
