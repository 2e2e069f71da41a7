"""The journal of tags being moved: what a run that was killed half-way leaves for the next one to put right."""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.file_lock import locked
from builder.oci import Manifest
from builder.reference import Digest, ImageReference, Repository
from builder.whole_file import whole_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A tag being moved: what it pointed at before (None: it did not exist), and the digest it is to have."""

    before: Manifest | None
    after: Digest


class Journal:
    """One file a hub, there only while a run that has begun to move its tags has not finished or undone that."""

    def __init__(self, directory: Path, repositories: Sequence[Repository]) -> None:
        self._directory = directory
        self._hubs = sorted({_hub_of(repository) for repository in repositories})

    @contextmanager
    def held(self, pause: Callable[[float], None]) -> Iterator[None]:
        """Keep all other runs on this machine from moving tags of these hubs while the block runs.

        In the order of the hubs' names, so that two runs never wait for each other.
        """
        with ExitStack() as locks:
            for hub in self._hubs:
                locks.enter_context(locked(self._path(hub).with_suffix(".lock"), pause))
            yield

    def begin(self, moves: Mapping[ImageReference, Move]) -> None:
        """Write down, and onto the disk, what is about to be moved."""
        for hub in self._hubs:
            own = {reference: move for reference, move in moves.items() if _hub_of(reference.repository) == hub}
            if own:
                self._write(self._path(hub), own)

    def unfinished(self) -> dict[ImageReference, Move]:
        """What earlier runs left at these hubs. Empty where they finished."""
        return {reference: move for hub in self._hubs for reference, move in _read_moves(self._path(hub)).items()}

    def finish(self) -> None:
        """All tags are where they belong."""
        for hub in self._hubs:
            self._path(hub).unlink(missing_ok=True)

    def _path(self, hub: str) -> Path:
        return self._directory / f"{hashlib.sha256(hub.encode()).hexdigest()[:16]}.json"

    def _write(self, path: Path, moves: Mapping[ImageReference, Move]) -> None:
        entries = [
            {"reference": str(reference), "before": _manifest_json(move.before), "after": str(move.after)}
            for reference, move in moves.items()
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
            json.dump({"tags": entries}, file)
            file.flush()
            os.fsync(file.fileno())


def _hub_of(repository: Repository) -> str:
    """The registry and the path above the image's name."""
    return f"{repository.registry}/{repository.path.rpartition('/')[0]}"


def _read_moves(path: Path) -> dict[ImageReference, Move]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["tags"]
        return {
            ImageReference.parse(entry["reference"]): Move(before=_read_manifest(entry["before"]), after=Digest(entry["after"]))
            for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError):
        # None, or one of another version of this tool.
        return {}


def _manifest_json(manifest: Manifest | None) -> dict[str, str] | None:
    if manifest is None:
        return None
    return {"mediaType": manifest.media_type, "content": base64.b64encode(manifest.content).decode()}


def _read_manifest(value: Mapping[str, str] | None) -> Manifest | None:
    if value is None:
        return None
    return Manifest(media_type=value["mediaType"], content=base64.b64decode(value["content"]))
