"""Gives an image that an engine has assembled, and that was checked, its final form, which is the same for every engine.

Engines write layers, configurations and manifests in ways of their own, which change with their versions. What is published
is therefore written here, from the very values and archives that the engine was given: each layer is the archive, compressed
as asked for; the base's layers are those at its registry.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from builder.images.kept_layers import KeptLayers
from builder.oci.image_config import BaseImage, add_config, write_config
from builder.oci.layer_format import oci_media_type
from builder.oci.layout import Layout, replace_image
from builder.oci.manifest import CONFIG, MANIFEST, Descriptor, ImageConfig, Manifest
from builder.oci.reference import Digest
from builder.ports import AssemblyTarget
from builder.runtime.atomic_file import has_sha256

# Gives the blob of a base's layer, from wherever it is to be had.
FetchLayer = Callable[[BaseImage, Descriptor], Path]


class ImageFinisher:
    """Finishes images that share layers, as the variants of one image do: each layer is compressed once.

    `kept` has the layers on top of the base's. Without `fetch_layer` the image lacks those of its base's layers that the engine
    has not given.
    """

    def __init__(self, kept: KeptLayers, fetch_layer: FetchLayer | None) -> None:
        self._kept = kept
        self._fetch_layer = fetch_layer

    def finish(self, layout: Layout, target: AssemblyTarget) -> None:
        """Have the layout hold the image of this target, and nothing of what the engine wrote but the base's layers.

        Raises OSError where that cannot be written, and what fetching a layer of the base raises.
        """
        own = [self._kept.layer(target.context / name) for name in target.layers]
        config = final_config(target, [layer.diff_id for layer in own])
        content = write_config(config, target.source_date_epoch, [f"ADD {name} /" for name in target.layers])
        base = target.base.layers if target.base else ()
        files = {layer.blob.digest: layer.path for layer in own}
        for layer in base:
            assert target.base is not None
            # The engine may hold it in another compression, or damaged.
            if not has_sha256(layout.blob(layer.digest), layer.digest.hex):
                layout.blob(layer.digest).unlink(missing_ok=True)
                if self._fetch_layer:
                    files[layer.digest] = self._fetch_layer(target.base, layer)
        layers = [*(replace(layer, media_type=oci_media_type(layer.media_type)) for layer in base), *(one.blob for one in own)]
        replace_image(layout, _write_manifest(content, layers), content, files)


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
