"""What is kept of a run, as values: what it was asked, what it did when, how it ended. Pure."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from builder.errors import BuilderError, Outcome, ReleasesFailed
from builder.oci.reference import redact_url
from builder.pipeline.report import ImageReport, Report
from builder.plan.model import ImagePlan, Plan
from builder.runtime.progress import covered
from builder.runtime.text import counted

if TYPE_CHECKING:
    # It is long to import, and most runs verify nothing.
    from builder.verify.verification import Verification

# How subjects of tasks end that are of one platform.
_PLATFORM = re.compile(r"(?:^|.* )((?:linux|darwin|windows)/[a-z0-9]+(?:/v[0-9]+)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTask:
    """A task. `began` and `ended` are seconds since the run began; what was cut off ended with the run."""

    stage: str
    subject: str
    began: float
    ended: float
    outcome: str
    state: Literal["done", "failed", "cut off"]

    @property
    def platform(self) -> str:
        """The platform that it was for, "" where it was for all."""
        match = _PLATFORM.fullmatch(self.subject)
        return match[1] if match else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedMessage:
    """What was said, at so many seconds since the run began; `retry` of something that was tried again."""

    level: Literal["note", "warning"]
    text: str
    at: float
    retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedError:
    """How a run, or one release of it, failed: see `BuilderError`."""

    message: str
    hint: str
    exit_code: int
    ledger: tuple[Outcome, ...] = ()

    @classmethod
    def of(cls, error: BuilderError) -> "RecordedError":
        """The error as a value."""
        return cls(message=error.message, hint=error.hint, exit_code=error.exit_code, ledger=error.ledger)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedArtifact:
    """A file that somebody else built: where it is from (without credentials), and its sha256, 64 hex digits."""

    name: str
    platform: str
    location: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedInputs:
    """What a release is made of, as its lock binds it: `bases` by name, `mirrors` by image, all by digest."""

    commit: str
    go: str
    go_reason: str
    compile_image: str
    compression: str
    bases: tuple[tuple[str, str], ...]
    mirrors: tuple[tuple[str, str], ...]
    artifacts: tuple[RecordedArtifact, ...]


def inputs_of(plan: Plan) -> RecordedInputs:
    """What a plan is made of."""
    bases = {image.base.name: str(image.base.reference) for image in plan.images if isinstance(image, ImagePlan) and image.base}
    return RecordedInputs(
        commit=plan.commit,
        go=plan.go_version,
        go_reason=plan.go_reason,
        compile_image=plan.compile_image,
        compression=plan.compression,
        bases=tuple(sorted(bases.items())),
        mirrors=tuple((mirror.image, str(mirror.source)) for mirror in plan.mirrors),
        artifacts=tuple(
            RecordedArtifact(
                name=artifact.name,
                platform=str(artifact.platform),
                location=redact_url(artifact.location),
                sha256=artifact.sha256,
            )
            for artifact in plan.artifacts
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRecord:
    """One release of a run: what it was made of, and what became of it. A run that builds nothing has no inputs."""

    version: str
    hub: str
    inputs: RecordedInputs | None = None
    report: Report | None = None
    error: RecordedError | None = None

    @property
    def has_changed(self) -> bool:
        """Whether any of it is not as it was."""
        return self.report is not None and self.report.changed

    @property
    def state(self) -> Literal["failed", "changed", "unchanged", "not done"]:
        """What became of it; `not done` where the run ended before it did."""
        if self.error:
            return "failed"
        if self.report is None:
            return "not done"
        return "changed" if self.has_changed else "unchanged"

    @property
    def summary(self) -> str:
        """What became of it, in a few words."""
        if self.error:
            return f"failed ({self.error.exit_code})"
        if self.report is None:
            return "not done"
        moved = self.report.traffic.tags_moved if self.report.traffic else 0
        told = [f"{count} {state}" for state, count in _count(self.report.images)]
        # Else they moved because of what was made.
        if moved and not any(image.state != "unchanged" for image in self.report.images):
            told.append(f"{counted(moved, 'tag')} moved")
        return ", ".join(told) or "nothing to do"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run of one command. `began` is a time in UTC (`2026-03-01T03:00:07Z`), `tool` this program with its version.

    `verified_release` is the release of Istio that hubs were verified against. `before` says at which digest a reference was
    when the last run that is known of ended, by reference.
    """

    id: str
    command: str
    tool: str
    began: str
    seconds: float
    hubs: tuple[str, ...]
    releases: tuple[ReleaseRecord, ...] = ()
    tasks: tuple[RecordedTask, ...] = ()
    messages: tuple[RecordedMessage, ...] = ()
    error: RecordedError | None = None
    verification: "Verification | None" = None
    verified_release: str = ""
    before: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What its files are called, in the order of time: `20260301T030007Z-1a2b3c4d`."""
        return f"{re.sub('[-:]', '', self.began)}-{self.id}"

    @property
    def images(self) -> tuple[ImageReport, ...]:
        """All images of all its releases."""
        return tuple(image for release in self.releases if release.report for image in release.report.images)

    @property
    def states(self) -> tuple[tuple[str, int], ...]:
        """How many images are `built`, `unchanged` and so on, in the order of the alphabet."""
        return _count(self.images)

    @property
    def has_changed(self) -> bool:
        """Whether anything is not as it was."""
        return any(release.has_changed for release in self.releases)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What somebody should look at."""
        return tuple(message.text for message in self.messages if message.level == "warning")

    @property
    def retries(self) -> tuple[str, ...]:
        """What was tried again."""
        return tuple(message.text for message in self.messages if message.retry)

    @property
    def stages(self) -> tuple[tuple[str, float], ...]:
        """The seconds in which each stage was at work, in the order in which they began."""
        spans: dict[str, list[tuple[float, float]]] = {}
        for task in sorted(self.tasks, key=lambda task: task.began):
            spans.setdefault(task.stage, []).append((task.began, task.ended))
        return tuple((stage, covered(found)) for stage, found in spans.items())

    @property
    def summary(self) -> str:
        """How it ended, in a line."""
        if self.error:
            told = [self.error.message.partition("\n")[0].rstrip(":")]
            if self.error.exit_code == ReleasesFailed.exit_code:
                told.append(", ".join(release.version for release in self.releases if release.error))
            return f"failed ({self.error.exit_code}): {': '.join(told)}"
        if self.verification:
            images, faults = self.verification.images, self.verification.faults
            return f"{counted(len(images), 'image')} verified, {counted(len(faults), 'fault')}"
        if len(self.releases) < 2:
            return self.releases[0].summary if self.releases else "nothing to do"
        told = [f"{release.version}: {release.summary}" for release in self.releases if release.state != "unchanged"]
        same = [release.version for release in self.releases if release.state == "unchanged"]
        return "; ".join([*told, *([f"unchanged: {', '.join(same)}"] if same else [])])

    def change_of(self, image: ImageReport) -> str:
        """What of an image is not as at the run before: `new`, the digest that its first tag had, or "" where it is the same."""
        before = {self.before[str(reference)] for reference in image.references if str(reference) in self.before}
        if not before:
            return "new" if self.before else ""
        return ", ".join(sorted(before - {str(image.digest)}))


def _count(images: Iterable[ImageReport]) -> tuple[tuple[str, int], ...]:
    """How many are `built`, `unchanged` and so on, in the order of the alphabet."""
    return tuple(sorted(Counter(image.state for image in images).items()))
