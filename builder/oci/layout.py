"""OCI image layouts on disk (image-spec v1.1, image-layout.md): read, composed from single platforms, kept whole."""

import contextlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import CheckError, RequestError
from builder.oci.manifest import INDEX, Descriptor, Manifest, compose_index
from builder.oci.reference import Digest, Platform
from builder.runtime.atomic_file import whole_file
from builder.runtime.json_document import LARGEST_DOCUMENT, list_of, object_of, parse_json, text_map_of
from builder.runtime.regular_file import read_regular

_LAYOUT_VERSION = '{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True, slots=True)
class Layout:
    """A directory with `oci-layout`, `index.json` and `blobs/sha256/`."""

    root: Path

    def blob(self, digest: Digest) -> Path:
        """Where this blob is, or would be."""
        return self.root / "blobs" / "sha256" / digest.hex

    def read(self, descriptor: Descriptor) -> bytes:
        """A small blob, checked against its size and digest. Raises CheckError where it is missing, damaged or not small."""
        if descriptor.size > LARGEST_DOCUMENT:
            raise CheckError(f"blob {descriptor.digest} in {self.root} is too large: it is said to have {descriptor.size} bytes")
        try:
            content = read_regular(self.blob(descriptor.digest), LARGEST_DOCUMENT)
        except OSError as error:
            raise CheckError(f"{self.root} lacks blob {descriptor.digest}: {error.strerror}") from error
        if len(content) != descriptor.size or Digest.of(content) != descriptor.digest:
            raise CheckError(f"blob {descriptor.digest} in {self.root} is damaged")
        return content

    def manifest(self, descriptor: Descriptor) -> Manifest:
        """The manifest or index behind a descriptor."""
        return Manifest(media_type=descriptor.media_type, content=self.read(descriptor))

    def root_descriptor(self) -> tuple[Descriptor, Mapping[str, str]]:
        """The one entry of index.json and its annotations. Raises CheckError unless there is exactly one."""
        path = self.root / "index.json"
        try:
            [entry] = list_of(object_of(parse_json(read_regular(path, LARGEST_DOCUMENT)))["manifests"])
            return Descriptor.from_json(object_of(entry)), text_map_of(entry.get("annotations"))
        except OSError as error:
            raise CheckError(f"{self.root} is not an OCI image layout: cannot read {path}: {error.strerror}") from error
        except (ValueError, KeyError, RequestError) as error:
            raise CheckError(f"{path} must list exactly one image: {error!r}") from error

    def index(self) -> Manifest:
        """The image index that the layout is about."""
        return self.manifest(self.root_descriptor()[0])


def compose_layout(
    parts: Mapping[Platform, Layout],
    into: Path,
    annotations: Mapping[str, str],
    notes: Mapping[str, str],
) -> Layout:
    """One layout with one index over the single-platform layouts; blobs are linked, not copied, where they can be.

    A layout that is there already is replaced.

    The index holds the given platforms and nothing else; a layer that a part names and lacks is lacking in the whole. `notes`
    annotate the entry of index.json, so they are no part of the image and its digest. Raises CheckError where a part is
    not one image.
    """
    layout = Layout(into)
    if (into / "oci-layout").exists():
        # Blobs of an earlier image would pile up, and travel along to wherever the directory is carried.
        shutil.rmtree(into)
    (into / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    children = []
    for platform, part in sorted(parts.items()):
        descriptor, _ = part.root_descriptor()
        manifest = part.manifest(descriptor)
        if manifest.is_index:
            raise CheckError(f"{part.root} holds an index where the image for {platform} should be")
        for blob in (descriptor, manifest.config(), *(layer for layer in manifest.layers() if part.blob(layer.digest).exists())):
            link_blob(part.blob(blob.digest), layout.blob(blob.digest))
        children.append(
            Descriptor(media_type=descriptor.media_type, digest=descriptor.digest, size=descriptor.size, platform=platform)
        )
    _finish(layout, compose_index(tuple(children), annotations), notes)
    return layout


def copy_layout(
    index: Manifest, manifests: Sequence[Manifest], blobs: Mapping[Digest, Path], into: Path, notes: Mapping[str, str]
) -> Layout:
    """A layout with this very index; `blobs` are the files of all that its manifests name, and are linked.

    A layout that is there already is replaced. `notes` annotate the entry of index.json, as in `compose_layout`.
    """
    layout = Layout(into)
    if (into / "oci-layout").exists():
        shutil.rmtree(into)
    (into / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    for digest, path in blobs.items():
        link_blob(path, layout.blob(digest))
    for manifest in manifests:
        _write(layout.blob(manifest.digest), manifest.content)
    _finish(layout, index, notes)
    return layout


def replace_image(layout: Layout, manifest: Manifest, config: bytes, files: Mapping[Digest, Path]) -> None:
    """Have the layout be about this one image: `files` are linked; blobs that it does not name are dropped."""
    (layout.root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
    for digest, path in files.items():
        layout.blob(digest).unlink(missing_ok=True)
        link_blob(path, layout.blob(digest))
    _write(layout.blob(manifest.config().digest), config)
    _finish(layout, manifest, {})
    named = {blob.digest.hex for blob in (manifest.descriptor, manifest.config(), *manifest.layers())}
    for path in (layout.root / "blobs" / "sha256").iterdir():
        if path.name not in named:
            path.unlink()


def _finish(layout: Layout, index: Manifest, notes: Mapping[str, str]) -> None:
    _write(layout.blob(index.digest), index.content)
    _write(layout.root / "oci-layout", _LAYOUT_VERSION.encode())
    entry = {**index.descriptor.to_json(), "annotations": dict(notes)}
    # Last, so that a layout with an index.json is a whole one.
    _write(layout.root / "index.json", json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode())


def link_blob(source: Path, target: Path) -> None:
    """Have the same file at both places; a copy where it cannot be linked. What is at the target already stays."""
    if target.exists():
        return
    with contextlib.suppress(FileExistsError):
        try:
            os.link(source, target)
        except FileExistsError:
            raise
        except OSError:
            # Another file system, or one without links.
            with whole_file(target) as partial:
                shutil.copyfile(source, partial)


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as partial:
        partial.write_bytes(content)
