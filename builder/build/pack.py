"""Packs files into the tar of a layer, once for as long as they stay the same, and tells what must come out of it."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.errors import CompileError
from builder.images.check import ExpectedFile
from builder.images.kept_layers import KeptLayers
from builder.images.layer_cache import LayerCache
from builder.oci.layer import LayerEntry, LayerFile, WrittenLayer, read_layer, write_layer
from builder.oci.reference import Digest, Platform
from builder.plan.model import CompiledFile, PlannedFile, SourceFile
from builder.runtime.extracted_file import recorded_sum
from builder.runtime.file_sums import FileSums
from builder.runtime.json_document import parse_json


def expect_all(archive: Path) -> tuple[ExpectedFile, ...]:
    """Of an archive that was ready: every entry must be in the image, and homes must be their users'."""
    return tuple(
        ExpectedFile(path=entry.path, mode=entry.mode, mtime=entry.mtime, sha256=entry.sha256, owner=entry.owner, kind=entry.kind)
        for entry in read_layer(archive, "application/vnd.oci.image.layer.v1.tar")
        if entry.kind != "directory" or entry.owner != "0:0"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Packer:
    """Packs the archives of one image on one platform.

    What it writes passes by once: it is summed (`sums`), compressed (`kept`), and remembered as what bytes of that sum hold
    (`layers`), so that whoever needs any of this does not read the archive again.
    """

    sums: FileSums
    layers: LayerCache
    kept: KeptLayers

    def pack_files(
        self, planned: Sequence[PlannedFile], archive: Path, platform: Platform, locate: Callable[[PlannedFile], Path]
    ) -> tuple[ExpectedFile, ...]:
        """Write a layer's tar unless the one there is of these very files; what is left alone is not sent again.

        Raises CompileError where a program is not for this platform.
        """
        planned = sorted(planned, key=lambda file: file.path)
        files = [LayerFile(content=locate(file), path=file.path, mode=file.mode, mtime=file.mtime) for file in planned]
        record = archive.with_name(f"{archive.name}.json")
        identity = json.dumps([_identity(*pair) for pair in zip(planned, files, strict=True)])
        entries = self._recorded(record, identity, archive)
        if entries is None:
            partial = archive.with_name(f"{archive.name}.partial")
            written = self._write(files, partial)
            record.unlink(missing_ok=True)
            partial.replace(archive)
            record.write_text(json.dumps({"identity": identity, **asdict(written)}))
            entries = written.entries
        contents = [entry for entry in entries if entry.kind == "file"]
        return tuple(_expect(file, entry, platform) for file, entry in zip(planned, contents, strict=True))

    def _write(self, files: Sequence[LayerFile], archive: Path) -> WrittenLayer:
        with self.kept.compressing() as compressor:
            written = write_layer(files, archive, compressor.write)
            packed = compressor.finish(Digest(f"sha256:{written.sha256}"))
        self.kept.keep(packed)
        self.layers.remember(packed.diff_id, written.entries)
        self.sums.know(archive, written.sha256)
        return written

    def _recorded(self, record: Path, identity: str, archive: Path) -> tuple[LayerEntry, ...] | None:
        try:
            written: Mapping[str, object] = parse_json(record.read_text())
            entries = written["entries"]
            assert isinstance(entries, list)
            found = tuple(LayerEntry(**entry) for entry in entries)
            # Its sum is asked for later in any case.
            return found if written["identity"] == identity and written["sha256"] == self.sums(archive) else None
        except (OSError, ValueError, KeyError, TypeError):
            # Not packed yet, or by another version of this tool.
            return None


def _identity(planned: PlannedFile, file: LayerFile) -> list[str | int]:
    """What changes when a file's content does: ctime, too, as no program can set that back.

    Of a program that was compiled, its sum, which is of this run: Go sets the time even of one that it leaves alone.
    """
    said: list[str | int] = [str(file.content), file.path, file.mode, file.mtime]
    sha256 = recorded_sum(file.content) if isinstance(planned.origin, CompiledFile) else ""
    if sha256:
        return [*said, sha256]
    status = os.stat(file.content)
    return [*said, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _expect(planned: PlannedFile, entry: LayerEntry, platform: Platform) -> ExpectedFile:
    """What was planned, with the content that was packed."""
    # A script of Istio's tree may be executable too; what is compiled or downloaded to be run must be a program.
    executable = int(planned.mode, 8) & 0o111
    foreign = executable and entry.architecture not in ("", platform.architecture)
    if foreign or (executable and not isinstance(planned.origin, SourceFile) and not entry.architecture):
        found = f"a program for {entry.architecture}" if entry.architecture else "no program at all"
        raise CompileError(
            f"{planned.path} should be for {platform}, but is {found}",
            hint="Where it was given by hand (--envoy, --envoy-image), it is the wrong file.",
        )
    mode = f"{int(planned.mode, 8):04o}"
    return ExpectedFile(path=planned.path, mode=mode, mtime=planned.mtime, sha256=entry.sha256)
