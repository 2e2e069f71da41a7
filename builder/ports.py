"""What the stages need of the world, as small protocols; `builder.pipeline.wiring` hands in what fulfils them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from builder.oci.image_config import AddedConfig, BaseImage
from builder.oci.manifest import Descriptor, FoundBlob, Manifest
from builder.oci.reference import Digest, ImageReference, Platform, Repository


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A process that ended with status 0: what it wrote."""

    stdout: str
    stderr: str


class ProcessFailed(Exception):
    """A process ended with another status than 0, or never started (`returncode` 127). Stages turn it into their own."""

    def __init__(self, argv: Sequence[str], returncode: int, stdout: str, stderr: str) -> None:
        super().__init__(f"{argv[0]} ended with status {returncode}")
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class ProcessSilent(ProcessFailed):
    """A process printed nothing for as long as it was given, and was ended."""


class ProcessRunner(Protocol):
    """Runs programs, each in a process group of its own that is ended when the run is interrupted."""

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        on_line: Callable[[str], None] | None = None,
        idle_timeout: float | None = None,
    ) -> Completed:
        """Run to the end. `env` replaces the whole environment; `on_line` sees each line of stderr as it comes.

        Raises ProcessFailed, Interrupted, or DiskFull. `idle_timeout`: seconds without any output before it is ended,
        which raises ProcessSilent.
        """


class UploadOutcome(StrEnum):
    """How a blob came to be in a repository."""

    PRESENT = "present"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


class ImageReader(Protocol):
    """Reads what registries say of images: indexes, manifests, configurations.

    As all that talks to registries, it raises RegistryError and AccessDenied, and tries again what may pass.
    """

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        """The manifest or index there, None where there is none. A digest that does not fit the bytes is an error."""

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        """A small blob such as an image configuration, checked against its digest."""


class RegistryReader(ImageReader, Protocol):
    """Reads layers, too."""

    def pull_blob(
        self, repository: Repository, descriptor: Descriptor, into: Path, *, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        """Fetch a blob of any size to this path, resuming what an earlier try left beside it; a file is there only once
        it is whole and of its digest. `on_bytes` is given what has come, negative where it comes again. Raises DiskFull.
        """

    def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """Whether a puller would find this blob."""


class BlobFinder(RegistryReader, Protocol):
    """Tells of layers, too, how long they are, without fetching them."""

    def find_blob(self, repository: Repository, digest: Digest) -> FoundBlob | None:
        """What a puller would find of this blob, None where there is none."""


class RegistryWriter(Protocol):
    """Sends content to registries, each thing under its digest; nobody who pulls by a tag sees a difference."""

    def check_push(self, repository: Repository) -> None:
        """Whether the repository would take an upload; nothing is left there. Raises AccessDenied, RegistryError."""

    def push_blob(
        self,
        repository: Repository,
        descriptor: Descriptor,
        content: Callable[[], Path],
        *,
        mount_from: Sequence[Repository] = (),
        on_bytes: Callable[[int], None] | None = None,
    ) -> UploadOutcome:
        """Make sure the blob is there: found, else mounted from another repository of the registry, else uploaded. `content`
        gives its file, and is asked for it only in the last case."""

    def has_manifest(self, repository: Repository, digest: Digest) -> bool:
        """Whether a manifest or index of this digest is there; it is not fetched, and of quotas for pulls takes nothing."""

    def put_manifest(self, repository: Repository, manifest: Manifest) -> None:
        """Store these very bytes under their digest."""


class TagStore(Protocol):
    """Reads, moves and deletes tags."""

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        """As that of `ImageReader`."""

    def put_tag(self, reference: ImageReference, manifest: Manifest) -> None:
        """Have the reference's tag point at these very bytes, which are stored with it."""

    def delete_tag(self, reference: ImageReference) -> bool:
        """Remove a tag, not what it points to. False where the registry cannot do that."""


class ReferrerFinder(Protocol):
    """Knows what refers to a manifest, as signatures do."""

    def find_referrers(self, repository: Repository, digest: Digest) -> tuple[Descriptor, ...] | None:
        """The manifests whose subject it is; None where the registry cannot tell."""


class TagLister(Protocol):
    """Knows which tags there are."""

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """All tags of a repository, in the order of the registry; none where the repository is not there."""


class Registry(BlobFinder, RegistryWriter, TagStore, ReferrerFinder, TagLister, Protocol):
    """A whole client of any number of registries, for who hands it on: a stage asks for the part that it needs."""


class Downloader(Protocol):
    """Fetches files over HTTP(S) or from the file system."""

    def read_text(self, url: str) -> str | None:
        """A small text file, None where the server says there is none (404, or 403 as object stores do)."""

    def download(self, url: str, sha256: str, into: Path, *, on_bytes: Callable[[int, int], None] | None = None) -> None:
        """Fetch to this path, resuming what an earlier try left beside it; the path appears only when the sum is right.

        `on_bytes(done, total)` in bytes, total 0 where unknown. Raises ArtifactError, ChecksumError, DiskFull.
        """

    def exists(self, url: str) -> bool:
        """Whether a file is there, found out without fetching it. Raises ArtifactError where that cannot be told."""

    def download_unsummed(self, url: str, into: Path) -> str:
        """Fetch to this path a file of which nobody knows the checksum; gives its sha256.

        Raises ArtifactError, DiskFull.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblyTarget:
    """One image to assemble for one platform: layers on a base image, and where the OCI layout goes.

    `base` is None for an image from scratch. `layers` are uncompressed tars in `context`, lowest
    first. An entrypoint in `config` makes the base's command void. `dockerfile` is all this as the template of the recipe
    writes it, for an engine that follows Dockerfiles; what it says beyond these values is found when the image is checked.
    """

    name: str
    platform: Platform
    base: BaseImage | None
    layers: tuple[str, ...]
    config: AddedConfig
    dockerfile: str
    context: Path
    destination: Path
    source_date_epoch: int


class Engine(Protocol):
    """Assembles images. Nothing outside the adapter knows which program does it."""

    def prepare(self) -> None:
        """Find out, before any long work, whether it can assemble at all. Raises EngineError."""

    def assemble(self, targets: Sequence[AssemblyTarget], on_progress: Callable[[str], None]) -> None:
        """Write each target as an OCI image layout, one platform each, at its destination; layers in any compression.

        Raises AssembleError, EngineError, BaseImageError, DiskFull, Interrupted.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeState:
    """A source tree as git sees it.

    `content` is the git tree id of all files as they are on disk, so that it changes with any edit. `tag` is the tag
    exactly at HEAD or ""; `description` is `git describe --tags --always`. `committed_at` is in seconds since 1970. `parts` are
    the git ids of what lies directly in it, by name, as far as the commit has that, too.
    """

    commit: str
    committed_at: int
    content: str
    tag: str
    description: str
    dirty: bool
    modified: bool
    parts: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GoToolchain:
    """A Go compiler: its program, its version such as `1.26.0`, and the caller's own settings of where modules live."""

    program: Path
    version: str
    settings: tuple[tuple[str, str], ...]


class GoUnavailable(Exception):
    """A version of Go cannot be had, or not be asked for; the text is the go command's own. Stages turn it into theirs."""


class GoToolchains(Protocol):
    """The machine's Go, and through it every other version."""

    def installed(self) -> GoToolchain:
        """The machine's Go, or one installed beside us. Raises ToolchainError where there is none."""

    def versions(self) -> tuple[str, ...]:
        """All versions that are served, oldest first, candidates for release among them. Raises GoUnavailable."""

    def fetch(self, version: str) -> GoToolchain:
        """This very version: from Go's module cache if it is there, else downloaded and verified. Raises GoUnavailable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoCommand:
    """The words of a `go build`, by what they are for."""

    flags: tuple[str, ...]
    ldflags: tuple[str, ...]
    tags: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """All that stands before the packages."""
        return (*self.flags, "-ldflags", " ".join(self.ldflags), *((f"-tags={','.join(self.tags)}",) if self.tags else ()))

    def argv(self, program: str = "go", into: str = "") -> tuple[str, ...]:
        """The whole command. `into` is the directory its programs go to, with a slash behind it."""
        return (program, "build", *(("-o", into) if into else ()), *self.options, *self.packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class GoBuild:
    """One `go build` to be run: `into` is where its programs go."""

    command: GoCommand
    env: tuple[tuple[str, str], ...]
    platform: Platform
    tree: Path
    into: Path


class Compiler(Protocol):
    """Runs `go build`, be it on this machine or elsewhere."""

    def build(self, build: GoBuild, on_line: Callable[[str], None]) -> None:
        """Leave the programs in `into`; what is there already may be taken for what an earlier build left.

        Raises ProcessFailed with what Go said, ToolchainError, EngineError, BaseImageError, DiskFull, Interrupted.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSources:
    """Archives of packages for one architecture: lines of a sources.list, and the keyring they are signed with."""

    architecture: str
    lines: tuple[str, ...]
    keyring: str
    keyring_package: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageWishes:
    """Packages that are wanted, with all they depend on or by themselves; `?essential` stands for those of every system."""

    with_dependencies: tuple[str, ...]
    alone: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPackage:
    """A package of an archive, and what its file must be."""

    url: str
    file: str
    sha256: str


class PackageFinder(Protocol):
    """Knows what is in archives of packages."""

    def find(self, sources: PackageSources, wishes: PackageWishes) -> tuple[FoundPackage, ...]:
        """The packages that fulfil these wishes, sorted. Raises BaseImageError."""
