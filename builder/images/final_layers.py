"""Gives what an engine assembled its final form: layers compressed as asked for, in a manifest of our own writing.

An engine may hand out a layer in any compression that its cache happens to hold, and its compressor changes with its
version. What decides an image's digests is therefore done here.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from builder.errors import CheckError
from builder.images.compress import compress_layer
from builder.oci.layer import open_uncompressed
from builder.oci.layer_format import FORMATS, layer_media_type
from builder.oci.layout import Layout, link_blob, replace_root
from builder.oci.manifest import CONFIG, MANIFEST, Descriptor, ImageConfig, Manifest
from builder.oci.reference import Digest
from builder.runtime.extracted_file import is_intact, keep_sum, recorded_sum


class LayerFinisher:
    """Finishes images that share layers, as the variants of one image do: each layer is compressed once.

    `kept` is a directory of its own for what it has compressed, so that a layer which is the same the next time, as Envoy's
    mostly is, is not compressed again. What is kept is summed before it is used.
    """

    def __init__(self, compression: str, kept: Path) -> None:
        self._compression = compression
        self._kept = kept
        # What is compressed already, by the digest of what it unpacks to.
        self._ready: dict[str, Descriptor] = {}

    def finish(self, layout: Layout, base_layers: Sequence[Digest]) -> None:
        """Compress all layers but the base's, and have the layout hold the image with these.

        Raises CheckError where the base's layers are not those at its registry, or a layer is not of its diff_id.
        """
        descriptor, _ = layout.root_descriptor()
        manifest = layout.manifest(descriptor)
        layers, count = manifest.layers(), len(base_layers)
        if tuple(layer.digest for layer in layers[:count]) != tuple(base_layers):
            raise CheckError(
                f"{layout.root}: the engine gave other layers for the base image than those at its registry",
                hint="Its cache holds them in another compression: `docker buildx prune`, then run the same again.",
            )
        diff_ids = ImageConfig.parse(layout.read(manifest.config())).diff_ids
        if len(diff_ids) != len(layers):
            raise CheckError(f"{layout.root}: the configuration lists {len(diff_ids)} layers, the manifest {len(layers)}")
        own = [self._finish(layout, *pair) for pair in zip(layers[count:], diff_ids[count:], strict=True)]
        finished = _write_manifest(manifest.config(), (*layers[:count], *own))
        kept = {layer.digest for layer in finished.layers()}
        replace_root(layout, finished, drop=[descriptor, *(layer for layer in layers if layer.digest not in kept)])

    def forget_others(self) -> None:
        """Remove what is kept of layers that none of the images finished here has any more."""
        used = {self._place(diff_id).name for diff_id in self._ready}
        for path in self._kept.iterdir():
            if path.name.removesuffix(".sum") not in used:
                path.unlink()

    def _finish(self, layout: Layout, layer: Descriptor, diff_id: str) -> Descriptor:
        place = self._place(diff_id)
        if diff_id not in self._ready:
            self._kept.mkdir(parents=True, exist_ok=True)
            if not is_intact(place):
                self._compress(layout, layer, diff_id, place)
            self._ready[diff_id] = Descriptor(
                media_type=layer_media_type(self._compression),
                digest=Digest(f"sha256:{recorded_sum(place)}"),
                size=place.stat().st_size,
            )
        link_blob(place, layout.blob(self._ready[diff_id].digest))
        return self._ready[diff_id]

    def _compress(self, layout: Layout, layer: Descriptor, diff_id: str, place: Path) -> None:
        with open_uncompressed(layout.blob(layer.digest), layer.media_type) as archive:
            packed = compress_layer(archive, self._compression, self._kept)
        if str(packed.diff_id) != diff_id:
            raise CheckError(f"{layout.root}: layer {layer.digest.short} unpacks to {packed.diff_id}, not to {diff_id}")
        (self._kept / packed.digest.hex).replace(place)
        keep_sum(place, packed.digest.hex)

    def _place(self, diff_id: str) -> Path:
        """Where a layer is kept: by what it unpacks to, and by how exactly it is compressed."""
        return self._kept / Digest.of(f"{diff_id} {FORMATS[self._compression]}".encode()).hex


def _write_manifest(config: Descriptor, layers: Sequence[Descriptor]) -> Manifest:
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {**config.to_json(), "mediaType": CONFIG},
        "layers": [layer.to_json() for layer in layers],
    }
    return Manifest(media_type=MANIFEST, content=json.dumps(document, separators=(",", ":")).encode())
