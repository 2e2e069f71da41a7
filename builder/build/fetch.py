"""Fetches artifacts into a cache keyed by content: what is there, and whole, is not fetched again, whoever asked first."""

import shutil
import tarfile
from pathlib import Path

from builder.errors import ArtifactError
from builder.oci.overlay import entry_path
from builder.oci.reference import redact_url
from builder.oci.tar_stream import DAMAGE, LARGEST_FILE, open_tar
from builder.plan.lock import FileArtifact, UrlArtifact
from builder.ports import Downloader
from builder.runtime.atomic_file import has_sha256, whole_file
from builder.runtime.extracted_file import is_intact, keep_sum
from builder.runtime.last_use import mark_used
from builder.runtime.progress import Task


def fetch_artifact(artifact: FileArtifact | UrlArtifact, cache: Path, downloader: Downloader, task: Task) -> Path:
    """The artifact's file: the download itself, or the member it is an archive for.

    Raises ArtifactError, ChecksumError, DiskFull, Interrupted.
    """
    cache.mkdir(parents=True, exist_ok=True)
    blob = cache / artifact.sha256
    member = cache / artifact.member_file
    for path in (blob, member):
        mark_used(path)
    if artifact.member and is_intact(member):
        task.outcome = "cached"
        return member
    if has_sha256(blob, artifact.sha256):
        task.outcome = "cached"
    else:
        downloader.download(artifact.location, artifact.sha256, blob, on_bytes=task.reach)
        task.outcome = "fetched"
    return _extract(artifact, blob, member) if artifact.member else blob


def fetch_package(package: UrlArtifact, cache: Path, downloader: Downloader) -> Path:
    """A package's file, whole. Raises ArtifactError, ChecksumError, DiskFull, Interrupted."""
    path = cache / package.sha256
    mark_used(path)
    if not has_sha256(path, package.sha256):
        cache.mkdir(parents=True, exist_ok=True)
        downloader.download(package.url, package.sha256, path)
    return path


def _extract(artifact: FileArtifact | UrlArtifact, archive: Path, target: Path) -> Path:
    """Take the one member that is wanted; nothing else of the archive touches the disk."""
    try:
        with (
            archive.open("rb") as compressed,
            whole_file(target) as partial,
            partial.open("wb") as file,
            open_tar(compressed, "gzip") as tar,
        ):
            source = tar.extractfile(_find(tar, artifact.member))
            assert source is not None
            shutil.copyfileobj(source, file, 1 << 20)
        keep_sum(target)
    except KeyError as error:
        raise _lacks(artifact, "it is not there") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            # It is not the archive, but the disk.
            raise
        raise _lacks(artifact, str(error)) from error
    return target


def _lacks(artifact: FileArtifact | UrlArtifact, why: str) -> ArtifactError:
    return ArtifactError(
        f"{redact_url(artifact.location)} does not hold {artifact.member}: {why}",
        hint=f"The archive of {artifact.name} must have that one file in it, as Istio's has.",
    )


def _find(tar: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    for member in tar:
        if entry_path(member.name) == entry_path(name) and member.isreg():
            if member.size > LARGEST_FILE:
                raise tarfile.ReadError(f"it has {member.size} bytes there")
            return member
    raise KeyError(name)
