"""Gives an image that an engine has assembled, and that was checked, its final form, which is the same for every engine.

Engines write layers, configurations and manifests in ways of their own, which change with their versions. What is published
is therefore written here, from the very values and archives that the engine was given: each layer is the archive, compressed
as asked for; the base's layers are those at its registry.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import CheckError
from builder.images.compress import compress_layer
from builder.oci.image_config import BaseImage, add_config, write_config
from builder.oci.layer_format import FORMATS, layer_media_type, oci_media_type
from builder.oci.layout import Layout, replace_image
from builder.oci.manifest import CONFIG, MANIFEST, Descriptor, ImageConfig, Manifest
from builder.oci.reference import Digest
from builder.ports import AssemblyTarget
from builder.runtime.atomic_file import has_sha256, sum_file
from builder.runtime.extracted_file import is_intact, keep_sum, recorded_sum

# Gives the blob of a base's layer, from wherever it is to be had.
FetchLayer = Callable[[BaseImage, Descriptor], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnLayer:
    """A layer on top of the base's: its blob as the manifest lists it, and the digest of what it unpacks to."""

    blob: Descriptor
    diff_id: str


class ImageFinisher:
    """Finishes images that share layers, as the variants of one image do: each layer is compressed once.

    `kept` is a directory of its own for what it has compressed, so that a layer which is the same the next time, as Envoy's
    mostly is, is not compressed again. What is kept is summed before it is used. Without `fetch_layer` the image lacks those of
    its base's layers that the engine has not given. `sum_file` gives the sha256 of an archive.
    """

    def __init__(
        self, compression: str, kept: Path, fetch_layer: FetchLayer | None, sum_file: Callable[[Path], str] = sum_file
    ) -> None:
        self._compression = compression
        self._kept = kept
        self._fetch_layer = fetch_layer
        self._sum_file = sum_file
        self._ready: dict[Path, _OwnLayer] = {}

    def finish(self, layout: Layout, target: AssemblyTarget) -> None:
        """Have the layout hold the image of this target, and nothing of what the engine wrote but the base's layers.

        Raises OSError where that cannot be written, and what fetching a layer of the base raises.
        """
        self._kept.mkdir(parents=True, exist_ok=True)
        own = [self._compress(target.context / name) for name in target.layers]
        config = final_config(target, [layer.diff_id for layer in own])
        content = write_config(config, target.source_date_epoch, [f"ADD {name} /" for name in target.layers])
        base = target.base.layers if target.base else ()
        files = {layer.blob.digest: self._place(layer.diff_id) for layer in own}
        for layer in base:
            assert target.base is not None
            # The engine may hold it in another compression, or damaged.
            if not has_sha256(layout.blob(layer.digest), layer.digest.hex):
                layout.blob(layer.digest).unlink(missing_ok=True)
                if self._fetch_layer:
                    files[layer.digest] = self._fetch_layer(target.base, layer)
        layers = [*(replace(layer, media_type=oci_media_type(layer.media_type)) for layer in base), *(one.blob for one in own)]
        replace_image(layout, _write_manifest(content, layers), content, files)

    def forget_others(self) -> None:
        """Remove what is kept of layers that none of the images finished here has any more."""
        used = {self._place(layer.diff_id).name for layer in self._ready.values()}
        for path in self._kept.iterdir():
            if path.name.removesuffix(".sum") not in used:
                path.unlink()

    def _compress(self, archive: Path) -> _OwnLayer:
        if archive not in self._ready:
            diff_id = f"sha256:{self._sum_file(archive)}"
            place = self._place(diff_id)
            if not is_intact(place):
                self._compress_into(archive, diff_id, place)
            blob = Descriptor(
                media_type=layer_media_type(self._compression),
                digest=Digest(f"sha256:{recorded_sum(place)}"),
                size=place.stat().st_size,
            )
            self._ready[archive] = _OwnLayer(blob=blob, diff_id=diff_id)
        return self._ready[archive]

    def _compress_into(self, archive: Path, diff_id: str, place: Path) -> None:
        with archive.open("rb") as file:
            packed = compress_layer(file, self._compression, self._kept)
        if str(packed.diff_id) != diff_id:
            raise CheckError(f"{archive} changed while it was compressed", hint="Is another run at work in the same cache?")
        (self._kept / packed.digest.hex).replace(place)
        keep_sum(place, packed.digest.hex)

    def _place(self, diff_id: str) -> Path:
        """Where a layer is kept: by what it unpacks to, and by how exactly it is compressed."""
        return self._kept / Digest.of(f"{diff_id} {FORMATS[self._compression]}".encode()).hex


def final_config(target: AssemblyTarget, diff_ids: Sequence[str]) -> ImageConfig:
    """What the image of a target says of itself: what its base says, and what is added to that."""
    base = target.base.config if target.base else ImageConfig(platform=target.platform)
    return replace(add_config(base, target.config), diff_ids=(*base.diff_ids, *diff_ids))


def _write_manifest(config: bytes, layers: Sequence[Descriptor]) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": Descriptor(media_type=CONFIG, digest=Digest.of(config), size=len(config)).to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return Manifest(media_type=MANIFEST, content=json.dumps(document, separators=(",", ":")).encode())
