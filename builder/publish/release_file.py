"""What a directory of layouts says of the release that it holds: `release.json`, written by `build`, obeyed by `push --from`."""

import json
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ListedImage:
    """An image of a release: its name and variant ("" where it has none), and the digest of its index."""

    image: str
    variant: str
    digest: Digest

    @property
    def key(self) -> str:
        """`pilot-distroless`, or the name of an image without variants: its directory."""
        return f"{self.image}-{self.variant}" if self.variant else self.image


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """A release: its version, the hub stamped into its programs, what else it was made with, and its images.

    `made` tells builds apart that do not belong together: of another commit, Go, set of platforms, tags or compression.
    """

    version: str
    hub: str
    made: str
    images: tuple[ListedImage, ...]

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
                made=str(document["made"]),
                images=tuple(
                    sorted(
                        ListedImage(image=str(entry["image"]), variant=str(entry["variant"]), digest=Digest(entry["digest"]))
                        for entry in document["images"]
                    )
                ),
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
            "made": self.made,
            "images": [
                {"image": entry.image, "variant": entry.variant, "digest": str(entry.digest)} for entry in sorted(self.images)
            ],
        }
        with whole_file(directory / RELEASE_FILE) as partial:
            partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def note_release(directory: Path, release: ReleaseFile, *, alone: bool) -> tuple[str, ...]:
    """Write down what the directory holds now that these images have been built into it.

    Images of an earlier build stay part of the release where that was made alike, unless this one is to stand `alone`, as one
    of a tree with changes: nobody can tell whether those are the same. Gives the names of layouts that are of none: `push
    --from` will refuse them.
    """
    try:
        earlier = ReleaseFile.read(directory)
    except CheckError:
        earlier = None
    same = earlier and not alone and (earlier.version, earlier.hub, earlier.made) == (release.version, release.hub, release.made)
    kept = {entry.key: entry for entry in earlier.images if (directory / entry.key).is_dir()} if earlier and same else {}
    images = {**kept, **{entry.key: entry for entry in release.images}}
    replace(release, images=tuple(images.values())).write(directory)
    return tuple(sorted(path.parent.name for path in directory.glob("*/oci-layout") if path.parent.name not in images))
