"""The book of recipes: read from the built-in directory and the user's, checked for all releases, opened at one of them."""

from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import get_args

from builder.errors import RequestError, SourceError
from builder.oci.reference import Digest
from builder.recipe.by_release import edges, narrow, presence
from builder.recipe.checks import check_image
from builder.recipe.istio_release import IstioRelease, ReleaseRange
from builder.recipe.schema import EVERYTHING, Group, ImageRecipe, ReleaseRecipe, read_image
from builder.recipe.yaml_file import Location, YamlDocument, validate

RELEASE_FILE = "release.yaml"
GROUPS = (*get_args(Group), EVERYTHING)
FILE_LISTS = ("binaries", "files", "directories", "artifacts")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeBook:
    """All recipes and templates for one release of Istio: the built-in ones, and the user's on top.

    `documents` are what the images' recipes were read from; `elsewhere` are images that this release does not have, with
    the releases that do.
    """

    release: ReleaseRecipe
    images: tuple[ImageRecipe, ...]
    templates: tuple[tuple[str, str], ...]
    # Where they say it is no part of what they say.
    documents: tuple[tuple[str, YamlDocument], ...] = field(compare=False)
    istio: IstioRelease
    elsewhere: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> Digest:
        """The sum over the recipes and templates as they hold for this release, wherever they lie."""
        texts = [self.release.model_dump_json(), *(recipe.model_dump_json() for recipe in self.images), repr(self.templates)]
        return Digest.of("\n".join(texts).encode())

    def image(self, name: str) -> ImageRecipe:
        """The recipe of this image. Raises RequestError, with the nearest name, where there is none."""
        for recipe in self.images:
            if recipe.image == name:
                return recipe
        for image, releases in self.elsewhere:
            if image == name:
                raise RequestError(
                    f"Istio {self.istio} has no image {name}: it is there in {releases}",
                    hint=f"Leave it out. Images of this release: {', '.join(recipe.image for recipe in self.images)}.",
                )
        names = [recipe.image for recipe in self.images]
        close = get_close_matches(name, names, n=1, cutoff=0.4)
        suggestion = f"Did you mean {close[0]}? " if close else ""
        raise RequestError(
            f"there is no image {name!r}",
            hint=f"{suggestion}Known images: {', '.join(names)}. Groups of them: {', '.join(GROUPS)}.",
        )

    def chosen(self, words: tuple[str, ...]) -> tuple[ImageRecipe, ...]:
        """The recipes that these words name: images, groups, or `all`; the core where there are no words.

        Raises RequestError for a word that is none of these.
        """
        if not words:
            return self.core_images
        named = [self._of_group(word) if word in GROUPS else (self.image(word),) for word in words]
        return tuple({recipe.image: recipe for recipes in named for recipe in recipes}.values())

    @property
    def core_images(self) -> tuple[ImageRecipe, ...]:
        """What is built when no image is named."""
        return self._of_group("core")

    def _of_group(self, group: str) -> tuple[ImageRecipe, ...]:
        found = tuple(recipe for recipe in self.images if group in (recipe.group, EVERYTHING))
        if not found:
            raise RequestError(f"no image belongs to the group {group}", hint=f"`--image {EVERYTHING}` takes every image.")
        return found

    def origin(self, image: str) -> str:
        """The file that this image's recipe stands in."""
        return str(dict(self.documents)[image].path)

    def where(self, image: str, location: Location) -> str:
        """`file:line` of this place in the image's recipe."""
        return dict(self.documents)[image].where(location)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipes:
    """All recipes as they are written, for every release. `releases` is what the built-in ones were compared with.

    `replaced` are pairs of a file, a recipe or a template, and the one that it stands in place of.
    """

    release: YamlDocument
    images: tuple[tuple[str, YamlDocument], ...]
    templates: tuple[tuple[str, str], ...]
    releases: ReleaseRange
    template_paths: tuple[tuple[str, Path], ...] = ()
    replaced: tuple[tuple[Path, Path], ...] = ()

    def at(self, istio: IstioRelease) -> RecipeBook:
        """The recipes as they hold for one release; a release newer than all has the shape of the newest.

        Raises SourceError for one older than all, RecipeError for what does not fit together.
        """
        if istio.version < self.releases.edges[0]:
            raise SourceError(
                f"Istio {istio} is older than the oldest release that there are recipes for",
                hint=f"They begin with {IstioRelease(*self.releases.edges[0]).line}; --recipes can replace them.",
            )
        shared = narrow(self.release, istio)
        assert shared is not None, "release.yaml holds for all releases: load_recipes has seen to that"
        release = validate(ReleaseRecipe, shared)
        templates = dict(self.templates)
        images: list[ImageRecipe] = []
        documents: list[tuple[str, YamlDocument]] = []
        elsewhere: list[tuple[str, str]] = []
        for name, document in self.images:
            narrowed = narrow(document, istio)
            if narrowed is None:
                elsewhere.append((name, presence(document)))
                continue
            recipe = read_image(narrowed)
            check_image(recipe, narrowed, release, templates)
            images.append(recipe)
            documents.append((name, narrowed))
        return RecipeBook(
            release=release,
            images=tuple(images),
            templates=self.templates,
            documents=tuple(documents),
            istio=istio,
            elsewhere=tuple(elsewhere),
        )

    def is_ahead(self, istio: IstioRelease) -> bool:
        """Whether a release is newer than all that the recipes were compared with."""
        return not self.releases.covers(istio)

    def note(self, istio: IstioRelease | None) -> str:
        """What should be known of how far these recipes reach, for people."""
        first, behind = self.releases.edges[0], self.releases.edges[-1]
        newest = f"{behind[0]}.{behind[1] - 1}"
        if istio and self.is_ahead(istio):
            return f"Istio {istio} is newer than {newest}, the newest the recipes know: it gets that shape."
        return (
            f"Compared with Istio's own build from {IstioRelease(*first).line} to {newest}; newer releases get the newest shape."
        )

    def turning_points(self) -> tuple[IstioRelease, ...]:
        """The oldest release, and each one at which a recipe changes: what holds for all of these holds for any."""
        versions = {self.releases.edges[0]}
        for document in (self.release, *(document for _, document in self.images)):
            versions |= edges(document)
        return tuple(IstioRelease(*version) for version in sorted(versions) if version >= self.releases.edges[0])
