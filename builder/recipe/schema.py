"""Recipes: what an image holds, as data. One YAML file an image, one for what all images of a release share.

Text in a recipe may hold Jinja2 expressions, filled in by the plan: `version`, `hub`, `tag`, `release`, `commit`,
`base_registry`, `base_version`, `architecture`, `dependencies.NAME` (the SHAs of Istio's `istio.deps`), `pins.NAME` (base
images that its Dockerfiles pin by digest). What differs between releases is written by range: builder.recipe.by_release.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from builder.recipe.by_release import schema_by_release
from builder.recipe.rootfs_schema import Distribution, Rootfs
from builder.recipe.yaml_file import Location, Schema, YamlDocument, validate

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([._-][a-z0-9]+)*$")]
# No component of a path begins with a dot: neither `..`, nor `.git`, nor `.wh.`, with which a layer removes files.
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9_+-][A-Za-z0-9._+-]*)+$")]
RelativePath = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+-]*(/[A-Za-z0-9_][A-Za-z0-9._+-]*)*$")]
UserName = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
Mode = Annotated[str, StringConstraints(pattern=r"^0[0-7]{3}$")]
# Not `base`: that is the name of an image.
Group = Literal["core", "mesh", "test", "bases"]
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


class TreeDirectory(Schema):
    """A directory of Istio's source tree, with all that is below it, that the image holds."""

    source: RelativePath = Field(description="The directory, relative to the root of Istio's source.")
    path: AbsolutePath = Field(description="Where the directory goes in the image.")


class ArtifactFile(Schema):
    """A downloaded file that the image holds."""

    artifact: str = Field(description="Which artifact, by its name in release.yaml (artifacts).")
    path: AbsolutePath = Field(description="Where the file goes in the image.")
    mode: Mode = Field(default="0755", description="Its mode bits, four octal digits in quotes.")


class ImageUser(Schema):
    """A user that is added to those of the base image, with a group of the same name and number, and a home."""

    name: UserName = Field(description="The name.")
    uid: int = Field(ge=1, lt=65534, description="The number; the group's, too.")
    home: AbsolutePath | Literal[""] = Field(default="", description="The home directory; /home/NAME by default.")


class Variant(Schema):
    """One way to build the image."""

    base: str = Field(default="", description="The base image, by its name in release.yaml (bases).")


class MirrorVariant(Schema):
    """A name for the copy, behind the release's tags."""


class AnyImage(Schema):
    """What every recipe of an image has, however the image comes to be."""

    image: Name = Field(description="The image's name at the hub.")
    summary: str = Field(default="", description="One line for people.")
    group: Group = Field(default="core", description="What it belongs to; the group core is built where no --image is given.")

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The variants by name, none where the image has no variants."""
        return ()


class Mirror(AnyImage):
    """An image of somebody else's that is copied as it is, with every platform."""

    mirror: str = Field(min_length=1, description="The image to copy; nothing is built then.")
    tags: tuple[str, ...] = Field(default=(), description="Its tags, in place of the release's own.")
    variants: Mapping[Name, MirrorVariant] = Field(default={}, description="The variants by name; all are the same copy.")

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The variants by name."""
        return tuple(self.variants)

    @classmethod
    def refusal(cls, location: Location) -> str:
        """Why a key of what is built has no place here."""
        what = ""
        if len(location) == 1 and location[0] in (*BuiltImage.model_fields, *RootfsImage.model_fields):
            what = repr(location[0])
        elif location[0] == "variants" and location[2:] == ("base",):
            what = "base"
        return f"a mirror is copied as it is, so it has no {what}" if what else ""


class AssembledImage(AnyImage):
    """What every recipe has whose image is assembled here: its Dockerfile, and how it is run."""

    template: str = Field(description="The Dockerfile template, a file of the templates directory.")
    user: str = Field(default="", description="USER; empty leaves the base image's.")
    entrypoint: tuple[str, ...] = Field(default=(), description="ENTRYPOINT; empty leaves the base image's.")
    command: tuple[str, ...] = Field(default=(), description="CMD.")
    workdir: str = Field(default="", description="WORKDIR; empty leaves the base image's.")
    env: Mapping[str, str] = Field(default={}, description="ENV by name, added to the base image's.")
    labels: Mapping[str, str] = Field(default={}, description="LABEL by name, added to the base image's.")


class BuiltImage(AssembledImage):
    """An image that stands on a base image in each of its variants."""

    binaries: tuple[Binary, ...] = Field(default=(), description="Go programs, compiled for each platform.")
    files: tuple[TreeFile, ...] = Field(default=(), description="Files of Istio's source tree.")
    directories: tuple[TreeDirectory, ...] = Field(default=(), description="Directories of Istio's source tree.")
    artifacts: tuple[ArtifactFile, ...] = Field(default=(), description="Downloaded files.")
    users: tuple[ImageUser, ...] = Field(default=(), description="Users that are added to those of the base image.")
    variants: Mapping[Name, Variant] = Field(min_length=1, description="The variants by name, such as debug and distroless.")

    @property
    def variant_names(self) -> tuple[str, ...]:
        """The variants by name."""
        return tuple(self.variants)

    @classmethod
    def refusal(cls, location: Location) -> str:
        """Why a key of the other kinds has no place here."""
        return "only a mirror or a 'rootfs' has 'tags'" if location == ("tags",) else ""

    @classmethod
    def requirement(cls, key: str) -> str:
        """What makes a key required that not every image has."""
        return "" if key in AnyImage.model_fields else "where there is neither a 'mirror' nor a 'rootfs'"


class RootfsImage(AssembledImage):
    """An image that is made of packages, and stands on no other."""

    rootfs: Rootfs = Field(description="What it is made of.")
    tags: tuple[str, ...] = Field(description="Its tags, in place of the release's own.")

    @classmethod
    def refusal(cls, location: Location) -> str:
        """Why a key of what stands on a base image has no place here."""
        is_known = len(location) == 1 and location[0] in BuiltImage.model_fields
        return f"an image with a 'rootfs' has no {location[0]!r}" if is_known else ""

    @classmethod
    def requirement(cls, key: str) -> str:
        """What makes a key required that not every image has."""
        return "" if key in AnyImage.model_fields else "where there is a 'rootfs'"


ImageRecipe = BuiltImage | Mirror | RootfsImage


def read_image(document: YamlDocument) -> ImageRecipe:
    """The recipe of an image, of the kind that its keys say. Raises RecipeError."""
    keys = document.data if isinstance(document.data, Mapping) else ()
    if "mirror" in keys:
        return validate(Mirror, document)
    return validate(RootfsImage, document) if "rootfs" in keys else validate(BuiltImage, document)


FileByArchitecture = Mapping[Literal["amd64", "arm64"], str | None]


class Artifact(Schema):
    """A file for each architecture that somebody else builds, such as Envoy."""

    base_urls: tuple[str, ...] = Field(min_length=1, description="Where to look, in this order.")
    file: FileByArchitecture = Field(description="The file below the base URL, by architecture; null where there is none.")
    checksum: FileByArchitecture = Field(
        default={}, description="The file below the base URL whose first field is the sha256, by architecture."
    )
    member: str = Field(default="", description="The member to take, where the file is a .tar.gz.")
    debug_file: FileByArchitecture = Field(default={}, description="The same for a build with symbols, by architecture.")
    debug_checksum: FileByArchitecture = Field(default={}, description="Its checksum, by architecture.")
    image: str = Field(default="", description="A published image that holds it, where it is nowhere else.")
    image_path: AbsolutePath | Literal[""] = Field(default="", description="Where it is in that image.")
    beside: str = Field(default="", description="The artifact whose --NAME-url, --NAME-image and --NAME-from hold for this, too.")


class Go(Schema):
    """How Go programs are compiled."""

    flags: tuple[str, ...] = Field(description="Flags of `go build`.")
    ldflags: tuple[str, ...] = Field(description="Flags of the linker.")
    stamp_package: str = Field(description="The package whose variables are stamped.")
    stamp: Mapping[str, str] = Field(description="Variables of that package set by the linker's -X, and their values.")
    tags: Mapping[str, tuple[str, ...]] = Field(description="Sets of build tags by name.")
    env: Mapping[str, str] = Field(default={}, description="More environment for the compiler.")
    too_new: str | None = Field(default=None, description="The first Go that is known not to build this, such as 1.23.")
    too_new_sign: str | None = Field(default=None, description="What a build with such a Go ends in.")


class ArchiveTarget(Schema):
    """One operating system and architecture that a program is packed for."""

    os: Literal["linux", "darwin", "windows"] = Field(description="As Go names it.")
    architecture: Literal["amd64", "arm64"] = Field(description="As Go names it.")
    also: tuple[Name, ...] = Field(default=(), description="Other names for the same archive.")


class ProgramArchive(Schema):
    """A program for people's machines: NAME-VERSION-TARGET.tar.gz, or .zip for Windows."""

    main: MainPackage = Field(description="The main package, relative to the root of Istio's source.")
    tags: str = Field(description="Which set of Go build tags, by its name in go.tags.")
    targets: Mapping[Name, ArchiveTarget] = Field(description="What it is built for, by the name in the archive's name.")


class ReleaseRecipe(Schema):
    """What all images of a release share."""

    releases: str = Field(description="The releases of Istio that the built-in recipes were compared with.")
    default_variant: Name = Field(description="The variant that also gets the plain tag.")
    base_registry: str = Field(description="Where the base images come from unless the user says otherwise.")
    bases: Mapping[str, str] = Field(description="Base images by name.")
    artifacts: Mapping[str, Artifact] = Field(default={}, description="Downloads by name.")
    archives: Mapping[Name, ProgramArchive] = Field(default={}, description="Programs for people's machines, by name.")
    go: Go = Field(description="How Go programs are compiled.")
    base_distribution: str = Field(default="", description="What base images are built from: distribution and suite.")
    distributions: Mapping[str, Distribution] = Field(default={}, description="Where packages come from, by distribution.")


def json_schema() -> dict[str, Any]:
    """The JSON Schema of recipe files: an image's, of any kind, or release.yaml."""
    files = [schema_by_release(model.model_json_schema()) for model in (BuiltImage, Mirror, RootfsImage, ReleaseRecipe)]
    definitions = {name: definition for file in files for name, definition in file.pop("$defs", {}).items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "istio-build recipe",
        "anyOf": files,
        "$defs": definitions,
    }


EVERYTHING = "all"
