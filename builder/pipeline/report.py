"""What a run achieved, as values; how they are shown is the command line's business."""

from dataclasses import dataclass

from builder.errors import BuilderError, ReleaseEnd
from builder.oci.reference import Digest, ImageReference, Platform
from builder.publish.publication import Traffic
from builder.publish.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformReport:
    """One platform of an image: its manifest, and the compressed bytes of its layers."""

    platform: Platform
    digest: Digest
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedTag:
    """A tag that is at an image now, and the digest that it was at before: None where it is new."""

    reference: ImageReference
    before: Digest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """One image: where it is, and whether this run built it (`built`, or `mirrored`), found it there
    (`unchanged`), was `given` it, `promoted` it, or had tags go `back` to it.

    `reasons` say why a push made it. `moved` are those of its references that were elsewhere before this run, or nowhere."""

    key: str
    references: tuple[ImageReference, ...]
    digest: Digest
    platforms: tuple[PlatformReport, ...]
    state: str
    layout: str = ""
    reasons: tuple[Reason, ...] = ()
    moved: tuple[MovedTag, ...] = ()

    @property
    def has_changed(self) -> bool:
        """Whether it was made or copied, or a tag leads to it that did not."""
        return self.state != "unchanged" or bool(self.moved)

    @property
    def was_damaged(self) -> bool:
        """Whether it was made because a hub had lost something of it."""
        return any(reason.kind in ("damaged", "platform-lost") for reason in self.reasons)

    def moved_from(self) -> tuple[tuple[Digest | None, tuple[str, ...]], ...]:
        """The tags that moved, by where they were, None for new ones; by their names alone where all are at one hub."""
        hubs = {reference.repository.hub for reference in self.references}
        by_digest: dict[Digest | None, list[str]] = {}
        for tag in self.moved:
            by_digest.setdefault(tag.before, []).append(str(tag.reference) if len(hubs) > 1 else tag.reference.tag)
        return tuple((before, tuple(names)) for before, names in by_digest.items())


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
    that have the release; where others have it not, `failure` is what the run ends with when it has told of these. `patches` are
    those that are on the source: each its name and `sha256:…`.
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
    patches: tuple[tuple[str, str], ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the hubs are not as they were: a tag has moved, or what a hub had lost is there again.

        What another machine was quicker to push has not changed by this run. Where nothing was published, what was built counts.
        """
        if self.traffic is None:
            return any(image.state != "unchanged" for image in self.images)
        return self.traffic.tags_moved > 0 or any(image.was_damaged for image in self.images)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOutcome:
    """What became of one release of a run: its report where it is at the hubs, its error where something went wrong.

    There may be both, where it was pushed and then found wanting; and neither, where it was not begun.
    """

    release: str
    report: Report | None = None
    error: BuilderError | None = None

    @property
    def state(self) -> str:
        """`pushed`, `unchanged`, `failed`, or `skipped`."""
        if self.error:
            return "failed"
        if self.report is None:
            return "skipped"
        return "pushed" if self.report.changed else "unchanged"

    @property
    def end(self) -> ReleaseEnd:
        """The same without the report, for an error to tell."""
        if self.error is None:
            return ReleaseEnd(release=self.release, state=self.state)
        code, error, hint = self.error.exit_code, self.error.message, self.error.hint
        return ReleaseEnd(release=self.release, state=self.state, exit_code=code, error=error, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A run of several releases, the newest first. Seconds are wall time."""

    releases: tuple[ReleaseOutcome, ...]
    seconds: float

    @property
    def reports(self) -> tuple[Report, ...]:
        """Those of releases that are at the hubs."""
        return tuple(outcome.report for outcome in self.releases if outcome.report)

    @property
    def changed(self) -> bool:
        """Whether the hubs are not as they were."""
        return any(report.changed for report in self.reports)
