"""Assembles images without any program: an image is its base's layers with ours on top, and a configuration."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from builder.images.finish import final_config
from builder.oci.image_config import write_config
from builder.oci.layer_format import UNCOMPRESSED
from builder.oci.layout import Layout, replace_image
from builder.oci.manifest import CONFIG, MANIFEST, Descriptor, Manifest
from builder.oci.reference import Digest
from builder.ports import AssemblyTarget
from builder.runtime.atomic_file import sum_file


class Builtin:
    """Implements `ports.Engine`. Nothing has to be pulled for it: of a base, its configuration and digests are enough.

    `sum_file` gives the sha256 of an archive.
    """

    def __init__(self, sum_file: Callable[[Path], str] = sum_file) -> None:
        self._sum_file = sum_file

    def prepare(self) -> None:
        """See `ports.Engine.prepare`."""

    def assemble(self, targets: Sequence[AssemblyTarget], on_progress: Callable[[str], None]) -> None:
        """See `ports.Engine.assemble`. The layers of bases are named, and are not there."""
        for target in targets:
            on_progress(f"assembling {target.name}")
            self._assemble(target)

    def _assemble(self, target: AssemblyTarget) -> None:
        archives = [target.context / name for name in target.layers]
        _write_image(target, {Digest(f"sha256:{self._sum_file(archive)}"): archive for archive in archives})


def _write_image(target: AssemblyTarget, files: Mapping[Digest, Path]) -> None:
    own = [Descriptor(media_type=UNCOMPRESSED, digest=digest, size=archive.stat().st_size) for digest, archive in files.items()]
    config = write_config(final_config(target, [str(digest) for digest in files]), target.source_date_epoch, target.layers)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": Descriptor(media_type=CONFIG, digest=Digest.of(config), size=len(config)).to_json(),
        "layers": [layer.to_json() for layer in (*(target.base.layers if target.base else ()), *own)],
    }
    manifest = Manifest(media_type=MANIFEST, content=json.dumps(document).encode())
    replace_image(Layout(target.destination), manifest, config, files)
