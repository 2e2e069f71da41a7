"""What layers hold, and how the Go programs among it were built: each layer is fetched and read once, then remembered."""

import hashlib
import json
import mmap
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from builder.oci.go_build_info import GoBuildInfo, read_build_info
from builder.oci.layer import LayerEntry, open_uncompressed, read_entry
from builder.oci.manifest import Descriptor
from builder.oci.reference import Repository
from builder.oci.tar_stream import open_tar
from builder.ports import RegistryReader
from builder.runtime.atomic_file import has_sha256, whole_file
from builder.runtime.json_document import parse_json
from builder.runtime.last_use import mark_used
from builder.runtime.progress import Progress

# Of what is remembered: it changes with anything that is read of a layer.
_VERSION = 1
_LARGEST = 1 << 28
# Istio's largest, Envoy with its symbols, has some hundred megabytes; a layer that is small may unpack to anything.
_LARGEST_PROGRAM = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A Go program of a layer."""

    path: str
    build: GoBuildInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerContents:
    """What a layer holds, in its order; `diff_id` is the digest of its bytes when unpacked."""

    diff_id: str
    entries: tuple[LayerEntry, ...]
    programs: tuple[Program, ...]


class LayerReader:
    """Reads layers of registries.

    `kept` is where blobs are that other commands have fetched: what is there is not fetched again. What is fetched here is
    removed once it has been read. `remembered` is a directory with one JSON file a layer.
    """

    def __init__(self, registry: RegistryReader, *, kept: Path, remembered: Path, progress: Progress) -> None:
        self._registry = registry
        self._kept = kept
        self._remembered = remembered
        self._progress = progress

    def read(self, repository: Repository, layer: Descriptor, *, deep: bool) -> LayerContents:
        """What the layer holds: from memory, unless all its bytes are to be read (`deep`).

        Raises CheckError where it is damaged, RegistryError where it cannot be had, which is `damaged` where other bytes came.
        """
        path = self._remembered / f"{layer.digest.hex}.json"
        mark_used(path)
        known = None if deep else _recall(path)
        if known:
            return known
        contents = self._fetch_and_read(repository, layer, deep=deep)
        self._remembered.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(json.dumps({"version": _VERSION, **asdict(contents)}), encoding="utf-8")
        return contents

    def _fetch_and_read(self, repository: Repository, layer: Descriptor, *, deep: bool) -> LayerContents:
        blob = self._kept / layer.digest.hex
        mark_used(blob)
        if not deep and has_sha256(blob, layer.digest.hex):
            with tempfile.TemporaryDirectory(prefix="verify-", dir=self._kept) as directory:
                return read_contents(blob, layer.media_type, Path(directory))
        self._kept.mkdir(parents=True, exist_ok=True)
        # Apart from what is kept: what another command has fetched is neither taken for this registry's nor removed.
        with (
            self._progress.task("fetch", f"{repository.path} {layer.digest.short}") as task,
            tempfile.TemporaryDirectory(prefix="verify-", dir=self._kept) as directory,
        ):
            own = Path(directory, layer.digest.hex)
            self._registry.pull_blob(repository, layer, own, on_bytes=lambda count: task.advance(count, layer.size))
            return read_contents(own, layer.media_type, Path(directory))


def read_contents(blob: Path, media_type: str, scratch: Path) -> LayerContents:
    """Read a whole layer. Programs are set aside in `scratch` one at a time. Raises CheckError where it is damaged."""
    entries: list[LayerEntry] = []
    programs: list[Program] = []
    with open_uncompressed(blob, media_type) as stream:
        summed = _SummedReader(stream)
        with open_tar(summed, "") as tar:  # type: ignore[arg-type]  # it is read forward, and no more is asked of it
            for member in tar:
                entry, build = _read_member(tar, member, scratch)
                entries.append(entry)
                if build:
                    programs.append(Program(path=entry.path, build=build))
        return LayerContents(diff_id=f"sha256:{summed.hexdigest()}", entries=tuple(entries), programs=tuple(programs))


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, scratch: Path) -> tuple[LayerEntry, GoBuildInfo | None]:
    if not member.isreg() or not member.mode & 0o111:
        return read_entry(tar, member), None
    with tempfile.TemporaryFile(dir=scratch) as file:
        copy = _ProgramCopy(file)
        entry = read_entry(tar, member, copy)
        file.flush()
        if not entry.architecture or not copy.is_program:
            return entry, None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
            return entry, read_build_info(program)


class _ProgramCopy:
    """Keeps what is an ELF program of a size that programs have, and nothing of other files."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._size = 0
        self.is_program = False

    def __call__(self, chunk: bytes) -> None:
        if not self._size:
            self.is_program = chunk.startswith(b"\x7fELF")
        self._size += len(chunk)
        if self._size > _LARGEST_PROGRAM and self.is_program:
            self.is_program = False
            self._file.truncate(0)
        if self.is_program:
            self._file.write(chunk)


class _SummedReader:
    """Hands a stream on and sums it up."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Some more of it."""
        data = self._stream.read(size)
        self._digest.update(data)
        return data

    def hexdigest(self) -> str:
        """The sum of what was read."""
        return self._digest.hexdigest()


def _recall(path: Path) -> LayerContents | None:
    try:
        document = parse_json(path.read_text(encoding="utf-8"), largest=_LARGEST)
        if document["version"] != _VERSION:
            return None
        return LayerContents(
            diff_id=document["diff_id"],
            entries=tuple(LayerEntry(**entry) for entry in document["entries"]),
            programs=tuple(Program(path=entry["path"], build=_build_of(entry["build"])) for entry in document["programs"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        # Not read yet, or remembered by another version of this tool.
        return None


def _build_of(value: Mapping[str, Any]) -> GoBuildInfo:
    settings, stamps = (tuple((name, text) for name, text in value[key]) for key in ("settings", "stamps"))
    return GoBuildInfo(go=value["go"], path=value["path"], settings=settings, stamps=stamps)
