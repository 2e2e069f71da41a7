"""The book of recipes: read from the built-in directory and the user's, checked for all releases, opened at one of them."""

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import get_args

from builder.accounts import ACCOUNT_FILES
from builder.errors import RecipeError, RequestError, SourceError
from builder.istio_release import IstioRelease, ReleaseRange
from builder.recipe import ArtifactFile, Binary, Group, ImageRecipe, ReleaseRecipe, TreeDirectory, TreeFile
from builder.versioned_document import check_entries, edges, narrow, presence
from builder.yaml_document import Location, YamlDocument, read_yaml, validate

RELEASE_FILE = "release.yaml"
BUILT_BASES = "recipes/built-bases"
EVERYTHING = "all"
_GROUPS = (*get_args(Group), EVERYTHING)
_FILE_LISTS = ("binaries", "files", "directories", "artifacts")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeBook:
    """All recipes and templates for one release of Istio: the built-in ones, and the user's on top.

    `elsewhere` are images that this release does not have, with the releases that do.
    """

    release: ReleaseRecipe
    images: tuple[ImageRecipe, ...]
    templates: tuple[tuple[str, str], ...]
    origins: tuple[tuple[str, str], ...]
    istio: IstioRelease
    elsewhere: tuple[tuple[str, str], ...] = ()

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
            hint=f"{suggestion}Known images: {', '.join(names)}. Groups of them: {', '.join(_GROUPS)}.",
        )

    def chosen(self, words: tuple[str, ...]) -> tuple[ImageRecipe, ...]:
        """The recipes that these words name: images, groups, or `all`; the core where there are no words.

        Raises RequestError for a word that is none of these.
        """
        if not words:
            return self.core_images
        named = [self._of_group(word) if word in _GROUPS else (self.image(word),) for word in words]
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
        return dict(self.origins)[image]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipes:
    """All recipes as they are written, for every release. `releases` is what the built-in ones were compared with."""

    release: YamlDocument
    images: tuple[tuple[str, YamlDocument], ...]
    templates: tuple[tuple[str, str], ...]
    releases: ReleaseRange

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
        elsewhere: list[tuple[str, str]] = []
        for name, document in self.images:
            narrowed = narrow(document, istio)
            if narrowed is None:
                elsewhere.append((name, presence(document)))
                continue
            recipe = validate(ImageRecipe, narrowed)
            _check_kind(recipe, narrowed)
            _check_names(recipe, narrowed, release, templates)
            _check_paths(recipe, narrowed)
            _check_users(recipe, narrowed)
            images.append(recipe)
        return RecipeBook(
            release=release,
            images=tuple(images),
            templates=self.templates,
            origins=tuple((name, str(document.path)) for name, document in self.images),
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


def load_recipes(extra: tuple[Path, ...] = (), *, build_bases: bool = False) -> Recipes:
    """The built-in recipes, then each directory of `extra` adding to or replacing them; checked for every release.

    `build_bases`: base images are made of packages, not copied. A directory holds `*.yaml` recipes and `*.j2` templates
    side by side, or templates in a `dockerfiles/` below or beside it. Raises RecipeError with file and line.
    """
    release: YamlDocument | None = None
    images: dict[str, YamlDocument] = {}
    templates: dict[str, str] = {}
    for directory in (*_built_in(build_bases), *extra):
        if not directory.is_dir():
            raise RecipeError(f"{directory} is not a directory", hint="--recipes names a directory of *.yaml recipes.")
        paths, own_templates = sorted(directory.glob("*.yaml")), _read_templates(directory)
        if not paths and not own_templates:
            raise RecipeError(f"{directory} holds no recipes and no templates", hint="They are its files *.yaml and *.j2.")
        for path in paths:
            document = read_yaml(path)
            if path.name == RELEASE_FILE:
                release = document
                continue
            name = _image_name(document)
            known = images.get(name)
            if known and known.path.parent == directory:
                raise RecipeError(f"{document.where(('image',))}: image {name!r} is in {known.path.name} already")
            images[name] = document
        templates |= own_templates
    if release is None:
        raise RecipeError(f"no {RELEASE_FILE} among the built-in recipes", hint="Reinstall istio-build.")
    for document in (release, *images.values()):
        check_entries(document, _FILE_LISTS)
    recipes = Recipes(
        release=release,
        images=tuple(images.items()),
        templates=tuple(sorted(templates.items())),
        releases=_known_releases(release),
    )
    for istio in recipes.turning_points():
        recipes.at(istio)
    return recipes


def _image_name(document: YamlDocument) -> str:
    """The image that a recipe is of, before it is known for which releases; the schema has the last word later."""
    name = document.data.get("image") if isinstance(document.data, dict) else None
    return name if isinstance(name, str) else validate(ImageRecipe, document).image


def _known_releases(document: YamlDocument) -> ReleaseRange:
    where = document.where(("releases",))
    text = document.data.get("releases") if isinstance(document.data, dict) else None
    if not isinstance(text, str) or presence(document):
        raise RecipeError(f"{where}: `releases` says which releases of Istio all of this is for, such as 1.10 to 1.31")
    try:
        return ReleaseRange.parse(text)
    except RecipeError as error:
        raise RecipeError(f"{where}: {error.message}", hint=error.hint) from error


def _built_in(build_bases: bool) -> tuple[Path, ...]:
    return tuple(_shipped(folder) for folder in (("recipes", BUILT_BASES) if build_bases else ("recipes",)))


def _shipped(folder: str) -> Path:
    """A directory of data that we ship: inside an installed package, or at the top of a checkout."""
    package = Path(str(resources.files("builder")))
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def _read_templates(directory: Path) -> dict[str, str]:
    folders = [directory, directory / "dockerfiles", directory.parent / "dockerfiles"]
    found = [path for folder in reversed(folders) for path in sorted(folder.glob("*.j2"))]
    return {path.name: _read_template(path) for path in found}


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the template {path}: {error}") from error


def _check_kind(recipe: ImageRecipe, document: YamlDocument) -> None:
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


def _check_names(recipe: ImageRecipe, document: YamlDocument, release: ReleaseRecipe, templates: Mapping[str, str]) -> None:
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


def _check_paths(recipe: ImageRecipe, document: YamlDocument) -> None:
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


def _check_users(recipe: ImageRecipe, document: YamlDocument) -> None:
    """No two users may have one name, number or home. Raises RecipeError with the line of the second."""
    for key in ("name", "uid", "home"):
        taken: set[object] = set()
        for index, user in enumerate(recipe.users):
            value = getattr(user, key)
            if value in taken and value != "":
                raise RecipeError(f"{document.where(('users', index, key))}: another user has the {key} {value} already")
            taken.add(value)
