"""The journal of tags being moved: what a run that was killed half-way leaves for the next one to put right."""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, JournalError
from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.runtime.atomic_file import whole_file
from builder.runtime.file_lock import locked
from builder.runtime.json_document import LARGEST_DOCUMENT, parse_json
from builder.runtime.regular_file import read_regular

# Of the file's form. Files of before there was a version have none, and the form of version 1.
_VERSION = 1


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
        """What earlier runs left at these hubs. Empty where they finished. Raises JournalError, and leaves the file as it
        is, where that cannot be read: then nobody knows which tags were being moved.
        """
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
            json.dump({"version": _VERSION, "tags": entries}, file)
            file.flush()
            os.fsync(file.fileno())


def _hub_of(repository: Repository) -> str:
    """The registry and the path above the image's name."""
    return f"{repository.registry}/{repository.path.rpartition('/')[0]}"


def _read_moves(path: Path) -> dict[ImageReference, Move]:
    try:
        content = read_regular(path, LARGEST_DOCUMENT)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    try:
        document = parse_json(content)
        version = document.get("version", _VERSION)
        if version != _VERSION:
            raise _unreadable(path, f"it is of version {version!r}, and this istio-build knows {_VERSION}")
        return dict(_read_entry(entry) for entry in document["tags"])
    except JournalError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, BuilderError) as error:
        raise _unreadable(path, f"it is damaged ({type(error).__name__}: {str(error)[:100]})") from error


def _read_entry(entry: Any) -> tuple[ImageReference, Move]:  # noqa: ANN401 - JSON
    reference = ImageReference.parse(entry["reference"])
    if not reference.tag or reference.digest:
        raise ValueError("an entry is not about a tag")
    return reference, Move(before=_read_manifest(entry["before"]), after=Digest(entry["after"]))


def _unreadable(path: Path, why: str) -> JournalError:
    return JournalError(
        f"an earlier run was cut off while it moved tags, and its journal {path} cannot be read: {why}",
        hint="No tag has moved in this run, and the file is left as it is. See in it which tags it names and whether they "
        "are as you want them at the hub (`docker buildx imagetools inspect REFERENCE`), move it away, and run the same again.",
    )


def _manifest_json(manifest: Manifest | None) -> dict[str, str] | None:
    if manifest is None:
        return None
    content = base64.b64encode(manifest.content).decode()
    return {"mediaType": manifest.media_type, "digest": str(manifest.digest), "content": content}


def _read_manifest(value: Mapping[str, str] | None) -> Manifest | None:
    if value is None:
        return None
    manifest = Manifest(media_type=value["mediaType"], content=base64.b64decode(value["content"], validate=True))
    # Journals of before there was a version have no digest.
    if str(manifest.digest) != value.get("digest", str(manifest.digest)):
        raise ValueError("a manifest in it is not of its digest")
    return manifest
