"""The lock: everything a plan depends on that had to be looked up, frozen."""

import hashlib
from dataclasses import dataclass

from builder.oci.manifest import Descriptor, ImageConfig
from builder.oci.reference import Digest, ImageReference, Platform
from builder.ports import TreeState
from builder.recipe.istio_release import IstioRelease


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedPatch:
    """A patch that is on the source: the name of its file, and its sha256 (64 hex digits)."""

    name: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name}=sha256:{self.sha256}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What Istio's own tree says: its state in git, and what stands in its files.

    `release` decides which shape of the recipes holds. `pins` are digests by the image whose Dockerfile pins its base.
    Where `patches` are applied, in their order, `state` is that of the tree without them, `patched_content` the git tree id
    with them, and what stands in files is what they made of it.
    """

    state: TreeState
    version: str
    release: IstioRelease
    base_version: str
    go_directive: str
    dependencies: tuple[tuple[str, str], ...]
    pins: tuple[tuple[str, str], ...] = ()
    patches: tuple[AppliedPatch, ...] = ()
    patched_content: str = ""

    @property
    def content(self) -> str:
        """The git tree id of what is built."""
        return self.patched_content or self.state.content

    @property
    def series(self) -> str:
        """What tells these patches, whatever they are called, from others: 12 hex digits, "" where there are none."""
        sums = "".join(patch.sha256 for patch in self.patches)
        return hashlib.sha256(sums.encode()).hexdigest()[:12] if sums else ""

    @property
    def revision(self) -> str:
        """The commit, and behind it what makes the tree another: `-patched-<series>`, and Istio's own `-dirty`."""
        return f"{self.state.commit}{self._patched}{'-dirty' if self.state.dirty else ''}"

    @property
    def release_tag(self) -> str:
        """The commit's git tag, "" where it has none or the tree is not what the tag names."""
        return "" if self.state.dirty or self.patches else self.state.tag

    @property
    def _patched(self) -> str:
        return f"-patched-{self.series}" if self.patches else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBasePlatform:
    """A base image on one platform: its manifest, its configuration, and its layers' blobs, lowest first."""

    platform: Platform
    manifest: Digest
    config: ImageConfig
    layers: tuple[Descriptor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBase:
    """A base image, bound to a digest."""

    name: str
    reference: ImageReference
    platforms: tuple[LockedBasePlatform, ...]

    @property
    def digest(self) -> Digest:
        """The digest of its index (of its manifest, where it has no index)."""
        assert self.reference.digest is not None
        return self.reference.digest

    def on(self, platform: Platform) -> LockedBasePlatform:
        """The base on this platform; resolve has made sure that it is there."""
        return next(entry for entry in self.platforms if entry.platform == platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Download:
    """A file that is fetched whole: the sha256 of it (64 hex digits), and what to take of it where it is an archive."""

    name: str
    platform: Platform
    sha256: str
    member: str = ""

    @property
    def member_file(self) -> str:
        """What the member is called in a cache: several may be asked for of one archive."""
        return _member_file(self.sha256, self.member)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileArtifact(_Download):
    """A file of this machine that the user names."""

    path: str

    @property
    def location(self) -> str:
        """Where it is, for people."""
        return self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class UrlArtifact(_Download):
    """A file that is published."""

    url: str

    @property
    def location(self) -> str:
        """Where it is, for people."""
        return self.url


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageArtifact:
    """A file in an image, which is bound to the manifest for the platform; `member` is the path there."""

    name: str
    platform: Platform
    reference: ImageReference
    member: str

    @property
    def sha256(self) -> str:
        """That of the manifest, which decides what the file holds."""
        assert self.reference.digest is not None
        return self.reference.digest.hex

    @property
    def member_file(self) -> str:
        """What the file is called in a cache: several may be asked for of one image."""
        return _member_file(self.sha256, self.member)

    @property
    def location(self) -> str:
        """Where it is, for people."""
        return str(self.reference)


def _member_file(sha256: str, member: str) -> str:
    return f"{sha256}.{Digest.of(member.encode()).short}.member"


# A file that somebody else built, bound to a sha256.
LockedArtifact = FileArtifact | UrlArtifact | ImageArtifact


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedMirror:
    """An image to copy, bound to the digest of its index; `platforms` are all that it has, asked for or not."""

    image: str
    source: ImageReference
    platforms: tuple[Platform, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDirectory:
    """A directory of the source tree: the files below it, relative to it, each with its mode (octal digits)."""

    source: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedGo:
    """The Go that compiles, and why this one; `image` is what it is taken from, bound to a digest.

    `version` is "" where only the image knows.
    """

    version: str
    reason: str = ""
    image: ImageReference | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackages:
    """The packages that an image is made of on one platform; `sources` are the archives, for the image's own apt."""

    image: str
    platform: Platform
    packages: tuple[UrlArtifact, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """What was looked up for one request. Holds no path of this machine, so equal inputs give equal locks."""

    source: SourceFacts
    go: LockedGo
    bases: tuple[LockedBase, ...]
    artifacts: tuple[LockedArtifact, ...]
    mirrors: tuple[LockedMirror, ...] = ()
    packages: tuple[LockedPackages, ...] = ()
    directories: tuple[ListedDirectory, ...] = ()

    def directory(self, source: str) -> ListedDirectory:
        """What is below this directory of the source tree."""
        return next(directory for directory in self.directories if directory.source == source)

    def base(self, name: str) -> LockedBase:
        """The base of this name in release.yaml."""
        return next(base for base in self.bases if base.name == name)

    def artifact(self, name: str, platform: Platform) -> LockedArtifact:
        """The artifact of this name in release.yaml, for this platform."""
        return next(artifact for artifact in self.artifacts if (artifact.name, artifact.platform) == (name, platform))

    def mirror(self, image: str) -> LockedMirror:
        """What is copied for this image."""
        return next(mirror for mirror in self.mirrors if mirror.image == image)

    def packages_of(self, image: str, platform: Platform) -> LockedPackages:
        """The packages of this image on this platform."""
        return next(locked for locked in self.packages if (locked.image, locked.platform) == (image, platform))
