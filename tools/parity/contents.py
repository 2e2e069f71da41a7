"""What pushed images hold above their base, platform by platform: every file with its bytes' sum, and how they are run."""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from builder.images.pull import PulledPlatform, pull
from builder.oci.layer import LayerEntry, read_layer
from builder.oci.manifest import ImageConfig
from builder.oci.overlay import find_whiteout
from builder.oci.reference import ImageReference
from builder.ports import RegistryReader
from tools.parity.model import CouldNotRead, Difference

_REMOVED = "removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """One platform of an image: its configuration, and what its layers above the base make, by path."""

    config: ImageConfig
    entries: Mapping[str, LayerEntry]
    base_layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One platform of both images."""

    platform: str
    theirs: Contents
    ours: Contents


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where an image's own layers begin: behind those of this image, behind so many, or behind those that both share."""

    reference: ImageReference | None = None
    layers: int | None = None


def pull_platforms(reference: ImageReference, registry: RegistryReader) -> dict[str, PulledPlatform]:
    """All platforms of an image. Raises CouldNotRead where it is not there, or not whole."""
    pulled = pull(reference, registry)
    if pulled.problems:
        raise CouldNotRead("; ".join(pulled.problems))
    platforms = {str(platform.platform): platform for platform in pulled.platforms}
    for name, platform in platforms.items():
        if len(platform.manifest.layers()) != len(platform.config.diff_ids):
            raise CouldNotRead(f"{reference} on {name} names {len(platform.config.diff_ids)} layers and has others")
    return platforms


def read_pairs(ours: ImageReference, theirs: ImageReference, base: Base, registry: RegistryReader) -> Iterator[Pair]:
    """The platforms that both have, with their own layers fetched and read. Raises CouldNotRead and RegistryError."""
    left, right = pull_platforms(theirs, registry), pull_platforms(ours, registry)
    under = pull_platforms(base.reference, registry) if base.reference else {}
    for name in sorted(set(left) & set(right)):
        ids = [platforms[name].config.diff_ids for platforms in (left, right)]
        counts = _base_layers(ids[0], ids[1], base, under.get(name))
        yield Pair(
            platform=name,
            theirs=_read(theirs, left[name], counts[0], registry),
            ours=_read(ours, right[name], counts[1], registry),
        )


def compare_pair(release: str, image: str, variant: str, pair: Pair) -> Iterator[Difference]:
    """Everything that differs on one platform. Times are left out: Istio's are those of the day it was built."""
    sides = [_facts(pair.theirs, pair.ours), _facts(pair.ours, pair.theirs)]
    for name in sorted({*sides[0], *sides[1]}):
        theirs, ours = (side.get(name, "") for side in sides)
        if theirs != ours:
            yield Difference(
                release=release, image=image, variant=variant, platform=pair.platform, field=name, theirs=theirs, ours=ours
            )


def merge_layers(layers: Iterable[Sequence[LayerEntry]]) -> dict[str, LayerEntry]:
    """What layers make together, base first; what they remove of the base stays as an entry of the kind `removed`."""
    merged: dict[str, LayerEntry] = {}
    for layer in layers:
        for entry in layer:
            whiteout = find_whiteout(entry.path)
            if whiteout:
                for known in [known for known in merged if whiteout.hides(known)]:
                    del merged[known]
                hidden = whiteout.path
                merged[hidden] = replace(entry, path=hidden, kind=_REMOVED, mode="", owner="", size=0, sha256="")
            else:
                merged[entry.path] = entry
    return merged


def _base_layers(theirs: Sequence[str], ours: Sequence[str], base: Base, under: PulledPlatform | None) -> tuple[int, int]:
    if base.layers is not None:
        if base.layers > min(len(theirs), len(ours)):
            raise CouldNotRead(f"there are fewer than {base.layers} layers")
        return base.layers, base.layers
    if base.reference is None:
        shared = _shared(theirs, ours)
        return shared, shared
    if under is None:
        raise CouldNotRead(f"{base.reference} lacks a platform that both images have")
    # An image that does not stand on that base is read whole, so that this shows.
    whole = len(under.config.diff_ids)
    counts = [whole if _shared(ids, under.config.diff_ids) == whole else 0 for ids in (theirs, ours)]
    return counts[0], counts[1]


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def _read(reference: ImageReference, pulled: PulledPlatform, base_layers: int, registry: RegistryReader) -> Contents:
    layers = []
    with tempfile.TemporaryDirectory(prefix="istio-build-parity-") as scratch:
        for layer in pulled.manifest.layers()[base_layers:]:
            blob = Path(scratch, layer.digest.hex)
            registry.pull_blob(reference.repository, layer, blob)
            layers.append(read_layer(blob, layer.media_type))
            blob.unlink()
    return Contents(config=pulled.config, entries=merge_layers(layers), base_layers=base_layers)


def _facts(contents: Contents, other: Contents) -> dict[str, str]:
    config = contents.config
    facts = {
        "base.layers": str(contents.base_layers),
        "user": config.user,
        "entrypoint": " ".join(config.entrypoint),
        "command": " ".join(config.command),
        "workdir": config.working_dir,
    }
    facts |= {f"env.{name}": value for name, value in config.env}
    facts |= {f"label.{name}": value for name, value in config.labels}
    above = _directories_above(contents) | _directories_above(other)
    for path, entry in contents.entries.items():
        # Builders write the directories above a file into its layer, or do not.
        if entry.kind == "directory" and path in above and path not in other.entries:
            continue
        facts[f"file.{path}.kind"] = entry.kind
        if path in other.entries and entry.kind != _REMOVED:
            facts |= {f"file.{path}.mode": entry.mode, f"file.{path}.owner": entry.owner}
        if path in other.entries and entry.kind == "file":
            facts |= {f"file.{path}.size": str(entry.size), f"file.{path}.sha256": entry.sha256}
    return facts


def _directories_above(contents: Contents) -> set[str]:
    files = (PurePosixPath(path) for path, entry in contents.entries.items() if entry.kind != "directory")
    return {str(parent) for file in files for parent in file.parents}
