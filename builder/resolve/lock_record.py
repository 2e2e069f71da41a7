"""Reads istio-build.lock, and makes of what was looked up what stands in it."""

from collections.abc import Mapping
from pathlib import Path

from builder import __version__
from builder.config.request import SourceRequest
from builder.errors import LockError, RecipeError
from builder.oci.reference import redact_url
from builder.plan.lock import (
    FileArtifact,
    Lock,
    LockedArtifact,
    LockedBase,
    LockedMirror,
    LockedPackages,
    SourceFacts,
    UrlArtifact,
)
from builder.recipe.book import RecipeBook
from builder.recipe.yaml_file import read_yaml, validate
from builder.resolve.asked import Asked
from builder.resolve.held import LockInUse
from builder.resolve.lock_file import LockFile

_VERSION = 1


def read_lock(path: Path, *, strict: bool, renew: frozenset[str] = frozenset()) -> LockInUse:
    """The lock of this file. Raises LockError, with file and line, where there is none or it is not one."""
    if not path.exists():
        raise LockError(
            f"there is no {path}", hint="`istio-build lock`, with the same settings, writes it; --lock names another."
        )
    try:
        document = read_yaml(path)
        data = document.data if isinstance(document.data, dict) else {}
        version = data.get("version")
        if version != _VERSION:
            raise LockError(
                f"{document.where(('version',))}: the lock is of version {version!r}, and istio-build {__version__} reads "
                f"version {_VERSION}",
                hint="Use the istio-build that wrote it, or write it anew with `istio-build lock --update`.",
            )
        return LockInUse(file=validate(LockFile, document), where=document.where, strict=strict, renew=renew)
    except RecipeError as error:
        raise LockError(
            error.message, hint="Take it from version control, or write it anew with `istio-build lock --update`."
        ) from error


def record_lock(lock: Lock, asked: Asked, source: SourceRequest, book: RecipeBook) -> LockFile:
    """What stands in the file for what was looked up for a request."""
    go = lock.go
    return LockFile.model_validate(
        {
            "version": _VERSION,
            "istio_build": __version__,
            "recipes": book.digest.text,
            "source": _source(lock.source, source),
            "patches": tuple({"name": patch.name, "sha256": patch.sha256} for patch in lock.source.patches),
            "go": {"asked": asked.go(), "version": go.version, "reason": go.reason, "image": str(go.image or "")}
            if go.version or go.image
            else None,
            "bases": {base.name: _base(base, str(asked.base(base.name))) for base in _sorted(lock.bases)},
            "artifacts": _by_platform(
                {
                    (artifact.name, str(artifact.platform)): _artifact(artifact, asked.artifact(artifact.name, artifact.platform))
                    for artifact in lock.artifacts
                }
            ),
            "mirrors": {
                mirror.image: _mirror(mirror, str(asked.mirror(mirror.image)))
                for mirror in sorted(lock.mirrors, key=lambda mirror: mirror.image)
            },
            "packages": _by_platform(
                {
                    (packages.image, str(packages.platform)): _packages(packages, asked.packages(packages.image))
                    for packages in lock.packages
                }
            ),
        }
    )


def _sorted(bases: tuple[LockedBase, ...]) -> list[LockedBase]:
    return sorted(bases, key=lambda base: base.name)


def _by_platform(entries: Mapping[tuple[str, str], object]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for (name, platform), entry in sorted(entries.items(), key=lambda item: item[0]):
        found.setdefault(name, {})[platform] = entry
    return found


def _source(facts: SourceFacts, asked: SourceRequest) -> dict[str, object]:
    state = facts.state
    return {
        "url": redact_url(asked.url) if asked.release else "",
        "release": asked.release,
        "version": facts.version,
        "tag": state.tag,
        "description": state.description,
        "commit": state.commit,
        "tree": state.content,
        "committed_at": state.committed_at,
    }


def _base(base: LockedBase, asked: str) -> dict[str, object]:
    platforms = {str(entry.platform): str(entry.manifest) for entry in base.platforms}
    return {"asked": asked, "digest": str(base.digest), "platforms": dict(sorted(platforms.items()))}


def _artifact(artifact: LockedArtifact, asked: tuple[str, ...]) -> dict[str, object]:
    kind = "file" if isinstance(artifact, FileArtifact) else "url" if isinstance(artifact, UrlArtifact) else "image"
    found = "" if kind == "file" else redact_url(artifact.location)
    return {"asked": asked, "kind": kind, "found": found, "sha256": artifact.sha256, "member": artifact.member}


def _mirror(mirror: LockedMirror, asked: str) -> dict[str, object]:
    return {"asked": asked, "digest": str(mirror.source.digest), "platforms": tuple(map(str, mirror.platforms))}


def _packages(locked: LockedPackages, asked: tuple[str, ...]) -> dict[str, object]:
    packages = {package.name: {"url": redact_url(package.url), "sha256": package.sha256} for package in locked.packages}
    return {"asked": asked, "sources": locked.sources, "packages": packages}
