"""Reads recipes and templates from the directories that hold them: those shipped with this program, then the user's own."""

from pathlib import Path

import builder
from builder.errors import RecipeError
from builder.recipe.book import FILE_LISTS, RELEASE_FILE, Recipes
from builder.recipe.by_release import check_entries, presence
from builder.recipe.istio_release import ReleaseRange
from builder.recipe.schema import read_image
from builder.recipe.yaml_file import YamlDocument, read_yaml

BUILT_BASES = "recipes/built-bases"


def load_recipes(extra: tuple[Path, ...] = (), *, build_bases: bool = False) -> Recipes:
    """The built-in recipes, then each directory of `extra` adding to or replacing them; then checked for every release.

    `build_bases`: base images are made of packages, not copied. A directory holds `*.yaml` recipes and `*.j2` templates
    side by side, or templates in a `dockerfiles/` below or beside it. Raises RecipeError with file and line.
    """
    found = _Found()
    for directory in (*_built_in(build_bases), *extra):
        found.add(directory)
    release = found.release
    if release is None:
        raise RecipeError(f"no {RELEASE_FILE} among the built-in recipes", hint="Reinstall istio-build.")
    for document in (release, *found.images.values()):
        check_entries(document, FILE_LISTS)
    recipes = Recipes(
        release=release,
        images=tuple(found.images.items()),
        templates=tuple(sorted((name, _read_template(path)) for name, path in found.templates.items())),
        releases=_known_releases(release),
        template_paths=tuple(found.templates.items()),
        replaced=tuple(found.replaced),
    )
    if extra:
        _check(recipes)
    return recipes


def _check(recipes: Recipes) -> None:
    # Ours are checked by the tests: to do it at every start takes as long as reading them.
    from builder.recipe.availability import check_every_release

    check_every_release(recipes)


class _Found:
    """What the directories hold, one after the other; `replaced` are pairs of a file and the one that it stands in place of."""

    def __init__(self) -> None:
        self.release: YamlDocument | None = None
        self.images: dict[str, YamlDocument] = {}
        self.templates: dict[str, Path] = {}
        self.replaced: list[tuple[Path, Path]] = []

    def add(self, directory: Path) -> None:
        """Take what a directory holds. Raises RecipeError."""
        if not directory.is_dir():
            raise RecipeError(f"{directory} is not a directory", hint="--recipes names a directory of *.yaml recipes.")
        paths, templates = sorted(directory.glob("*.yaml")), _find_templates(directory)
        if not paths and not templates:
            raise RecipeError(f"{directory} holds no recipes and no templates", hint="They are its files *.yaml and *.j2.")
        for path in paths:
            self._add_recipe(read_yaml(path))
        for name, path in templates.items():
            self._note(path, self.templates.get(name))
            self.templates[name] = path

    def _add_recipe(self, document: YamlDocument) -> None:
        path = document.path
        if path.name == RELEASE_FILE:
            self._note(path, self.release.path if self.release else None)
            self.release = document
            return
        name = _image_name(document)
        known = self.images.get(name)
        if known and known.path.parent == path.parent:
            raise RecipeError(f"{document.where(('image',))}: image {name!r} is in {known.path.name} already")
        self._note(path, known.path if known else None)
        self.images[name] = document

    def _note(self, path: Path, before: Path | None) -> None:
        if before and before != path:
            self.replaced.append((path, before))


def _image_name(document: YamlDocument) -> str:
    """The image that a recipe is of, before it is known for which releases; the schema has the last word later."""
    name = document.data.get("image") if isinstance(document.data, dict) else None
    return name if isinstance(name, str) else read_image(document).image


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
    return tuple(shipped(folder) for folder in (("recipes", BUILT_BASES) if build_bases else ("recipes",)))


def shipped(folder: str) -> Path:
    """A directory of data that we ship: inside an installed package, or at the top of a checkout."""
    package = Path(builder.__file__).parent
    inside = package / folder
    return inside if inside.is_dir() else package.parent / folder


def _find_templates(directory: Path) -> dict[str, Path]:
    folders = [directory, directory / "dockerfiles", directory.parent / "dockerfiles"]
    return {path.name: path for folder in reversed(folders) for path in sorted(folder.glob("*.j2"))}


def _read_template(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the template {path}: {error}") from error
