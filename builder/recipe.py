"""Recipes: what an image holds, as data. One YAML file an image, one for what all images of a release share.

Text in a recipe may hold Jinja2 expressions, filled in by the plan: `version`, `hub`, `tag`, `commit`, `base_registry`,
`base_version`, `architecture`, and `dependencies.NAME` (the SHAs of Istio's `istio.deps`).
"""

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, StringConstraints

from builder.errors import RecipeError, RequestError
from builder.rootfs_recipe import Distribution, Rootfs
from builder.yaml_document import Location, Schema, YamlDocument, read_yaml, validate

RELEASE_FILE = "release.yaml"
BUILT_BASES = "recipes/built-bases"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")]
# No component of a path begins with a dot: neither `..`, nor `.git`, nor `.wh.`, with which a layer removes files.
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$")]
RelativePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$")]
Mode = Annotated[str, StringConstraints(pattern=r"^0[0-7]{3}$")]
# Not `base`: that is the name of an image.
Group = Literal["core", "mesh", "test", "bases"]
EVERYTHING = "all"
MainPackage = Annotated[str, StringConstraints(pattern=r"^\.(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$")]


class Binary(Schema):
    """A Go program that the image holds."""

    main: MainPackage = Field(description="The main package, relative to the root of Istio's source.")
    tags: str = Field(description="Which set of Go build tags, by its name in release.yaml (go.tags).")
    path: AbsolutePath = Field(description="Where the program goes in the image.")
    mode: Mode = Field(default="0755", description="Its mode bits, four octal digits in quotes.")


class TreeFile(Schema):
    """A file of Istio's source tree that the image holds."""

    source: RelativePath = Field(description="The file, relative to the root of Istio's source.")
    path: AbsolutePath = Field(description="Where the file goes in the image.")
    mode: Mode = Field(default="0644", description="Its mode bits, four octal digits in quotes.")


class ArtifactFile(Schema):
    """A downloaded file that the image holds."""

    artifact: str = Field(description="Which artifact, by its name in release.yaml (artifacts).")
    path: AbsolutePath = Field(description="Where the file goes in the image.")
    mode: Mode = Field(default="0755", description="Its mode bits, four octal digits in quotes.")


class Variant(Schema):
    """One way to build the image."""

    base: str = Field(default="", description="The base image, by its name in release.yaml (bases); a mirror has none.")


class ImageRecipe(Schema):
    """What one image holds, and how it is run; or, where `mirror` is set, which image of somebody else's it is."""

    image: Name = Field(description="The image's name at the hub.")
    summary: str = Field(default="", description="One line for people.")
    group: Group = Field(default="core", description="What it belongs to; the group core is built where no --image is given.")
    mirror: str = Field(default="", description="The image to copy as it is, with every platform; nothing is built then.")
    tags: tuple[str, ...] = Field(default=(), description="The tags of a mirror or a base image, in place of the release's own.")
    rootfs: Rootfs | None = Field(default=None, description="What it is made of, where it has no base image.")
    template: str = Field(default="", description="The Dockerfile template, a file of the templates directory.")
    binaries: tuple[Binary, ...] = Field(default=(), description="Go programs, compiled for each platform.")
    files: tuple[TreeFile, ...] = Field(default=(), description="Files of Istio's source tree.")
    artifacts: tuple[ArtifactFile, ...] = Field(default=(), description="Downloaded files.")
    variants: dict[Name, Variant] = Field(default={}, description="The variants by name, such as debug and distroless.")
    user: str = Field(default="", description="USER; empty leaves the base image's.")
    entrypoint: tuple[str, ...] = Field(default=(), description="ENTRYPOINT; empty leaves the base image's.")
    command: tuple[str, ...] = Field(default=(), description="CMD.")
    workdir: str = Field(default="", description="WORKDIR; empty leaves the base image's.")
    env: dict[str, str] = Field(default={}, description="ENV by name, added to the base image's.")
    labels: dict[str, str] = Field(default={}, description="LABEL by name, added to the base image's.")


class Artifact(Schema):
    """A file for each architecture that somebody else builds, such as Envoy."""

    base_urls: tuple[str, ...] = Field(min_length=1, description="Where to look, in this order.")
    file: dict[Literal["amd64", "arm64"], str] = Field(description="The file below the base URL, by architecture.")
    checksum: dict[Literal["amd64", "arm64"], str] = Field(
        description="The file below the base URL whose first field is the sha256, by architecture."
    )
    member: str = Field(default="", description="The member to take, where the file is a .tar.gz.")


class Go(Schema):
    """How Go programs are compiled."""

    flags: tuple[str, ...] = Field(description="Flags of `go build`.")
    ldflags: tuple[str, ...] = Field(description="Flags of the linker.")
    stamp: dict[str, str] = Field(description="Variables set by the linker's -X, and their values.")
    tags: dict[str, tuple[str, ...]] = Field(description="Sets of build tags by name.")
    env: dict[str, str] = Field(default={}, description="More environment for the compiler.")


class ReleaseRecipe(Schema):
    """What all images of a release share."""

    default_variant: Name = Field(description="The variant that also gets the plain tag.")
    base_registry: str = Field(description="Where the base images come from unless the user says otherwise.")
    bases: dict[str, str] = Field(description="Base images by name.")
    artifacts: dict[str, Artifact] = Field(default={}, description="Downloads by name.")
    go: Go = Field(description="How Go programs are compiled.")
    base_distribution: str = Field(default="", description="What base images are built from: distribution and suite.")
    distributions: dict[str, Distribution] = Field(default={}, description="Where packages come from, by distribution.")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeBook:
    """All recipes and templates of a run: the built-in ones, and the user's on top."""

    release: ReleaseRecipe
    images: tuple[ImageRecipe, ...]
    templates: tuple[tuple[str, str], ...]
    origins: tuple[tuple[str, str], ...]
    own: tuple[str, ...] = ()

    def image(self, name: str) -> ImageRecipe:
        """The recipe of this image. Raises RequestError, with the nearest name, where there is none."""
        for recipe in self.images:
            if recipe.image == name:
                return recipe
        names = [recipe.image for recipe in self.images]
        close = get_close_matches(name, names, n=1, cutoff=0.4)
        suggestion = f"Did you mean {close[0]}? " if close else ""
        groups = ", ".join((*get_args(Group), EVERYTHING))
        raise RequestError(
            f"there is no image {name!r}", hint=f"{suggestion}Known images: {', '.join(names)}. Groups of them: {groups}."
        )

    def chosen(self, words: tuple[str, ...]) -> tuple[ImageRecipe, ...]:
        """The recipes that these words name: images, groups, or `all`; without any, the core and the user's own.

        Raises RequestError for a word that is none of these.
        """
        if not words:
            return tuple(recipe for recipe in self.images if recipe.group == "core" or recipe.image in self.own)
        groups = (*get_args(Group), EVERYTHING)
        named = [
            self.images if word == EVERYTHING else self._of_group(word) if word in groups else (self.image(word),)
            for word in words
        ]
        return tuple({recipe.image: recipe for recipes in named for recipe in recipes}.values())

    def _of_group(self, group: str) -> tuple[ImageRecipe, ...]:
        found = tuple(recipe for recipe in self.images if recipe.group == group)
        if not found:
            raise RequestError(f"no image belongs to the group {group}", hint=f"`--image {EVERYTHING}` takes every image.")
        return found

    def origin(self, image: str) -> str:
        """The file that this image's recipe stands in."""
        return dict(self.origins)[image]


def load_recipes(extra: tuple[Path, ...] = (), *, build_bases: bool = False) -> RecipeBook:
    """The built-in recipes, then each directory of `extra` adding to or replacing them.

    `build_bases`: base images are made of packages, not copied. A directory holds `*.yaml` recipes and `*.j2` templates
    side by side, or templates in a `dockerfiles/` below or beside it. Raises RecipeError with file and line.
    """
    release: ReleaseRecipe | None = None
    images: dict[str, ImageRecipe] = {}
    documents: dict[str, YamlDocument] = {}
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
                release = validate(ReleaseRecipe, document)
                continue
            recipe = validate(ImageRecipe, document)
            known = documents.get(recipe.image)
            if known and known.path.parent == directory:
                raise RecipeError(f"{document.where(('image',))}: image {recipe.image!r} is in {known.path.name} already")
            images[recipe.image], documents[recipe.image] = recipe, document
        templates |= own_templates
    if release is None:
        raise RecipeError(f"no {RELEASE_FILE} among the built-in recipes", hint="Reinstall istio-build.")
    for name, recipe in images.items():
        _check_kind(recipe, documents[name])
        _check_names(recipe, documents[name], release, templates)
        _check_paths(recipe, documents[name])
    return RecipeBook(
        release=release,
        images=tuple(images.values()),
        templates=tuple(sorted(templates.items())),
        origins=tuple((name, str(document.path)) for name, document in documents.items()),
        own=tuple(name for name, document in documents.items() if document.path.parent in extra),
    )


def json_schema() -> dict[str, Any]:
    """The JSON Schema of recipe files: an image's, or release.yaml."""
    image, release = ImageRecipe.model_json_schema(), ReleaseRecipe.model_json_schema()
    definitions = {**image.pop("$defs", {}), **release.pop("$defs", {})}
    # What a field alone cannot say; `_check_kind` says the same, and what else may not stand beside `mirror`.
    built = {"required": ["template", "variants"], "properties": {"variants": {"minProperties": 1}}}
    image["anyOf"] = [{"required": ["mirror"]}, {"required": ["rootfs", "template", "tags"]}, built]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "istio-build recipe",
        "anyOf": [image, release],
        "$defs": definitions,
    }


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
    for key in sorted(given & {"binaries", "files", "artifacts", "variants"}):
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
    """No two files may go to one place. Raises RecipeError with the line of the second."""
    lists: dict[str, tuple[Binary | TreeFile | ArtifactFile, ...]] = {
        "binaries": recipe.binaries,
        "files": recipe.files,
        "artifacts": recipe.artifacts,
    }
    taken: set[str] = set()
    for kind, files in lists.items():
        for index, file in enumerate(files):
            if file.path in taken:
                raise RecipeError(f"{document.where((kind, index, 'path'))}: another file goes to {file.path} already")
            taken.add(file.path)
