"""Packs files into the tar of a layer, once for as long as they stay the same, and tells what must come out of it."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from builder.errors import CompileError
from builder.images.check import ExpectedFile
from builder.oci.layer import LayerEntry, LayerFile, read_layer, write_layer
from builder.oci.reference import Platform
from builder.plan.model import PlannedFile, SourceFile
from builder.runtime.json_document import parse_json


def expect_all(archive: Path) -> tuple[ExpectedFile, ...]:
    """Of an archive that was ready: every entry must be in the image, and homes must be their users'."""
    return tuple(
        ExpectedFile(path=entry.path, mode=entry.mode, mtime=entry.mtime, sha256=entry.sha256, owner=entry.owner, kind=entry.kind)
        for entry in read_layer(archive, "application/vnd.oci.image.layer.v1.tar")
        if entry.kind != "directory" or entry.owner != "0:0"
    )


def pack_files(
    planned: Sequence[PlannedFile], archive: Path, platform: Platform, locate: Callable[[PlannedFile], Path]
) -> tuple[ExpectedFile, ...]:
    """Write a layer's tar unless the one there is of these very files; what is left alone is not sent again.

    Raises CompileError where a program is not for this platform.
    """
    files = [LayerFile(content=locate(file), path=file.path, mode=file.mode, mtime=file.mtime) for file in planned]
    record = archive.with_name(f"{archive.name}.json")
    identity = json.dumps([_identity(file) for file in files])
    entries = _recorded(record, identity) if archive.exists() else None
    if entries is None:
        partial = archive.with_name(f"{archive.name}.partial")
        entries = write_layer(files, partial)
        record.unlink(missing_ok=True)
        partial.replace(archive)
        record.write_text(json.dumps({"identity": identity, "entries": [asdict(entry) for entry in entries]}))
    # A script of Istio's tree may be executable too; what is compiled or downloaded to be run must be a program.
    programs = {file.path for file in planned if not isinstance(file.origin, SourceFile) and int(file.mode, 8) & 0o111}
    return tuple(_expect(entry, platform, entry.path in programs) for entry in entries if entry.kind == "file")


def _recorded(record: Path, identity: str) -> tuple[LayerEntry, ...] | None:
    try:
        written: Mapping[str, object] = parse_json(record.read_text())
        entries = written["entries"]
        assert isinstance(entries, list)
        return tuple(LayerEntry(**entry) for entry in entries) if written["identity"] == identity else None
    except (OSError, ValueError, KeyError, TypeError):
        # Not packed yet, or by another version of this tool.
        return None


def _identity(file: LayerFile) -> list[str | int]:
    """What changes when a file's content does: ctime, too, as no program can set that back."""
    status = os.stat(file.content)
    return [str(file.content), file.path, file.mode, file.mtime, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _expect(entry: LayerEntry, platform: Platform, is_program: bool) -> ExpectedFile:
    executable = int(entry.mode, 8) & 0o111
    foreign = executable and entry.architecture not in ("", platform.architecture)
    if foreign or (is_program and not entry.architecture):
        found = f"a program for {entry.architecture}" if entry.architecture else "no program at all"
        raise CompileError(
            f"{entry.path} should be for {platform}, but is {found}",
            hint="Where it was given by hand (--envoy, --envoy-image), it is the wrong file.",
        )
    return ExpectedFile(path=entry.path, mode=entry.mode, mtime=entry.mtime, sha256=entry.sha256)
