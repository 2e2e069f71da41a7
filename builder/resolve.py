"""Resolves a request into a lock: looks up base images and artifacts, reads the source, asks for the Go version.

Reads only, and only what the chosen images need.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from builder.errors import ArtifactError, BaseImageError, ChecksumError, RecipeError, RequestError
from builder.lock import Lock, LockedArtifact, LockedBase, LockedBasePlatform, SourceFacts
from builder.oci import ImageConfig, Manifest
from builder.plan import platform_values, recipe_values, select_images
from builder.ports import Downloader, PackageFinder, Registry
from builder.recipe import RecipeBook
from builder.reference import ImageReference, Platform, redact_url
from builder.render import render_text
from builder.request import ArtifactOverride, Request
from builder.resolve_mirror import check_mirror_names, resolve_mirror
from builder.resolve_packages import resolve_packages

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_HASH_CHUNK = 1 << 20
_ARCHIVES = (".tar.gz", ".tgz")


def resolve(
    request: Request,
    book: RecipeBook,
    source: SourceFacts,
    find_go_version: Callable[[], str],
    registry: Registry,
    downloader: Downloader,
    packages: PackageFinder | None = None,
) -> Lock:
    """The lock of this request. Raises the errors of its parts: RequestError, BaseImageError, ArtifactError, …"""
    chosen = select_images(request, book)
    _check_base_names(request, book)
    values = recipe_values(request, book.release, source)
    check_mirror_names(request, book)
    mirrors = [recipe for recipe, _ in chosen if recipe.mirror]
    base_names = sorted({recipe.variants[name].base for recipe, names in chosen for name in names if not recipe.mirror})
    artifact_names = sorted({file.artifact for recipe, _ in chosen for file in recipe.artifacts})
    needs_go = any(recipe.binaries for recipe, _ in chosen)
    # Threads because each look-up is a round trip or three to some registry or web server.
    with ThreadPoolExecutor(max_workers=8) as pool:
        go_version = pool.submit(find_go_version if needs_go else str)
        bases = [pool.submit(_resolve_base, name, request, book, values, registry) for name in base_names]
        artifacts = [
            pool.submit(_resolve_artifact, name, platform, request, book, values, downloader)
            for name in artifact_names
            for platform in request.platforms
        ]
        copies = [pool.submit(resolve_mirror, recipe, request, book, values, registry) for recipe in mirrors]
        roots = [recipe for recipe, _ in chosen if recipe.rootfs]
        found = [pool.submit(resolve_packages, r, on, request, book, packages) for r in roots for on in request.platforms]
        return Lock(
            source=source,
            go_version=go_version.result(),
            bases=tuple(base.result() for base in bases),
            artifacts=tuple(artifact.result() for artifact in artifacts),
            mirrors=tuple(copy.result() for copy in copies),
            packages=tuple(locked.result() for locked in found),
        )


def _check_base_names(request: Request, book: RecipeBook) -> None:
    for name, _ in request.bases:
        if name not in book.release.bases:
            raise RequestError(f"there is no base {name!r}", hint=f"Known bases: {', '.join(sorted(book.release.bases))}.")


def _resolve_base(name: str, request: Request, book: RecipeBook, values: Mapping[str, Any], registry: Registry) -> LockedBase:
    text = dict(request.bases).get(name) or render_text(book.release.bases[name], values, f"release.yaml: bases.{name}")
    reference = ImageReference.parse(text)
    manifest = registry.get_manifest(reference)
    if manifest is None:
        raise BaseImageError(
            f"base image {reference} ({name}) does not exist",
            hint=f"Name another with --base {name}=REFERENCE, or another registry for all with --base-registry.",
        )
    platforms = tuple(_resolve_base_platform(reference, manifest, platform, registry) for platform in request.platforms)
    return LockedBase(name=name, reference=reference.pinned(manifest.digest), platforms=platforms)


def _resolve_base_platform(
    reference: ImageReference, manifest: Manifest, platform: Platform, registry: Registry
) -> LockedBasePlatform:
    if manifest.is_index:
        child = next((child for child in manifest.children() if child.platform == platform), None)
        if child is None:
            # Attestations are listed as unknown/unknown.
            present = sorted(
                str(child.platform) for child in manifest.children() if child.platform and child.platform.os != "unknown"
            )
            raise _lacks_platform(reference, platform, present)
        found = registry.get_manifest(reference.repository.at(child.digest))
        if found is None:
            raise BaseImageError(
                f"base image {reference} lists {platform}, but its manifest {child.digest} is missing",
                hint="The registry holds half an image, as mirrors do that copied one platform only: copy it again.",
            )
        manifest = found
    config = ImageConfig.parse(registry.get_blob(reference.repository, manifest.config()))
    if config.platform != platform:
        raise _lacks_platform(reference, platform, [str(config.platform)])
    return LockedBasePlatform(platform=platform, manifest=manifest.digest, config=config)


def _lacks_platform(reference: ImageReference, platform: Platform, present: list[str]) -> BaseImageError:
    return BaseImageError(
        f"base image {reference} has no {platform}; it has {', '.join(present) or 'no platform at all'}",
        hint="Take a base image for every platform (--base NAME=REFERENCE), or choose platforms with --platform.",
    )


def _resolve_artifact(
    name: str, platform: Platform, request: Request, book: RecipeBook, values: Mapping[str, Any], downloader: Downloader
) -> LockedArtifact:
    artifact = book.release.artifacts[name]
    for override in request.artifact_overrides:
        if (override.artifact, override.platform) == (name, platform):
            return _lock_override(override, artifact.member, downloader)
    here = {**values, **platform_values(platform)}
    file = _render_file(name, "file", artifact.file, here)
    checksum = _render_file(name, "checksum", artifact.checksum, here)
    override_url = dict(request.artifact_urls).get(name)
    tried = []
    for base_url in (override_url,) if override_url else artifact.base_urls:
        sum_url = f"{base_url.rstrip('/')}/{checksum}"
        text = downloader.read_text(sum_url)
        if text is not None:
            sha256 = _first_field(text, sum_url)
            member = artifact.member if _is_archive(file) else ""
            url = f"{base_url.rstrip('/')}/{file}"
            return LockedArtifact(name=name, platform=platform, url=url, sha256=sha256, member=member)
        tried.append(redact_url(sum_url))
    raise ArtifactError(
        f"{name} for {platform} is not published: {' and '.join(tried)} cannot be found",
        hint=f"Name a mirror with --{name}-url, or the file itself with --{name} {platform}=PATH-or-URL.",
    )


def _render_file(name: str, key: str, files: Mapping[Any, str], values: Mapping[str, Any]) -> str:
    origin = f"release.yaml: artifacts.{name}.{key}"
    if values["architecture"] not in files:
        raise RecipeError(f"{origin} says nothing of {values['architecture']}")
    return render_text(files[values["architecture"]], values, origin)


def _lock_override(override: ArtifactOverride, member: str, downloader: Downloader) -> LockedArtifact:
    """A file is summed; a URL has its sum as `#sha256=…` or in a file beside it."""
    location, separator, promised = override.location.partition("#sha256=")
    what = f"{override.artifact} for {override.platform}"
    if separator and not _SHA256.fullmatch(promised):
        raise RequestError(f"{what}: {promised!r} is no sha256", hint="Write it as #sha256=<64 hex digits>.")
    if "://" in location:
        sha256 = promised or _published_sum(override, location, downloader)
    else:
        path = Path(location).expanduser()
        if not path.is_file():
            raise ArtifactError(f"{what}: there is no file {path}", hint=f"--{override.artifact} names a file or a URL.")
        location, sha256 = str(path.resolve()), _sum_file(path)
        if promised and promised.lower() != sha256:
            raise ChecksumError(f"{path} is not what it should be: its sha256 is {sha256}, not {promised.lower()}")
    return LockedArtifact(
        name=override.artifact,
        platform=override.platform,
        url=location,
        sha256=sha256.lower(),
        member=member if _is_archive(location) else "",
    )


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


def _sum_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
