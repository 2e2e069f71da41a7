"""What a nightly run does with a release besides pushing it: looks at it as a puller does."""

from dataclasses import dataclass, replace
from typing import Literal

from builder.config.request import SourceRequest
from builder.config.settings import Job
from builder.errors import Interrupted, NotReadBack, VerifyError
from builder.pipeline.push import Pushed
from builder.pipeline.verify import NOTHING, VerifyRequest, plan_verification, run_verification, tell_faults
from builder.pipeline.wiring import Adapters
from builder.recipe.istio_release import IstioRelease

# Which releases are looked at: those of which something has changed, all, or none.
Verified = Literal["changed", "all", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyCheck:
    """How a release is verified once it is at the hubs; `deep` and `run` are those of `VerifyRequest`.

    What has not changed was seen to be whole when it was looked for.
    """

    which: Verified = "changed"
    deep: bool = False
    run: bool = False

    def __call__(self, job: Job, pushed: Pushed, adapters: Adapters) -> None:
        """Raises VerifyError where something is wrong with it, RegistryError where that cannot be told, NotReadBack."""
        if self.which == "none" or (self.which == "changed" and not pushed.report.changed):
            return
        version = pushed.report.version
        release = next((text for text in (job.source.release, version) if IstioRelease.parse(text)), "")
        if not release:
            adapters.progress.note(f"{version} names no release of Istio, so what it should be is not known: it is not verified.")
            return
        try:
            self._verify(_as_verified(job, pushed, release), adapters)
        except Interrupted as error:
            message = f"interrupted while {version} was verified; it is at the hub, and all its tags are at it"
            raise NotReadBack(message, hint="`istio-build verify` looks at it again.") from error

    def _verify(self, job: Job, adapters: Adapters) -> None:
        request = VerifyRequest(compare_with=NOTHING, deep=self.deep, run=self.run)
        found = run_verification(plan_verification(job, request), request, adapters)
        if found.faults:
            raise VerifyError(
                f"it was pushed, and a puller would find it wrong:\n{tell_faults(found)}",
                hint=f"`istio-build verify --istio {job.source.release} --fix-hint`, with the same hub, says how each is mended.",
            )
        if found.failures:
            raise found.failures[0]
        for finding in found.findings:
            adapters.progress.note(f"{finding.reference} {finding.platform}: {finding.message}".replace(" :", ":"))


def _as_verified(job: Job, pushed: Pushed, release: str) -> Job:
    """The job as `verify` takes it: what was pushed, and no more."""
    tags = (*(pushed.request.tags or (pushed.report.version,)), *pushed.request.moving_tags)
    request = replace(pushed.request, tags=tags, images=pushed.request.images or ("core",))
    return replace(job, request=request, source=SourceRequest(release=release, url=job.source.url))
