"""Takes one file out of an image at a registry: the layers are fetched from the top until one has it."""

import tarfile
from enum import Enum, auto
from pathlib import Path, PurePosixPath
from typing import IO

from builder.errors import ArtifactError, BuilderError, CheckError
from builder.images.layers import fetch_layer
from builder.oci.layer import open_layer
from builder.oci.manifest import Descriptor
from builder.oci.overlay import entry_path, find_whiteout
from builder.oci.reference import ImageReference
from builder.oci.tar_stream import LARGEST_FILE
from builder.plan.lock import ImageArtifact
from builder.ports import RegistryReader
from builder.runtime.atomic_file import whole_file
from builder.runtime.disk_space import NO_ROOM, full_disk
from builder.runtime.extracted_file import is_intact, keep_sum
from builder.runtime.last_use import mark_used
from builder.runtime.progress import Task

_CHUNK = 1 << 20


class _Look(Enum):
    FOUND = auto()
    REMOVED = auto()
    NOT_HERE = auto()


def fetch_from_image(artifact: ImageArtifact, cache: Path, registry: RegistryReader, task: Task) -> Path:
    """The file `artifact.member` of the image whose manifest the artifact is bound to.

    Kept in `cache` by manifest and path, as are the layers by their digest. Raises ArtifactError where the image has no
    such file, or has a link there; and what the registry raises.
    """
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / artifact.member_file
    mark_used(target)
    if is_intact(target):
        task.outcome = "cached"
        return target
    reference = artifact.reference
    manifest = registry.get_manifest(reference)
    if manifest is None:
        raise ArtifactError(f"{reference} is not there any more", hint="It was a moment ago: run the same again.")
    for layer in reversed(manifest.layers()):
        blob = fetch_layer(reference, layer, cache, registry, task)
        look = _look_for(artifact.member, blob, layer, target, reference)
        if look is _Look.FOUND:
            keep_sum(target)
            task.outcome = "taken from an image"
            return target
        if look is _Look.REMOVED:
            break
    raise _lacks(reference, artifact.member, "it is not there")


def _look_for(path: str, blob: Path, layer: Descriptor, target: Path, reference: ImageReference) -> _Look:
    """Take the file to `target` where this layer has it; else say whether it hides that of a layer below."""
    parents = {str(parent) for parent in PurePosixPath(path).parents}
    look = _Look.NOT_HERE
    try:
        with open_layer(blob, layer.media_type) as tar:
            for member in tar:
                here = entry_path(member.name)
                whiteout = find_whiteout(here)
                if here == path:
                    _take(tar, member, target, reference, path)
                    look = _Look.FOUND
                elif here in parents and not member.isdir():
                    raise _lacks(reference, path, f"{here} is no directory")
                elif look is _Look.NOT_HERE and whiteout and whiteout.hides(path):
                    look = _Look.REMOVED
    except CheckError as error:
        raise ArtifactError(f"{reference}: {error.message}") from error
    return look


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, reference: ImageReference, path: str) -> None:
    source = tar.extractfile(member) if member.isreg() else None
    if source is None:
        raise _lacks(reference, path, "it is a link or a directory there")
    if member.size > LARGEST_FILE:
        raise _lacks(reference, path, f"it has {member.size} bytes there")
    with whole_file(target) as partial, partial.open("wb") as file:
        while chunk := source.read(_CHUNK):
            _write(file, chunk, target)


def _write(file: IO[bytes], chunk: bytes, target: Path) -> None:
    """Raises errors of ours, for the reader of the archive takes any other for one of its own."""
    try:
        file.write(chunk)
        file.flush()
    except OSError as error:
        if error.errno in NO_ROOM:
            raise full_disk(error, target) from error
        raise BuilderError(f"cannot write {target}: {error.strerror}") from error


def _lacks(reference: ImageReference, path: str, why: str) -> ArtifactError:
    return ArtifactError(
        f"{reference} does not hold the file {path}: {why}",
        hint="The image must be Istio's own or laid out like it; a file itself can be named instead.",
    )
