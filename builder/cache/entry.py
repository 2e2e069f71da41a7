"""What lies in the cache, as values. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What something in the cache is."""

    SOURCE = "sources"
    JOB = "jobs"
    DOWNLOAD = "downloads"
    PACKAGES = "packages"
    DOCUMENT = "documents"
    LAYER = "layers"
    LOOK = "looks"

    @property
    def meaning(self) -> str:
        """What that is, for people."""
        return _MEANINGS[self]


_MEANINGS = {
    Kind.SOURCE: "releases of Istio that were fetched",
    Kind.JOB: "compiled programs and layouts, by source and hub",
    Kind.DOWNLOAD: "Envoy, ztunnel, layers of base images, packages",
    Kind.PACKAGES: "what archives of packages hold",
    Kind.DOCUMENT: "manifests and configurations of images",
    Kind.LAYER: "what layers hold",
    Kind.LOOK: "what layers of hubs hold, for `verify`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that goes or stays as a whole. `path` is relative to the cache, `size` in bytes on the disk, `used` in seconds
    since 1970; `about` says for people what it belongs to, such as a release, as far as that is known.

    `shared` is what several others need, such as the git objects of all releases of one place: it goes after them.
    """

    kind: Kind
    path: str
    size: int
    used: float
    about: str = ""
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All that can go, and `kept`, the bytes of what is none of that: what was noted of tags, locks, checksums at first sight."""

    entries: tuple[Entry, ...]
    kept: int = 0

    @property
    def size(self) -> int:
        """All bytes."""
        return self.kept + total(self.entries)

    def of(self, kind: Kind) -> tuple[Entry, ...]:
        """The entries of one kind, the one that was used last first."""
        return tuple(sorted((entry for entry in self.entries if entry.kind is kind), key=lambda entry: -entry.used))


def total(entries: Sequence[Entry]) -> int:
    """The bytes of these entries."""
    return sum(entry.size for entry in entries)
