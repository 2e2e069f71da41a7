"""Keeps the layers that images are published with, so that one which is the same the next time is not compressed again.

And of one that is not the same, those parts that are: taken from the layers kept so far, or from those of another hub, into whose
programs little else is stamped.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.errors import CheckError
from builder.images.compress import CompressedLayer, LayerCompressor, compress_layer, compressing
from builder.images.members import SUFFIX, KnownMembers, list_members, newest_listed
from builder.oci.layer_format import FORMATS, layer_media_type
from builder.oci.manifest import Descriptor
from builder.oci.reference import Digest
from builder.runtime.atomic_file import sum_file
from builder.runtime.extracted_file import is_intact, keep_sum, recorded_sum

# Layers whose members are looked through: those of the last few pushes, of three layers at most.
_SOURCES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptLayer:
    """A compressed layer: its blob as a manifest lists it, where that is, and the digest of what it unpacks to."""

    blob: Descriptor
    path: Path
    diff_id: str


class KeptLayers:
    """The compressed layers of one image on one platform, in a directory of their own, for one run at a time.

    What is kept from an earlier run is summed before it is used. `elsewhere` names the like directories of others, which may be
    at work there: of those, parts are taken. `sum_file` gives the sha256 of an archive.
    """

    def __init__(
        self,
        compression: str,
        directory: Path,
        elsewhere: Callable[[], Iterable[Path]] = tuple,
        sum_file: Callable[[Path], str] = sum_file,
    ) -> None:
        self._compression = compression
        self._directory = directory
        self._elsewhere = elsewhere
        self._sum_file = sum_file
        self._ready: dict[str, KeptLayer] = {}

    @contextmanager
    def compressing(self) -> Iterator[LayerCompressor]:
        """A compressor for a layer while it is being written; what it gives is to be kept with `keep`."""
        with self._known() as known, compressing(self._compression, self._directory, known) as compressor:
            yield compressor

    def keep(self, packed: CompressedLayer) -> None:
        """Keep what was compressed, and have it ready."""
        diff_id = str(packed.diff_id)
        place = self._place(diff_id)
        (self._directory / packed.digest.hex).replace(place)
        keep_sum(place, packed.digest.hex)
        if packed.members:
            list_members(place, packed.members)
        self._ready[diff_id] = self._layer(diff_id, packed.digest.hex, packed.size)

    def layer(self, archive: Path) -> KeptLayer:
        """The layer that an archive is, compressed. Raises CheckError where the archive changes meanwhile, and OSError."""
        diff_id = f"sha256:{self._sum_file(archive)}"
        if diff_id not in self._ready:
            place = self._place(diff_id)
            if is_intact(place):
                self._ready[diff_id] = self._layer(diff_id, recorded_sum(place), place.stat().st_size)
            else:
                self.keep(self._compress(archive, diff_id))
        return self._ready[diff_id]

    def forget_others(self) -> None:
        """Remove what is kept of layers that nobody has asked for here."""
        used = {layer.path.name for layer in self._ready.values()}
        for path in self._directory.iterdir():
            if path.name.removesuffix(SUFFIX).removesuffix(".sum") not in used:
                path.unlink()

    def _compress(self, archive: Path, diff_id: str) -> CompressedLayer:
        with self._known() as known, archive.open("rb") as file:
            packed = compress_layer(file, self._compression, self._directory, known)
        if str(packed.diff_id) != diff_id:
            raise CheckError(f"{archive} changed while it was compressed", hint="Is another run at work in the same cache?")
        return packed

    def _known(self) -> KnownMembers:
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._compression != "gzip":
            return KnownMembers()
        return KnownMembers(newest_listed(list(dict.fromkeys([self._directory, *self._elsewhere()])), _SOURCES))

    def _layer(self, diff_id: str, sha256: str, size: int) -> KeptLayer:
        blob = Descriptor(media_type=layer_media_type(self._compression), digest=Digest(f"sha256:{sha256}"), size=size)
        return KeptLayer(blob=blob, path=self._place(diff_id), diff_id=diff_id)

    def _place(self, diff_id: str) -> Path:
        """Where a layer is kept: by what it unpacks to, and by how exactly it is compressed."""
        return self._directory / Digest.of(f"{diff_id} {FORMATS[self._compression]}".encode()).hex
