"""The journal of tags being moved: what a run that was killed half-way leaves for the next one to put right."""

import base64
import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.oci import Manifest
from builder.reference import ImageReference


class Journal:
    """One file a hub set: for each tag, what it pointed at before the first move; there only while moves are undone."""

    def __init__(self, directory: Path, repositories: Sequence[str]) -> None:
        name = hashlib.sha256("\n".join(sorted(set(repositories))).encode()).hexdigest()[:16]
        self._path = directory / f"{name}.json"

    def begin(self, before: Mapping[ImageReference, Manifest | None]) -> None:
        """Write down, and onto the disk, what the tags pointed at. None stands for a tag that did not exist."""
        entries = [
            {
                "reference": str(reference),
                "before": None
                if manifest is None
                else {
                    "mediaType": manifest.media_type,
                    "content": base64.b64encode(manifest.content).decode(),
                },
            }
            for reference, manifest in before.items()
        ]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("w", encoding="utf-8") as file:
            json.dump({"tags": entries}, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)

    def unfinished(self) -> dict[ImageReference, Manifest | None]:
        """What an earlier run left: the tags it may have moved, and what they were before. Empty where it finished."""
        try:
            entries = json.loads(self._path.read_text(encoding="utf-8"))["tags"]
        except (OSError, ValueError, KeyError):
            return {}
        return {ImageReference.parse(entry["reference"]): _read_manifest(entry["before"]) for entry in entries}

    def finish(self) -> None:
        """All tags are where they belong."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def _read_manifest(value: Mapping[str, str] | None) -> Manifest | None:
    if value is None:
        return None
    return Manifest(media_type=value["mediaType"], content=base64.b64decode(value["content"]))
