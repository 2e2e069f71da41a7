"""What a directory of layouts says of the release that it holds: `release.json`, written by `build`, obeyed by `push --from`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from builder.errors import BuilderError, CheckError
from builder.oci.reference import Digest
from builder.plan.model import Shard, Unit
from builder.runtime.atomic_file import whole_file
from builder.runtime.json_document import list_of, object_of, parse_json, text_map_of, texts_of
from builder.runtime.regular_file import read_regular

RELEASE_FILE = "release.json"
# 1 had one sum in place of what an image was made with, and was never released.
_VERSION = 2
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ListedImage:
    """An image of a release: its name and variant ("" where it has none), and the digest of its index.

    `inputs` has, for each platform that was built, the sha256 of what it was made from there; none of a mirror's.
    """

    image: str
    variant: str
    digest: Digest
    inputs: tuple[tuple[str, str], ...] = ()

    @property
    def key(self) -> str:
        """`pilot-distroless`, or the name of an image without variants: its directory."""
        return f"{self.image}-{self.variant}" if self.variant else self.image

    @property
    def units(self) -> tuple[Unit, ...]:
        """What is there of it: itself on each platform, or a mirror as a whole."""
        platforms = [platform for platform, _ in self.inputs] or [""]
        return tuple(Unit(self.image, self.variant, platform) for platform in platforms)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Self:
        """As it stands in the file."""
        return cls(
            image=str(entry["image"]),
            variant=str(entry["variant"]),
            digest=Digest(entry["digest"]),
            inputs=tuple(sorted(text_map_of(entry["inputs"]).items())),
        )

    def to_json(self) -> Mapping[str, Any]:
        """The same the other way round."""
        return {"image": self.image, "variant": self.variant, "digest": str(self.digest), "inputs": dict(self.inputs)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFile:
    """A release, or a part of it: its version, the hub stamped into its programs, what else it was made with, its images.

    `made` tells builds apart that do not belong together (see `Plan.made`); `platforms` are those that were asked for.
    `shard` is there where the build was one of several: it knows the whole. `source_tag` is the git tag of the commit.
    """

    version: str
    hub: str
    made: tuple[tuple[str, str], ...]
    images: tuple[ListedImage, ...]
    platforms: tuple[str, ...] = ()
    shard: Shard | None = None
    source_tag: str = ""

    @classmethod
    def read(cls, directory: Path) -> Self | None:
        """What the directory says, None where it says nothing. Raises CheckError where that cannot be read."""
        path = directory / RELEASE_FILE
        try:
            document = parse_json(read_regular(path, _LARGEST))
            if document["schemaVersion"] != _VERSION:
                raise CheckError(
                    f"{path} is of version {document['schemaVersion']!r}, and this istio-build knows {_VERSION}",
                    hint="Build it again with this istio-build, or push it with the one that built it.",
                )
            return cls(
                version=str(document["version"]),
                hub=str(document["hub"]),
                made=tuple(sorted(text_map_of(document["made"]).items())),
                images=tuple(sorted(ListedImage.from_json(object_of(entry)) for entry in list_of(document["images"]))),
                platforms=texts_of(document["platforms"]),
                shard=_read_shard(document.get("shard")),
                source_tag=str(document.get("sourceTag", "")),
            )
        except FileNotFoundError:
            return None
        except CheckError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError, BuilderError) as error:
            raise CheckError(f"{path} is damaged ({type(error).__name__}: {str(error)[:100]})") from error

    def write(self, directory: Path) -> None:
        """Leave it in the directory. Last, when all layouts are whole."""
        document: dict[str, Any] = {
            "schemaVersion": _VERSION,
            "version": self.version,
            "hub": self.hub,
            "made": dict(self.made),
            "platforms": list(self.platforms),
            **({"sourceTag": self.source_tag} if self.source_tag else {}),
            "images": [entry.to_json() for entry in sorted(self.images)],
        }
        if self.shard:
            whole = [[[unit.image, unit.variant, unit.platform] for unit in part] for part in self.shard.whole]
            document["shard"] = {"number": self.shard.number, "whole": whole}
        with whole_file(directory / RELEASE_FILE) as partial:
            partial.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    def differences(self, other: "ReleaseFile") -> tuple[tuple[str, str, str], ...]:
        """What this one and the other were made with and differs: its name, and both values.

        What only one of them needed says nothing of the other.
        """
        mine, theirs = ({"version": file.version, "hub": file.hub, **dict(file.made)} for file in (self, other))
        return tuple((name, mine[name], theirs[name]) for name in mine if name in theirs and mine[name] != theirs[name])


def _read_shard(value: object) -> Shard | None:
    """The part that a release file says it is. Raises KeyError and ValueError."""
    if value is None:
        return None
    document = object_of(value)
    whole = tuple(tuple(Unit(*texts_of(unit)) for unit in list_of(part)) for part in list_of(document["whole"]))
    number = document["number"]
    if not isinstance(number, int) or not 1 <= number <= len(whole):
        raise ValueError(f"shard {number!r} of {len(whole)}")
    return Shard(number=number, whole=whole)


def note_release(directory: Path, release: ReleaseFile, *, alone: bool) -> tuple[str, ...]:
    """Write down what the directory holds now that these images have been built into it.

    Images of an earlier build stay part of the release where that was made alike, for the same platforms and as the same
    shard, unless this one is to stand `alone`, as one of a tree with changes: nobody can tell whether those are the same. Gives
    the names of layouts that are of none: `push --from` will refuse them.
    """
    try:
        earlier = ReleaseFile.read(directory)
    except CheckError:
        earlier = None
    if earlier and not alone and not earlier.differences(release) and _asked_alike(earlier, release):
        kept = {entry.key: entry for entry in earlier.images if (directory / entry.key).is_dir()}
        images = {**kept, **{entry.key: entry for entry in release.images}}
        made = {**dict(earlier.made), **dict(release.made)}
        release = replace(release, images=tuple(images.values()), made=tuple(sorted(made.items())))
    release.write(directory)
    listed = {entry.key for entry in release.images}
    return tuple(sorted(path.parent.name for path in directory.glob("*/oci-layout") if path.parent.name not in listed))


def _asked_alike(one: ReleaseFile, other: ReleaseFile) -> bool:
    return (set(one.platforms), one.shard) == (set(other.platforms), other.shard)
