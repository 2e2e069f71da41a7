"""What a run achieved, as values; how they are shown is the command line's business."""

from dataclasses import dataclass

from builder.errors import BuilderError
from builder.oci.reference import Digest, ImageReference, Platform
from builder.publish.publication import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformReport:
    """One platform of an image: its manifest, and the compressed bytes of its layers."""

    platform: Platform
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """One image: where it is, and whether this run built it (`built`, or `mirrored`), found it there
    (`unchanged`), was `given` it, `promoted` it, or had tags go `back` to it."""

    key: str
    references: tuple[ImageReference, ...]
    digest: Digest
    platforms: tuple[PlatformReport, ...]
    state: str
    layout: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubReport:
    """One hub: whether its tags `moved` to the release, were at it (`unchanged`), or that it `failed`, and with what."""

    hub: str
    state: str
    tags_moved: int
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The whole run. Seconds are wall time; stages overlap.

    `version` is the tag that is stamped into the programs; `builder_version` is istio-build's own. `images` are those at hubs
    that have the release; where others have it not, `failure` is what the run ends with when it has told of these.
    """

    version: str
    builder_version: str
    hub: str
    images: tuple[ImageReport, ...]
    traffic: Traffic | None
    stages: tuple[tuple[str, float], ...]
    seconds: float
    hubs: tuple[HubReport, ...] = ()
    failure: BuilderError | None = None
