"""What a directory of layouts says of the release that it holds: `release.json`, written by `build`, obeyed by `push --from`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from builder.errors import BuilderError, CheckError
from builder.oci.reference import Digest
from builder.runtime.atomic_file import whole_file
from builder.runtime.json_document import parse_json
from builder.runtime.regular_file import read_regular

RELEASE_FILE = "release.json"
_VERSION = 1
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """A release: its version, the hub stamped into its programs, its commit, and the digest of each image's index by key."""

    version: str
    hub: str
    commit: str
    images: tuple[tuple[str, Digest], ...]

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """What the directory says, None where it says nothing. Raises CheckError where that cannot be read."""
        path = directory / RELEASE_FILE
        try:
            document = parse_json(read_regular(path, _LARGEST))
            if document["schemaVersion"] != _VERSION:
                raise CheckError(f"{path} is of version {document['schemaVersion']!r}, and this istio-build knows {_VERSION}")
            return cls(
                version=str(document["version"]),
                hub=str(document["hub"]),
                commit=str(document["commit"]),
                images=tuple(sorted((str(key), Digest(value)) for key, value in document["images"].items())),
            )
        except FileNotFoundError:
            return None
        except CheckError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, BuilderError) as error:
            raise CheckError(f"{path} is damaged ({type(error).__name__}: {str(error)[:100]})") from error

    def write(self, directory: Path) -> None:
        """Leave it in the directory. Last, when all layouts are whole."""
        document = {
            "schemaVersion": _VERSION,
            "version": self.version,
            "hub": self.hub,
            "commit": self.commit,
            "images": {key: str(digest) for key, digest in self.images},
        }
        with whole_file(directory / RELEASE_FILE) as partial:
            partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def note_release(directory: Path, version: str, hub: str, commit: str, built: Mapping[str, Digest]) -> tuple[str, ...]:
    """Write down what the directory holds now that these images have been built into it.

    Images of an earlier build stay part of the release where that was of the same version, hub and commit. Gives the
    names of layouts that are of none: `push --from` will refuse them.
    """
    try:
        earlier = ReleaseFile.read(directory)
    except CheckError:
        earlier = None
    same = earlier and (earlier.version, earlier.hub, earlier.commit) == (version, hub, commit)
    kept = {key: digest for key, digest in earlier.images if (directory / key).is_dir()} if earlier and same else {}
    images = {**kept, **built}
    ReleaseFile(version=version, hub=hub, commit=commit, images=tuple(sorted(images.items()))).write(directory)
    return tuple(sorted(path.parent.name for path in directory.glob("*/oci-layout") if path.parent.name not in images))
