"""The plan as values: every image on every platform, its layers and files, its tags, what is compiled for it."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.oci.reference import Digest, ImageReference, Platform
from builder.plan.lock import AppliedPatch, LockedArtifact, LockedBase
from builder.plan.rootfs_step import RootfsStep
from builder.plan.users_step import UsersStep
from builder.ports import GoCommand


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileStep:
    """One `go build`: all mains of one tag set for one platform.

    `container` is what it runs in, by digests: the image and the template of its Dockerfile; "" is this machine. `unstamped`
    are its options without what is stamped into the programs.
    """

    key: str
    platform: Platform
    command: GoCommand
    env: tuple[tuple[str, str], ...]
    container: str = ""
    unstamped: tuple[str, ...] = ()

    @property
    def mains(self) -> tuple[tuple[str, str], ...]:
        """The names of the programs it makes, as `go build -o DIR/` names them, each with its package."""
        suffix = ".exe" if self.platform.os == "windows" else ""
        return tuple((f"{PurePosixPath(package).name}{suffix}", package) for package in self.command.packages)

    @property
    def programs(self) -> tuple[str, ...]:
        """The names alone."""
        return tuple(program for program, _ in self.mains)


FINGERPRINT_ANNOTATION = "dev.istio-build.inputs"
# What explains it: see `builder.plan.noted`.
NOTES_ANNOTATION = "dev.istio-build.made-from"
# Only there, and "true", where an image is for a debugger: others keep their digests.
DEBUG_ANNOTATION = "dev.istio-build.debug"
# Only there where the source is patched: `NAME=sha256:SUM` of each patch, in their order.
PATCHES_ANNOTATION = "dev.istio-build.patches"
REVISION_ANNOTATION = "org.opencontainers.image.revision"
VERSION_ANNOTATION = "org.opencontainers.image.version"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledFile:
    """A program that a compile step makes."""

    step: str
    program: str

    def __str__(self) -> str:
        return f"go build {self.program}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of Istio's tree."""

    source: str

    def __str__(self) -> str:
        return self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedFile:
    """A downloaded file."""

    artifact: LockedArtifact

    def __str__(self) -> str:
        return f"{self.artifact.name} sha256:{self.artifact.sha256[:12]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFile:
    """A file of an image: where it comes from, where it goes, its mode bits, its time in seconds since 1970."""

    origin: CompiledFile | SourceFile | FetchedFile
    path: str
    mode: str
    mtime: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesLayer:
    """A layer of files; `archive` is the name of its tar among those that are handed to the engine."""

    archive: str
    files: tuple[PlannedFile, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What a Dockerfile says of it to people, a line each."""
        return tuple(f"{file.mode} {file.path}  {file.origin}" for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class RootfsLayer:
    """A layer that is a whole root file system, made of packages."""

    archive: str
    rootfs: RootfsStep

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing, as there would be hundreds of packages."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsLayer:
    """A layer of the base image's accounts with more users among them, and these users' homes."""

    archive: str
    users: UsersStep

    @property
    def notes(self) -> tuple[str, ...]:
        """What a Dockerfile says of it to people, a line each."""
        return tuple(f"what `{user.command}` makes of the accounts of the base" for user in self.users.users)


PlannedLayer = FilesLayer | RootfsLayer | AccountsLayer


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformImage:
    """An image on one platform; `fingerprint` is the sha256 of everything that decides its bytes there, `noted` that by name."""

    platform: Platform
    dockerfile: str
    layers: tuple[PlannedLayer, ...]
    labels: tuple[tuple[str, str], ...]
    env: tuple[tuple[str, str], ...]
    fingerprint: str = ""
    noted: tuple[tuple[str, str], ...] = ()

    @property
    def files(self) -> tuple[PlannedFile, ...]:
        """The files of all its layers, those of root file systems and accounts not among them."""
        return tuple(file for layer in self.layers if isinstance(layer, FilesLayer) for file in layer.files)

    @property
    def roots(self) -> tuple[RootfsStep, ...]:
        """The root file systems that it is made of: one, or none where it stands on a base image."""
        return tuple(layer.rootfs for layer in self.layers if isinstance(layer, RootfsLayer))

    @property
    def accounts(self) -> tuple[UsersStep, ...]:
        """What adds users to it."""
        return tuple(layer.users for layer in self.layers if isinstance(layer, AccountsLayer))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """An image in one variant, on every platform; `references` are all the tags it will get.

    An image that is made of packages has neither a variant nor a base. `template` is the file that its Dockerfiles are
    written with.
    """

    image: str
    variant: str
    template: str
    base: LockedBase | None
    user: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    workdir: str
    platforms: tuple[PlatformImage, ...]
    annotations: tuple[tuple[str, str], ...]
    references: tuple[ImageReference, ...]
    is_default: bool

    @property
    def key(self) -> str:
        """`pilot-distroless`, or `base`."""
        return f"{self.image}-{self.variant}" if self.variant else self.image

    @property
    def fingerprint(self) -> str:
        """The sha256 of everything that decides the image's bytes, platform by platform."""
        return dict(self.annotations)[FINGERPRINT_ANNOTATION]


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorPlan:
    """An image that is copied as it is. `platforms` are those that it must have; `fixed_tags` are no `--tag`'s."""

    image: str
    source: ImageReference
    platforms: tuple[Platform, ...]
    variants: tuple[tuple[str, bool], ...]
    fixed_tags: tuple[str, ...]
    references: tuple[ImageReference, ...]

    @property
    def key(self) -> str:
        """The image's name: its variants are one image."""
        return self.image

    @property
    def digest(self) -> Digest:
        """The digest that it has at its source, and is to have at the hubs."""
        assert self.source.digest is not None
        return self.source.digest


@dataclass(frozen=True, slots=True, order=True)
class Unit:
    """What is built in one go and never split: an image in one variant on one platform.

    A mirror is copied whole, so that it has no platform here (""), and no variant.
    """

    image: str
    variant: str
    platform: str

    def __str__(self) -> str:
        return f"{self.image}{self.variant and '-'}{self.variant} {self.platform}".rstrip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Which part of a whole is meant, from 1 on; `whole` has what each part holds."""

    number: int
    whole: tuple[tuple[Unit, ...], ...]

    def __str__(self) -> str:
        return f"{self.number}/{len(self.whole)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One release: all images of a run.

    `made` is what parts of one release that are built apart must have in common, by name: see `plan.made`. `shard` is the
    part that this plan is of a greater one. `source_tag` is the commit's git tag, "" where it has none or there are changes,
    `patches` among them.
    """

    version: str
    hub: str
    commit: str
    go_version: str
    go_reason: str
    compile_image: str
    source_date_epoch: int
    compression: str
    platforms: tuple[Platform, ...]
    compiles: tuple[CompileStep, ...]
    artifacts: tuple[LockedArtifact, ...]
    images: tuple[ImagePlan, ...]
    mirrors: tuple[MirrorPlan, ...] = ()
    made: tuple[tuple[str, str], ...] = ()
    shard: Shard | None = None
    source_tag: str = ""
    patches: tuple[AppliedPatch, ...] = ()

    @property
    def everything(self) -> tuple[ImagePlan | MirrorPlan, ...]:
        """All that goes to the hubs, built or copied."""
        return (*self.images, *self.mirrors)
