"""A run of several releases: one after the other, each all or nothing at the hubs; one that fails does not stop the others."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from builder.config.settings import Job
from builder.errors import BuilderError, Interrupted, NotReadBack, PublishError, ReleasesFailed, VerifyError
from builder.pipeline.find_releases import find_releases
from builder.pipeline.moving_tags import share_tags
from builder.pipeline.push import Pushed, PushWishes, push_release
from builder.pipeline.report import ReleaseOutcome, RunReport
from builder.pipeline.wiring import Adapters
from builder.runtime.disk_space import system_error
from builder.runtime.text import counted


def _nothing(*_: object) -> None:
    """For what nobody waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRun:
    """What to do with each release. `check` looks at one that was pushed, and raises where it is not right.

    `tell` hears of each release when it has ended, with all that ended before it; what it raises ends the run. `push` pushes one.
    """

    wishes: PushWishes
    check: Callable[[Job, Pushed, Adapters], None] = _nothing
    tell: Callable[[Sequence[ReleaseOutcome]], None] = _nothing
    push: Callable[[Job, Adapters, PushWishes, float], Pushed] = push_release


def push_releases(job: Job, adapters: Adapters, run: ReleaseRun, started: float) -> RunReport:
    """Push every release that the job is about, the newest first. `started`: time.monotonic() of the run.

    What fails for one release is in its outcome. Raises Interrupted, or NotReadBack, which end all, and say what was done;
    and what finding the releases raises.
    """
    jobs = share_tags(find_releases(job, adapters))
    outcomes: list[ReleaseOutcome] = []
    for number, each in enumerate(jobs):
        adapters = adapters.for_next()
        try:
            outcomes.append(_push(each, adapters, run, started if number == 0 else time.monotonic()))
        except (Interrupted, NotReadBack) as error:
            raise _end(error, _name(each), outcomes) from error
        run.tell(tuple(outcomes))
        if outcomes[-1].error and run.wishes.fail_fast:
            break
    skipped = [ReleaseOutcome(release=_name(each)) for each in jobs[len(outcomes) :]]
    return RunReport(releases=(*outcomes, *skipped), seconds=time.monotonic() - started)


def _push(job: Job, adapters: Adapters, run: ReleaseRun, started: float) -> ReleaseOutcome:
    adapters.progress.begin_anew()
    outcome = ReleaseOutcome(release=_name(job))
    try:
        pushed = run.push(job, adapters, run.wishes, started)
        outcome = replace(outcome, release=job.source.release or pushed.report.version, report=pushed.report)
        if pushed.report.failure:
            return replace(outcome, error=pushed.report.failure)
        run.check(job, pushed, adapters)
    except (Interrupted, NotReadBack):
        raise
    except BuilderError as error:
        return replace(outcome, error=error)
    except OSError as error:
        return replace(outcome, error=system_error(error))
    return outcome


def _name(job: Job) -> str:
    return job.source.release or str(job.source.directory)


def _end(error: BuilderError, release: str, before: Sequence[ReleaseOutcome]) -> BuilderError:
    """The error of the release that was at work, which also says what became of those before it."""
    if before:
        told = ", ".join(f"{outcome.release} {outcome.state}" for outcome in before)
        error.message = f"{release}: {error.message}\nbefore it: {told}"
        error.releases = tuple(outcome.end for outcome in before)
    return error


def failure_of(report: RunReport, *, may_be_several: bool) -> BuilderError | None:
    """The error to end the run with, None where all went well: of a single release its own, of several one that tells of each."""
    failed = [outcome for outcome in report.releases if outcome.error]
    if not failed:
        return None
    if not may_be_several:
        return failed[0].error
    causes: dict[str, list[str]] = {}
    for outcome in failed:
        causes.setdefault(str(outcome.error), []).append(outcome.release)
    lines = [f"{', '.join(releases)}: {cause}" for cause, releases in causes.items()]
    done = [outcome.release for outcome in report.releases if not outcome.error and outcome.report]
    skipped = [outcome.release for outcome in report.releases if outcome.state == "skipped"]
    told = [f"{len(failed)} of {counted(len(report.releases), 'release')} failed:", *lines]
    still = [outcome.release for outcome in failed if outcome.error and not outcome.report and _left_tags(outcome.error)]
    told += [f"no tag has moved of: {', '.join(still)}"] if still else []
    told += [f"at the hub: {', '.join(done)}"] if done else []
    told += [f"not begun (--fail-fast): {', '.join(skipped)}"] if skipped else []
    error = ReleasesFailed("\n".join(told), hint=_hints(failed))
    error.releases = tuple(outcome.end for outcome in report.releases)
    return error


def _left_tags(error: BuilderError) -> bool:
    """Whether it says that all tags are where they were. These two tell themselves which are."""
    return not isinstance(error, PublishError | VerifyError)


def _hints(failed: Sequence[ReleaseOutcome]) -> str:
    """What to do: where that is not the same for all, with the releases that it is for."""
    by_hint: dict[str, list[str]] = {}
    for outcome in failed:
        if outcome.error and outcome.error.hint:
            by_hint.setdefault(outcome.error.hint, []).append(outcome.release)
    if len(by_hint) < 2:
        return "".join(by_hint)
    return "\n".join(f"{', '.join(releases)}: {hint}" for hint, releases in by_hint.items())
