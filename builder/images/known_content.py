"""Remembers manifests and configurations by their digest, which decides them: asked for once, and not in each run anew."""

from pathlib import Path

from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.ports import ImageReader
from builder.runtime.atomic_file import whole_file
from builder.runtime.json_document import LARGEST_DOCUMENT
from builder.runtime.last_use import mark_used
from builder.runtime.regular_file import read_regular

# Of the media type, which stands before the content of a manifest.
_LONGEST_TYPE = 256


class KnownContent:
    """Implements `ports.ImageReader`: what a tag points at is asked of the registry each time, what a digest names only once.

    So it tells what something is, and not whether a registry still has it. What is kept is summed when it is used.
    """

    def __init__(self, registry: ImageReader, directory: Path) -> None:
        self._registry = registry
        self._directory = directory

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        """See `ports.ImageReader.get_manifest`."""
        if reference.digest is None:
            return self._keep(self._registry.get_manifest(reference))
        media_type, _, content = self._read(reference.digest, "manifest").partition(b"\n")
        if Digest.of(content) == reference.digest:
            return Manifest(media_type=media_type.decode("ascii", "replace"), content=content)
        return self._keep(self._registry.get_manifest(reference))

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        """See `ports.ImageReader.get_blob`."""
        known = self._read(descriptor.digest, "blob")
        if Digest.of(known) == descriptor.digest:
            return known
        content = self._registry.get_blob(repository, descriptor)
        self._write(descriptor.digest, "blob", content)
        return content

    def _keep(self, manifest: Manifest | None) -> Manifest | None:
        """Also what came by a tag: a lock binds it, and then it is asked for by digest."""
        if manifest and Digest.of(self._read(manifest.digest, "manifest").partition(b"\n")[2]) != manifest.digest:
            self._write(manifest.digest, "manifest", manifest.media_type.encode() + b"\n" + manifest.content)
        return manifest

    def _read(self, digest: Digest, kind: str) -> bytes:
        path = self._path(digest, kind)
        mark_used(path)
        try:
            return read_regular(path, LARGEST_DOCUMENT + _LONGEST_TYPE)
        except (OSError, ValueError):
            return b""

    def _write(self, digest: Digest, kind: str, content: bytes) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path(digest, kind)) as partial:
            partial.write_bytes(content)

    def _path(self, digest: Digest, kind: str) -> Path:
        return self._directory / f"{digest.hex}.{kind}"
