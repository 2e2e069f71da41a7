"""Finds artifacts: a file of the user's own, a published archive, or the program within a published image.

They are looked for in the order of their sources, and the first that has one is taken. Istio's own way knows the second
alone (bin/init.sh in istio/istio), though the archives of some releases are not there any more (istio/istio#59466).
"""

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from builder.config.request import ARTIFACT_SOURCES, ARTIFACTS_WITH_FLAGS, ArtifactOverride, Request
from builder.errors import ArtifactError, RecipeError, RegistryError, RequestError
from builder.oci.manifest import ImageConfig, Manifest
from builder.oci.reference import SUPPORTED_PLATFORMS, ImageReference, Platform, redact_url
from builder.plan.lock import ImageArtifact, LockedArtifact, UrlArtifact
from builder.plan.selection import platform_values
from builder.recipe.schema import Artifact, ReleaseRecipe
from builder.recipe.template import render_text
from builder.resolve.lookups import Lookups
from builder.resolve.own_files import SHA256, first_field, is_archive, lock_override, place_of
from builder.runtime.atomic_file import whole_file
from builder.runtime.last_use import mark_used


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
class _Published:
    """Where a file may be published: its URL, that of its checksum ("" where it has none), the member if it is an archive."""

    url: str
    sum_url: str
    member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFinder:
    """Looks artifacts up, from many threads at once. `values` are those of expressions in recipes."""

    request: Request
    release: ReleaseRecipe
    values: Mapping[str, Any]
    lookups: Lookups

    def find(self, name: str, platform: Platform) -> LockedArtifact:
        """The artifact, bound to a checksum. Raises ArtifactError, with all that was tried, where it cannot be had."""
        wanted = self._want(name, platform)
        look: Mapping[str, Callable[[_Wanted], Iterator[LockedArtifact | _NotHere]]] = {
            "file": self._find_own,
            "url": self._find_published,
            "image": self._find_in_image,
        }
        tried: list[str] = []
        for source in self._sources(wanted):
            for found in look[source](wanted):
                if isinstance(found, _NotHere):
                    tried.append(str(found))
                    continue
                if tried:
                    self.lookups.note(f"{wanted} is taken from {redact_url(found.location)}, for {'; '.join(tried)}.")
                return found
        reasons = "\n".join(f"  {reason}" for reason in tried or ["no source is left to look at"])
        raise ArtifactError(f"{wanted} cannot be had:\n{reasons}", hint=_ways_out(wanted))

    def places(self, name: str, platform: Platform) -> tuple[str, ...]:
        """The places that `find` would look at, in its order, without looking at any: what is asked for, as text.

        No credential is in it. A file of the user's own is `file` wherever it lies, as its sum says what it is.
        """
        return tuple(place for _, place in self.places_by_source(name, platform))

    def places_by_source(self, name: str, platform: Platform) -> tuple[tuple[str, str], ...]:
        """The same, each with the source that it is of: `file`, `url` or `image`."""
        wanted = self._want(name, platform)
        look: Mapping[str, Callable[[_Wanted], Iterator[str]]] = {
            "file": lambda wanted: (place_of(override) for override in self._overrides(wanted)),
            "url": lambda wanted: (redact_url(place.url) for place in self._published(wanted)),
            "image": lambda wanted: (f"image {text}" for text in self._images(wanted)),
        }
        return tuple((source, place) for source in self._sources(wanted) for place in look[source](wanted))

    def find_own(self, name: str, platform: Platform) -> LockedArtifact | None:
        """The user's own for this platform, summed, where there is one."""
        return next(self._find_own(self._want(name, platform)), None)

    def real_url(self, name: str, platform: Platform, redacted: str) -> str:
        """The URL among the places that shows as this one, with the credentials that the request has for it."""
        wanted = self._want(name, platform)
        own = (override.location.partition("#sha256=")[0] for override in self._overrides(wanted))
        urls = (*own, *(place.url for place in self._published(wanted)))
        return next((url for url in urls if redact_url(url) == redacted), redacted)

    def _want(self, name: str, platform: Platform) -> _Wanted:
        here = {**self.values, **platform_values(platform)}
        return _Wanted(name=name, platform=platform, artifact=self.release.artifacts[name], values=here)

    def _sources(self, wanted: _Wanted) -> tuple[str, ...]:
        return dict(self.request.artifact_sources).get(wanted.settings, ARTIFACT_SOURCES)

    def _overrides(self, wanted: _Wanted) -> Iterator[ArtifactOverride]:
        for override in self.request.artifact_overrides:
            if (override.artifact, override.platform) == (wanted.name, wanted.platform):
                yield override

    def _find_own(self, wanted: _Wanted) -> Iterator[LockedArtifact]:
        for override in self._overrides(wanted):
            yield lock_override(override, wanted.artifact.member, self.lookups.downloader)

    def _published(self, wanted: _Wanted) -> tuple[_Published, ...]:
        """Every URL that the file may be at; none where nobody publishes it."""
        artifact, debug = wanted.artifact, self._is_debug(wanted)
        if debug and not artifact.debug_file:
            raise RequestError(f"there is no debug build of {wanted.name}", hint="release.yaml names none (debug_file).")
        kind = "debug_file" if debug else "file"
        file = self._render_file(wanted, kind, artifact.debug_file if debug else artifact.file)
        if not file:
            return ()
        sums = artifact.debug_checksum if debug else artifact.checksum
        checksum = self._render_file(wanted, "debug_checksum" if debug else "checksum", sums) if sums else ""
        mirror = dict(self.request.artifact_urls).get(wanted.settings)
        member = artifact.member if is_archive(file) else ""
        bases = [base.rstrip("/") for base in ((mirror,) if mirror else artifact.base_urls)]
        return tuple(
            _Published(url=f"{base}/{file}", sum_url=f"{base}/{checksum}" if checksum else "", member=member) for base in bases
        )

    def _find_published(self, wanted: _Wanted) -> Iterator[LockedArtifact | _NotHere]:
        places = self._published(wanted)
        if not places:
            debug = "a debug build of " if self._is_debug(wanted) else ""
            yield _NotHere(f"nobody publishes {debug}{wanted} in this release")
        for place in places:
            try:
                sha256 = self._find_sum(wanted, place.url, place.sum_url)
            except _NotHere as missing:
                yield missing
            else:
                name, platform = wanted.name, wanted.platform
                yield UrlArtifact(name=name, platform=platform, url=place.url, sha256=sha256, member=place.member)

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
        sha256 = first_field(text, sum_url or f"{url}.sha256")
        mark_used(self.lookups.cache / sha256)
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
        if not SHA256.fullmatch(remembered):
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

    def _images(self, wanted: _Wanted) -> Iterator[str]:
        """The image that may hold it, if any."""
        named = dict(self.request.artifact_images).get(wanted.settings)
        text = named or render_text(wanted.artifact.image, wanted.values, f"release.yaml: artifacts.{wanted.name}.image")
        if text and wanted.artifact.image_path:
            yield text

    def _find_in_image(self, wanted: _Wanted) -> Iterator[LockedArtifact | _NotHere]:
        for text in self._images(wanted):
            if self._is_debug(wanted) and wanted.settings not in dict(self.request.artifact_images):
                yield _NotHere(f"{text} holds no debug build")
            else:
                yield self._find_at(wanted, ImageReference.parse(text))

    def _find_at(self, wanted: _Wanted, reference: ImageReference) -> LockedArtifact | _NotHere:
        try:
            pinned = reference.pinned(self._find_manifest(wanted, reference).digest)
        except RegistryError as error:
            return _NotHere(error.message)
        except _NotHere as missing:
            return missing
        return ImageArtifact(name=wanted.name, platform=wanted.platform, reference=pinned, member=wanted.artifact.image_path)

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
