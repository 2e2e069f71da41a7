"""The edge of the network with --offline: adapters that answer from the cache, and raise where they would have to ask.

All that reaches the network goes through one of these; hubs alone are spoken to. Git and Go are told so themselves, by the
variables that `offline_environment` sets.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from builder.errors import OfflineError, SourceError
from builder.images.known_content import KnownContent
from builder.oci.manifest import Descriptor, FoundBlob, Manifest
from builder.oci.reference import Digest, ImageReference, Repository, redact_url
from builder.ports import (
    Downloader,
    FoundPackage,
    GoToolchain,
    GoToolchains,
    GoUnavailable,
    PackageSources,
    PackageWishes,
    Registry,
    TreeState,
    UploadOutcome,
)

_WAY_OUT = "`istio-build lock --fetch`, with the same settings and without --offline, fetches all that is needed into the cache."
_BY_TAG = "A tag is asked of its registry each time: bind it with `istio-build lock`, and add --locked."


def offline_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment in which neither Go nor git asks anybody; a git repository on this machine is read.

    GONOPROXY because Go fetches what that names directly, whatever GOPROXY says (https://go.dev/ref/mod#private-modules);
    GIT_NO_LAZY_FETCH because a partial clone fetches what it lacks (git 2.45).
    """
    return {
        **environment,
        "GOPROXY": "off",
        "GONOPROXY": "none",
        "GOVCS": "*:off",
        "GIT_ALLOW_PROTOCOL": "file",
        "GIT_NO_LAZY_FETCH": "1",
    }


def _refusal(what: str, hint: str = _WAY_OUT) -> OfflineError:
    return OfflineError(f"{what} is not in the cache, and --offline fetches nothing", hint=hint)


class _NobodyThere:
    """A `ports.ImageReader` of a registry that may not be asked."""

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        raise _refusal(f"image {reference}", _WAY_OUT if reference.digest else _BY_TAG)

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        raise _refusal(f"the configuration {descriptor.digest} of {repository}")


class OfflineRegistry:
    """Implements `ports.Registry`: hubs are asked, `hosts` are theirs; what others have is read from the cache by digest."""

    def __init__(self, registry: Registry, hosts: frozenset[str], documents: Path) -> None:
        self._registry = registry
        self._hosts = hosts
        self._cached = KnownContent(_NobodyThere(), documents)

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        """See `ports.ImageReader.get_manifest`."""
        return (self._registry if self._may_ask(reference.repository) else self._cached).get_manifest(reference)

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        """See `ports.ImageReader.get_blob`."""
        return (self._registry if self._may_ask(repository) else self._cached).get_blob(repository, descriptor)

    def pull_blob(
        self, repository: Repository, descriptor: Descriptor, into: Path, *, on_bytes: Callable[[int], None] | None = None
    ) -> None:
        """See `ports.RegistryReader.pull_blob`."""
        self._check(repository, f"layer {descriptor.digest} of {repository}")
        self._registry.pull_blob(repository, descriptor, into, on_bytes=on_bytes)

    def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """See `ports.RegistryReader.has_blob`."""
        self._check(repository, f"whether {repository} has {digest}")
        return self._registry.has_blob(repository, digest)

    def find_blob(self, repository: Repository, digest: Digest) -> FoundBlob | None:
        """See `ports.BlobFinder.find_blob`."""
        self._check(repository, f"whether {repository} has {digest}")
        return self._registry.find_blob(repository, digest)

    def has_manifest(self, repository: Repository, digest: Digest) -> bool:
        """See `ports.RegistryWriter.has_manifest`."""
        self._check(repository, f"whether {repository} has {digest}")
        return self._registry.has_manifest(repository, digest)

    def find_referrers(self, repository: Repository, digest: Digest) -> tuple[Descriptor, ...] | None:
        """See `ports.ReferrerFinder.find_referrers`."""
        self._check(repository, f"what refers to {digest} in {repository}")
        return self._registry.find_referrers(repository, digest)

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """See `ports.TagLister.list_tags`."""
        self._check(repository, f"which tags {repository} has")
        return self._registry.list_tags(repository)

    def check_push(self, repository: Repository) -> None:
        """See `ports.RegistryWriter.check_push`."""
        self._check(repository, f"the hub {repository}")
        self._registry.check_push(repository)

    def push_blob(
        self,
        repository: Repository,
        descriptor: Descriptor,
        content: Callable[[], Path],
        *,
        mount_from: Sequence[Repository] = (),
        on_bytes: Callable[[int], None] | None = None,
    ) -> UploadOutcome:
        """See `ports.RegistryWriter.push_blob`."""
        self._check(repository, f"the hub {repository}")
        return self._registry.push_blob(repository, descriptor, content, mount_from=mount_from, on_bytes=on_bytes)

    def put_manifest(self, repository: Repository, manifest: Manifest) -> None:
        """See `ports.RegistryWriter.put_manifest`."""
        self._check(repository, f"the hub {repository}")
        self._registry.put_manifest(repository, manifest)

    def put_tag(self, reference: ImageReference, manifest: Manifest) -> None:
        """See `ports.TagStore.put_tag`."""
        self._check(reference.repository, f"the hub {reference.repository}")
        self._registry.put_tag(reference, manifest)

    def delete_tag(self, reference: ImageReference) -> bool:
        """See `ports.TagStore.delete_tag`."""
        self._check(reference.repository, f"the hub {reference.repository}")
        return self._registry.delete_tag(reference)

    def _may_ask(self, repository: Repository) -> bool:
        return repository.registry in self._hosts

    def _check(self, repository: Repository, what: str) -> None:
        if not self._may_ask(repository):
            raise _refusal(what)


class OfflineDownloader:
    """Implements `ports.Downloader` for files of this machine; what is cached is not asked for in the first place."""

    def __init__(self, downloader: Downloader) -> None:
        self._downloader = downloader

    def read_text(self, url: str) -> str | None:
        """See `ports.Downloader.read_text`."""
        return self._local(url).read_text(url)

    def download(self, url: str, sha256: str, into: Path, *, on_bytes: Callable[[int, int], None] | None = None) -> None:
        """See `ports.Downloader.download`."""
        self._local(url).download(url, sha256, into, on_bytes=on_bytes)

    def exists(self, url: str) -> bool:
        """See `ports.Downloader.exists`."""
        return self._local(url).exists(url)

    def download_unsummed(self, url: str, into: Path) -> str:
        """See `ports.Downloader.download_unsummed`."""
        return self._local(url).download_unsummed(url, into)

    def _local(self, url: str) -> Downloader:
        if "://" in url and not url.startswith("file://"):
            raise _refusal(redact_url(url))
        return self._downloader


class OfflineGo:
    """Implements `ports.GoToolchains`: the machine's Go, and those in Go's module cache. In `offline_environment`."""

    def __init__(self, toolchains: GoToolchains) -> None:
        self._toolchains = toolchains

    def installed(self) -> GoToolchain:
        """See `ports.GoToolchains.installed`."""
        return self._toolchains.installed()

    def versions(self) -> tuple[str, ...]:
        """See `ports.GoToolchains.versions`."""
        raise _refusal("which versions of Go there are", "Name one with --go 1.25.9, or bind it with `istio-build lock`.")

    def fetch(self, version: str) -> GoToolchain:
        """See `ports.GoToolchains.fetch`. An error, and not another Go in its place, as when a proxy lacks it."""
        try:
            return self._toolchains.fetch(version)
        except GoUnavailable as error:
            raise _refusal(f"Go {version}") from error


class OfflinePackages:
    """Implements `ports.PackageFinder`."""

    def find(self, sources: PackageSources, wishes: PackageWishes) -> tuple[FoundPackage, ...]:
        """See `ports.PackageFinder.find`."""
        raise _refusal(
            f"what packages there are for {sources.architecture}", "Bind them with `istio-build lock`, and add --locked."
        )


class Releases(Protocol):
    """Knows the releases of repositories: `host.git.Git`."""

    def list_tags(self, url: str) -> tuple[str, ...]:
        """The names of all tags. Raises SourceError."""

    def checkout_release(self, url: str, tag: str) -> Path:
        """A work tree of this tag. Raises SourceError."""

    def describe(self, tree: Path) -> TreeState:
        """What git says of a work tree. Raises SourceError."""

    def patch(self, tree: Path, patches: Sequence[tuple[str, bytes]], into: Path) -> tuple[Path, str]:
        """A copy of a work tree with patches applied, and its git tree id. Raises PatchError, SourceError."""


class OfflineReleases:
    """Fetched releases of Istio; `git` is in `offline_environment`."""

    def __init__(self, git: Releases) -> None:
        self._git = git
        self.describe = git.describe
        self.patch = git.patch

    def list_tags(self, url: str) -> tuple[str, ...]:
        """All tags of a repository on this machine. Raises OfflineError for any other."""
        try:
            return self._git.list_tags(url)
        except SourceError as error:
            if _is_cut_off(error):
                hint = "Name a release exactly, such as 1.29.0, or --locked for the one that istio-build.lock binds."
                raise _refusal(f"which releases {redact_url(url)} has", hint) from error
            raise

    def checkout_release(self, url: str, tag: str) -> Path:
        """A work tree of this tag. Raises OfflineError where it was not fetched before."""
        try:
            return self._git.checkout_release(url, tag)
        except SourceError as error:
            if _is_cut_off(error):
                raise _refusal(f"release {tag} of {redact_url(url)}") from error
            raise


def _is_cut_off(error: SourceError) -> bool:
    return "transport" in error.message and "not allowed" in error.message
