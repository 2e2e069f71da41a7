"""The journal of tags being moved: what a run that was killed half-way leaves for the next one to put right."""

import base64
import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import BuilderError, JournalError
from builder.oci.manifest import INDEX_TYPES, MANIFEST_TYPES, Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.runtime.atomic_file import whole_file
from builder.runtime.file_lock import locked
from builder.runtime.json_document import LARGEST_DOCUMENT, parse_json
from builder.runtime.regular_file import read_regular

# Of the file's form. The first one had no version, and only the entries of its own hub.
_VERSION = 2
_FIRST_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A tag being moved: what it pointed at before (None: it did not exist), and the digest it is to have."""

    before: Manifest | None
    after: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftRun:
    """What a run that was cut off had begun to move. `at_hub`: it has noted that in all its repositories, too."""

    run: str
    moves: Mapping[ImageReference, Move]
    at_hub: bool


class Journal:
    """One file a hub, there only while a run that has begun to move its tags has not finished or undone that.

    Each has all tags that the run moves there; those at other hubs, too, where a run of an earlier version moved them as one.
    """

    def __init__(self, directory: Path, repositories: Sequence[Repository]) -> None:
        self._directory = directory
        self._hubs = sorted({_hub_of(repository) for repository in repositories})

    @contextmanager
    def held(self, pause: Callable[[float], None], on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Keep all other runs on this machine from moving tags of these hubs while the block runs; and of those hubs that
        runs which were cut off had been at, as what they left there is settled with the rest.

        In the order of the hubs' names, so that two runs never wait for each other. `on_wait` is called where another one has
        a lock. Raises JournalError.
        """
        while True:
            with ExitStack() as locks:
                for hub in self._hubs:
                    locks.enter_context(locked(self._path(hub).with_suffix(".lock"), pause, on_wait))
                more = {_hub_of(ref.repository) for moves in self.unfinished() for ref in moves} - set(self._hubs)
                if not more:
                    yield
                    return
            self._hubs = sorted({*self._hubs, *more})

    def begin(self, moves: Mapping[ImageReference, Move], run: str = "", *, at_hub: bool = False) -> None:
        """Write down, and onto the disk, what is about to be moved."""
        left = LeftRun(run=run or uuid.uuid4().hex, moves=moves, at_hub=at_hub)
        for hub in sorted({_hub_of(reference.repository) for reference in moves}):
            self._write(self._path(hub), left)

    def unfinished(self) -> tuple[Mapping[ImageReference, Move], ...]:
        """What each run that was cut off at these hubs had begun to move, at all its hubs. Empty where runs finished.

        Raises JournalError, and leaves the file as it is, where that cannot be read: then nobody knows which tags were
        being moved.
        """
        return tuple(left.moves for left in self.left_runs())

    def left_runs(self) -> tuple[LeftRun, ...]:
        """The runs that were cut off at these hubs. Raises as `unfinished`."""
        runs = [found for hub in self._hubs if (found := _read_run(self._path(hub)))]
        return tuple({left.run: left for left in runs}.values())

    def finish(self) -> tuple[Path, ...]:
        """All tags are where they belong. Gives files that could not be removed; they say so, too, and do no harm."""
        stuck = []
        for path in map(self._path, self._hubs):
            try:
                path.unlink(missing_ok=True)
            except OSError:
                stuck.append(path)
        return tuple(stuck)

    def _path(self, hub: str) -> Path:
        return self._directory / f"{hashlib.sha256(hub.encode()).hexdigest()[:16]}.json"

    def _write(self, path: Path, left: LeftRun) -> None:
        entries = [
            {"reference": str(reference), "before": _manifest_json(move.before), "after": str(move.after)}
            for reference, move in left.moves.items()
        ]
        document = {"version": _VERSION, "run": left.run, "at_hub": left.at_hub, "sum": _sum(entries), "tags": entries}
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        # Its name, too, has to be there after a power cut.
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _hub_of(repository: Repository) -> str:
    """The registry and the path above the image's name."""
    return f"{repository.registry}/{repository.path.rpartition('/')[0]}"


def _sum(entries: object) -> str:
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def _read_run(path: Path) -> LeftRun | None:
    """The run that left this file, and its moves; None where there is none."""
    try:
        content = read_regular(path, LARGEST_DOCUMENT)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error
    try:
        document = parse_json(content)
        version = document.get("version", _FIRST_VERSION)
        if version not in (_FIRST_VERSION, _VERSION):
            raise _unreadable(path, f"it is of version {version!r}, and this istio-build knows {_VERSION}")
        if version == _VERSION and document["sum"] != _sum(document["tags"]):
            raise ValueError("its entries are not of its sum")
        moves = dict(_read_entry(entry) for entry in document["tags"])
        if not moves:
            raise ValueError("it names no tag")
        return LeftRun(run=str(document.get("run", path.name)), moves=moves, at_hub=document.get("at_hub") is True)
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
    if manifest.media_type not in (*INDEX_TYPES, *MANIFEST_TYPES):
        raise ValueError(f"{manifest.media_type!r} is no type of a manifest")
    # Journals of before there was a version have no digest.
    if str(manifest.digest) != value.get("digest", str(manifest.digest)):
        raise ValueError("a manifest in it is not of its digest")
    return manifest
