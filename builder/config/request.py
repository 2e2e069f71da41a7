"""What the user asks for, once flags, environment and project file have been merged."""

from dataclasses import dataclass
from pathlib import Path

from builder.oci.reference import Hub, Platform
from builder.recipe.release_wish import ReleaseWish

# What --go may be besides a version; the first is the default.
GO_WISHES = ("release", "machine", "newest")
# Where an artifact may come from, in the order in which they are looked at unless the user says otherwise.
ARTIFACT_SOURCES = ("file", "url", "image")
# Those with flags of their own: --NAME, --NAME-url, --NAME-image, --NAME-from.
ARTIFACTS_WITH_FLAGS = ("envoy", "ztunnel")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactOverride:
    """A file or URL to take instead of the one that Istio publishes, for one platform."""

    artifact: str
    platform: Platform
    location: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GoRequest:
    """How Go programs are to be compiled: with which Go (`release`, `machine`, `newest` or a version) or in which image,
    with which flags and environment besides the recipe's, and whether for a debugger."""

    version: str = "release"
    image: str = ""
    flags: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    debug: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run's wishes; nothing in it has been looked up yet.

    Empty `tags` means: the version of the source; they may have placeholders until that is known. `moving_tags` are set
    besides. Empty `images` and `variants`: all that the recipes know. The first hub and the first tag are stamped into the
    programs.
    """

    hubs: tuple[Hub, ...]
    tags: tuple[str, ...]
    platforms: tuple[Platform, ...]
    images: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    base_registry: str = ""
    bases: tuple[tuple[str, str], ...] = ()
    artifact_urls: tuple[tuple[str, str], ...] = ()
    artifact_overrides: tuple[ArtifactOverride, ...] = ()
    build_bases: bool = False
    base_distribution: str = ""
    apt_mirrors: tuple[tuple[str, str], ...] = ()
    compression: str = "gzip"
    artifact_sources: tuple[tuple[str, tuple[str, ...]], ...] = ()
    artifact_images: tuple[tuple[str, str], ...] = ()
    debug_artifacts: tuple[str, ...] = ()
    mirror_sources: tuple[tuple[str, str], ...] = ()
    go: GoRequest = GoRequest()
    moving_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRequest:
    """Where Istio's source is to come from: a directory, or a release of a repository.

    `release` is its tag, "" where `wishes` have to be held against the tags of the repository first.
    """

    directory: Path | None = None
    release: str = ""
    url: str = ""
    wishes: tuple[ReleaseWish, ...] = ()

    @property
    def may_be_several(self) -> bool:
        """Whether it can mean more than one release, now or another day."""
        return len(self.wishes) > 1 or any(wish.may_be_several for wish in self.wishes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Which tags may be taken away, by patterns as of a shell, and how many releases of each stay; 0 where nothing says so."""

    patterns: tuple[str, ...] = ()
    keep: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """What may stay in the cache: what was used within so many seconds, and so many bytes in all. None is no limit."""

    keep: float | None = None
    max_size: int | None = None

    @property
    def none_given(self) -> bool:
        """Whether all may stay."""
        return self.keep is None and self.max_size is None
