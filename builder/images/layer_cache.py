"""Remembers what layers hold: a layer's digest decides its content, so each layer is read once and never again.

Remembered is only what bytes of that very digest held; whether the bytes at hand are these, whoever asks has to know.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import CheckError
from builder.oci.manifest import Descriptor
from builder.oci.reference import Digest
from builder.runtime.atomic_file import sum_file, whole_file
from builder.runtime.json_document import parse_json
from builder.runtime.last_use import mark_used

if TYPE_CHECKING:
    from builder.oci.layer import LayerEntry
    from builder.oci.layout import Layout

# Some hundred bytes an entry, and no more entries than a layer may have.
_LARGEST = 1 << 28


class LayerCache:
    """A directory with one JSON file a layer. Implements `check.ReadLayer`. `sum_file` gives the sha256 of a blob."""

    def __init__(self, directory: Path, sum_file: Callable[[Path], str] = sum_file) -> None:
        self._directory = directory
        self._sum_file = sum_file

    def __call__(self, layout: "Layout", layer: Descriptor) -> "tuple[LayerEntry, ...]":
        """What the layer holds, from memory or by reading it. Raises CheckError where it is damaged."""
        # With all that unpacks: a run that reads no layer has no use for it.
        from builder.oci.layer import LayerEntry, read_layer

        path = self._path(layer.digest)
        mark_used(path)
        try:
            return tuple(LayerEntry(**entry) for entry in parse_json(path.read_text(encoding="utf-8"), largest=_LARGEST))
        except (OSError, ValueError, TypeError):
            # Not read yet, or remembered by another version of this tool.
            pass
        blob = layout.blob(layer.digest)
        if not self._is_whole(blob, layer):
            raise CheckError(f"layer {layer.digest} in {layout.root} is damaged")
        entries = read_layer(blob, layer.media_type)
        self.remember(layer.digest, entries)
        return entries

    def remember(self, digest: Digest, entries: "Sequence[LayerEntry]") -> None:
        """What bytes of this very digest hold."""
        self._directory.mkdir(parents=True, exist_ok=True)
        with whole_file(self._path(digest)) as partial:
            partial.write_text(json.dumps([asdict(entry) for entry in entries]), encoding="utf-8")

    def _path(self, digest: Digest) -> Path:
        return self._directory / f"{digest.hex}.json"

    def _is_whole(self, blob: Path, layer: Descriptor) -> bool:
        try:
            return self._sum_file(blob) == layer.digest.hex
        except OSError:
            return False
