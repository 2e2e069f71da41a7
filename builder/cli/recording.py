"""What is kept of a run while it goes on, for what is told of it when it has ended."""

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from builder import __version__
from builder.cli.failure import error_of
from builder.cli.voice import Voice
from builder.errors import BuilderError
from builder.runtime.progress import Observer

if TYPE_CHECKING:
    from builder.config.settings import Job
    from builder.oci.reference import Hub
    from builder.pipeline.report import ReleaseOutcome, Report
    from builder.plan.model import Plan
    from builder.report.record import ReleaseRecord, RunRecord
    from builder.verify.verification import Verification


class Recording:
    """What a command tells of its run. One release after the other: each begins with `planned`, where there is a plan."""

    def __init__(self, command: str, hubs: Sequence["Hub"]) -> None:
        from builder.report.record import RunRecord
        from builder.report.recorder import Recorder

        self._recorder = Recorder()
        self._releases: list[ReleaseRecord] = []
        self._error: BuilderError | None = None
        self._run = RunRecord(
            id=uuid.uuid4().hex[:8],
            command=command,
            tool=f"istio-build {__version__}",
            began=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            seconds=0.0,
            hubs=tuple(map(str, hubs)),
        )

    def over(self, observer: Observer) -> Observer:
        """An observer that keeps what it is told, and passes it on."""
        return self._recorder.over(observer)

    def planned(self, plan: "Plan") -> None:
        """A release begins: this is what it is made of."""
        from builder.report.record import ReleaseRecord, inputs_of

        self._releases.append(ReleaseRecord(version=plan.version, hub=plan.hub, inputs=inputs_of(plan)))

    def achieved(self, report: "Report") -> None:
        """The release that was planned last is done; or one that needed no plan."""
        from builder.report.record import ReleaseRecord

        if self._is_planned:
            self._releases[-1] = replace(self._releases[-1], report=report)
        else:
            self._releases.append(ReleaseRecord(version=report.version, hub=report.hub, report=report))
        # Of hubs that have it not, where others have it: the run ends with that when it has told of these.
        self._error = report.failure

    def concluded(self, outcome: "ReleaseOutcome") -> None:
        """A release of several has ended, be it that it was planned or failed before, and the run goes on with others."""
        from builder.report.record import RecordedError, ReleaseRecord

        if outcome.report:
            self.achieved(outcome.report)
        elif not self._is_planned:
            self._releases.append(ReleaseRecord(version=outcome.release, hub=""))
        if outcome.error:
            self._releases[-1] = replace(self._releases[-1], error=RecordedError.of(outcome.error))

    def ended(self, error: BuilderError | None) -> None:
        """The run ends with this error, which is raised when all of it was told, or with none."""
        self._error = error

    @property
    def _is_planned(self) -> bool:
        """Whether a release was planned and has not ended."""
        return bool(self._releases) and self._releases[-1].report is None and self._releases[-1].error is None

    def verified(self, verification: "Verification", release: str) -> None:
        """This was found at hubs. `release` is the one that they were held against."""
        self._run = replace(self._run, verification=verification, verified_release=release)

    def record(self, error: BuilderError | None) -> "RunRecord":
        """The run as it is now: it has ended, with this error or with none."""
        from builder.report.record import RecordedError

        error = error or self._error
        return replace(
            self._run,
            seconds=self._recorder.seconds(),
            releases=tuple(self._releases),
            tasks=self._recorder.tasks(),
            messages=self._recorder.messages(),
            error=RecordedError.of(error) if error else None,
        )


class _Unheard(Recording):
    """That of a run which nobody is told of: nothing is kept, and what would keep it is not imported."""

    def __init__(self) -> None:
        """There is nothing to begin with."""

    def over(self, observer: Observer) -> Observer:
        """See `Recording.over`."""
        return observer

    def planned(self, plan: "Plan") -> None:
        """See `Recording.planned`."""

    def achieved(self, report: "Report") -> None:
        """See `Recording.achieved`."""

    def concluded(self, outcome: "ReleaseOutcome") -> None:
        """See `Recording.concluded`."""

    def ended(self, error: BuilderError | None) -> None:
        """See `Recording.ended`."""

    def verified(self, verification: "Verification", release: str) -> None:
        """See `Recording.verified`."""


@contextmanager
def recorded(context: click.Context, job: "Job", hubs: Sequence["Hub"] = ()) -> Iterator[Recording]:
    """Keep what the run within tells, and have all that the job wants told of it when it has ended, well or not.

    Whether that can be written is looked at first: raises RequestError. What fails at the end is a warning, and changes nothing
    about how the run ended. `hubs` are those of the job by default.
    """
    from builder.cli.telling import open_outlets, tell

    voice = context.ensure_object(Voice)
    outlets = open_outlets(job.outputs, os.environ)
    if not outlets:
        yield _Unheard()
        return
    recording = Recording(context.info_name or "", hubs or job.request.hubs)
    try:
        yield recording
    except BrokenPipeError:
        # Whoever read what is printed has stopped reading: nothing is wrong.
        tell(outlets, recording.record(None), voice.warn)
        raise
    except BaseException as error:
        tell(outlets, recording.record(error_of(error)), voice.warn)
        raise
    tell(outlets, recording.record(None), voice.warn)
