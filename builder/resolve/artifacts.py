"""Finds artifacts: a file of the user's own, a published archive, or the program within a published image.

They are looked for in the order of their sources, and the first that has one is taken. Istio's own way knows the second
alone (bin/init.sh in istio/istio), though the archives of some releases are not there any more (istio/istio#59466).
"""

import contextlib
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.config.request import ARTIFACT_SOURCES, ARTIFACTS_WITH_FLAGS, ArtifactOverride, Request
from builder.errors import ArtifactError, ChecksumError, RecipeError, RegistryError, RequestError
from builder.oci.manifest import ImageConfig, Manifest
from builder.oci.reference import SUPPORTED_PLATFORMS, ImageReference, Platform, redact_url
from builder.plan.lock import FileArtifact, ImageArtifact, LockedArtifact, UrlArtifact
from builder.plan.selection import platform_values
from builder.ports import Downloader
from builder.recipe.schema import Artifact, ReleaseRecipe
from builder.recipe.template import render_text
from builder.resolve.lookups import Lookups
from builder.runtime.atomic_file import sum_file, whole_file

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_ARCHIVES = (".tar.gz", ".tgz")


class _NotHere(Exception):
    """A place does not have it; the text is why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One artifact on one platform."""

    name: str
    platform: Platform
    artifact: Artifact
    values: Mapping[str, Any]

    @property
    def settings(self) -> str:
        """The artifact whose settings (--NAME-url, --NAME-image, --NAME-from) count."""
        return self.artifact.beside or self.name

    def __str__(self) -> str:
        return f"{self.name} for {self.platform}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFinder:
    """Looks artifacts up, from many threads at once. `values` are those of expressions in recipes."""

    request: Request
    release: ReleaseRecipe
    values: Mapping[str, Any]
    lookups: Lookups

    def find(self, name: str, platform: Platform) -> LockedArtifact:
        """The artifact, bound to a checksum. Raises ArtifactError, with all that was tried, where it cannot be had."""
        here = {**self.values, **platform_values(platform)}
        wanted = _Wanted(name=name, platform=platform, artifact=self.release.artifacts[name], values=here)
        look: Mapping[str, Callable[[_Wanted], Iterator[LockedArtifact | _NotHere]]] = {
            "file": self._find_own,
            "url": self._find_published,
            "image": self._find_in_image,
        }
        tried: list[str] = []
        for source in dict(self.request.artifact_sources).get(wanted.settings, ARTIFACT_SOURCES):
            for found in look[source](wanted):
                if isinstance(found, _NotHere):
                    tried.append(str(found))
                    continue
                if tried:
                    self.lookups.note(f"{wanted} is taken from {redact_url(found.location)}, for {'; '.join(tried)}.")
                return found
        reasons = "\n".join(f"  {reason}" for reason in tried or ["no source is left to look at"])
        raise ArtifactError(f"{wanted} cannot be had:\n{reasons}", hint=_ways_out(wanted))

    def _find_own(self, wanted: _Wanted) -> Iterator[LockedArtifact]:
        for override in self.request.artifact_overrides:
            if (override.artifact, override.platform) == (wanted.name, wanted.platform):
                yield _lock_override(override, wanted.artifact.member, self.lookups.downloader)

    def _find_published(self, wanted: _Wanted) -> Iterator[LockedArtifact | _NotHere]:
        artifact, debug = wanted.artifact, self._is_debug(wanted)
        if debug and not artifact.debug_file:
            raise RequestError(f"there is no debug build of {wanted.name}", hint="release.yaml names none (debug_file).")
        kind = "debug_file" if debug else "file"
        file = self._render_file(wanted, kind, artifact.debug_file if debug else artifact.file)
        if not file:
            yield _NotHere(f"nobody publishes {'a debug build of ' if debug else ''}{wanted} in this release")
            return
        sums = artifact.debug_checksum if debug else artifact.checksum
        checksum = self._render_file(wanted, "debug_checksum" if debug else "checksum", sums) if sums else ""
        mirror = dict(self.request.artifact_urls).get(wanted.settings)
        member = artifact.member if _is_archive(file) else ""
        for base_url in (mirror,) if mirror else artifact.base_urls:
            below = base_url.rstrip("/")
            url = f"{below}/{file}"
            try:
                sha256 = self._find_sum(wanted, url, f"{below}/{checksum}" if checksum else "")
            except _NotHere as missing:
                yield missing
            else:
                yield UrlArtifact(name=wanted.name, platform=wanted.platform, url=url, sha256=sha256, member=member)

    def _find_sum(self, wanted: _Wanted, url: str, sum_url: str) -> str:
        """The sha256 of what is at this URL."""
        try:
            text = self.lookups.downloader.read_text(sum_url or f"{url}.sha256")
        except ArtifactError as error:
            raise _NotHere(error.message) from error
        if text is None and sum_url:
            raise _NotHere(f"{redact_url(sum_url)} is not there")
        if text is None:
            return self._find_unsummed(wanted, url)
        sha256 = _first_field(text, sum_url or f"{url}.sha256")
        if not (self.lookups.cache / sha256).exists():
            self._check_there(url)
        return sha256

    def _check_there(self, url: str) -> None:
        """Checksums outlive their archives: some were published for an Envoy that is not there any more."""
        try:
            there = self.lookups.downloader.exists(url)
        except ArtifactError as error:
            raise _NotHere(error.message) from error
        if not there:
            raise _NotHere(f"{redact_url(url)} is not there")

    def _find_unsummed(self, wanted: _Wanted, url: str) -> str:
        """What has no published checksum is trusted as it first came: it is fetched now, and its sum remembered."""
        memory = self.lookups.cache / f"{hashlib.sha256(url.encode()).hexdigest()}.first-use"
        try:
            remembered = memory.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            remembered = ""
        if not _SHA256.fullmatch(remembered):
            self._check_there(url)
            remembered = self._fetch_unsummed(url)
            with whole_file(memory) as partial:
                partial.write_text(f"{remembered}\n", encoding="ascii")
        self.lookups.note(
            f"{wanted}: no checksum of {redact_url(url)} is published; it is bound to sha256 {remembered} as it first came."
        )
        return remembered

    def _fetch_unsummed(self, url: str) -> str:
        self.lookups.cache.mkdir(parents=True, exist_ok=True)
        part = self.lookups.cache / f"{hashlib.sha256(url.encode()).hexdigest()}.unsummed"
        sha256 = self.lookups.downloader.download_unsummed(url, part)
        # Another run may have fetched it at the same time, and put it there.
        with contextlib.suppress(FileNotFoundError):
            part.replace(self.lookups.cache / sha256)
        return sha256

    def _find_in_image(self, wanted: _Wanted) -> Iterator[LockedArtifact | _NotHere]:
        named = dict(self.request.artifact_images).get(wanted.settings)
        origin = f"release.yaml: artifacts.{wanted.name}.image"
        text = named or render_text(wanted.artifact.image, wanted.values, origin)
        if not text or not wanted.artifact.image_path:
            return
        if self._is_debug(wanted) and not named:
            yield _NotHere(f"{text} holds no debug build")
            return
        reference = ImageReference.parse(text)
        try:
            pinned = reference.pinned(self._find_manifest(wanted, reference).digest)
        except RegistryError as error:
            yield _NotHere(error.message)
        except _NotHere as missing:
            yield missing
        else:
            yield ImageArtifact(name=wanted.name, platform=wanted.platform, reference=pinned, member=wanted.artifact.image_path)

    def _find_manifest(self, wanted: _Wanted, reference: ImageReference) -> Manifest:
        """The platform's own manifest, whatever the index says checked against the image's configuration."""
        manifest = self.lookups.registry.get_manifest(reference)
        if manifest is None:
            raise _NotHere(f"image {reference} does not exist")
        if manifest.is_index:
            child = manifest.child_for(wanted.platform)
            manifest = self.lookups.registry.get_manifest(reference.repository.at(child.digest)) if child else None
        if manifest:
            config = ImageConfig.parse(self.lookups.registry.get_blob(reference.repository, manifest.config()))
            if config.platform == wanted.platform:
                return manifest
        raise _NotHere(f"image {reference} has no {wanted.platform}")

    def _is_debug(self, wanted: _Wanted) -> bool:
        return wanted.name in self.request.debug_artifacts

    def _render_file(self, wanted: _Wanted, key: str, files: Mapping[Any, str | None]) -> str:
        """The name for the platform; "" where there is no such file, RecipeError where its name is that of no file."""
        origin = f"release.yaml: artifacts.{wanted.name}.{key}"
        text = files.get(wanted.platform.architecture)
        name = render_text(text, wanted.values, origin) if text else ""
        if name.startswith("/") or ".." in name.split("/"):
            raise RecipeError(f"{origin}: {name!r} is not below a base URL")
        return name


def _ways_out(wanted: _Wanted) -> str:
    name, settings = wanted.name, wanted.settings
    ways = [f"--{name} {wanted.platform}=PATH-or-URL names a file of your own"] if name in ARTIFACTS_WITH_FLAGS else []
    if settings in ARTIFACTS_WITH_FLAGS:
        ways.append(f"--{settings}-url a mirror")
        ways.append(f"--{settings}-image an image that has {wanted.platform}")
    others = [platform for platform in SUPPORTED_PLATFORMS if platform != str(wanted.platform)]
    ways.append(f"--platform {' or '.join(others)} leaves this platform out")
    return f"{'; '.join(ways)}."


def _lock_override(override: ArtifactOverride, member: str, downloader: Downloader) -> FileArtifact | UrlArtifact:
    """A file is summed; a URL has its sum as `#sha256=…` or in a file beside it."""
    location, separator, promised = override.location.partition("#sha256=")
    what = f"{override.artifact} for {override.platform}"
    if separator and not _SHA256.fullmatch(promised):
        raise RequestError(f"{what}: {promised!r} is no sha256", hint="Write it as #sha256=<64 hex digits>.")
    name, platform = override.artifact, override.platform
    if "://" in location:
        sha256 = (promised or _published_sum(override, location, downloader)).lower()
        own_member = member if _is_archive(location) else ""
        return UrlArtifact(name=name, platform=platform, url=location, sha256=sha256, member=own_member)
    path = _expand(Path(location))
    if not path.is_file():
        raise ArtifactError(f"{what}: there is no file {path}", hint=f"--{override.artifact} names a file or a URL.")
    sha256 = sum_file(path)
    if promised and promised.lower() != sha256:
        raise ChecksumError(f"{path} is not what it should be: its sha256 is {sha256}, not {promised.lower()}")
    whole = str(path.resolve())
    own_member = member if _is_archive(whole) else ""
    return FileArtifact(name=name, platform=platform, path=whole, sha256=sha256, member=own_member)


def _expand(path: Path) -> Path:
    """With `~` and `~NAME` as in a shell; as it stands where there is no such user, or no home."""
    try:
        return path.expanduser()
    except RuntimeError:
        return path


def _is_archive(location: str) -> bool:
    return location.partition("?")[0].endswith(_ARCHIVES)


def _published_sum(override: ArtifactOverride, url: str, downloader: Downloader) -> str:
    """Beside `envoy.tar.gz?token=…` lies `envoy.tar.gz.sha256?token=…`, or, as at Istio's own place, `envoy.sha256`."""
    path, mark, query = url.partition("?")
    stem = path.removesuffix(".tar.gz").removesuffix(".tgz")
    for candidate in dict.fromkeys((f"{path}.sha256{mark}{query}", f"{stem}.sha256{mark}{query}")):
        text = downloader.read_text(candidate)
        if text is not None:
            return _first_field(text, candidate)
    raise ArtifactError(
        f"{override.artifact} for {override.platform}: no checksum is published beside {redact_url(url)}",
        hint=f"Say what it must be: --{override.artifact} '{override.platform}={redact_url(url)}#sha256=<64 hex digits>'.",
    )


def _first_field(text: str, url: str) -> str:
    """The sum: Istio's checksum files go on with a path on the builder's machine, so only the first field counts."""
    fields = text.split()
    if not fields or not _SHA256.fullmatch(fields[0]):
        raise ArtifactError(
            f"{redact_url(url)} does not hold a sha256 checksum", hint="Does the mirror answer with a page of its own?"
        )
    return fields[0].lower()
