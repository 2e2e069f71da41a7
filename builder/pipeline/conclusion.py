"""The end of a run: what became of a release at each of its hubs, as a report, or as the error that tells of all of them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from builder import __version__
from builder.build.built import Built
from builder.errors import BuilderError, Interrupted, NotReadBack, Outcome
from builder.oci.reference import Hub
from builder.pipeline.hubs import HubGroups
from builder.pipeline.look import Look
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.release_at_hub import AtHub, tell_all_tags
from builder.pipeline.report import HubReport, ImageReport, Report
from builder.pipeline.reporting import patches_of, report_pulled
from builder.pipeline.verdict import end_interrupted, join_failures, outcomes_at, sort_ledger
from builder.publish.publication import Release, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """How far a release came: at each hub that took part to the end, and what the others failed with."""

    release: Release
    hubs: HubGroups
    at: Mapping[Hub, AtHub]
    failures: Mapping[Hub, BuilderError]

    @property
    def done(self) -> tuple[Hub, ...]:
        """The hubs that have all of it."""
        return tuple(hub for hub in self.hubs.all if hub not in self.failures)


def conclude(reached: Reached, states: Mapping[str, str], context: PublishContext, started: float) -> Report:
    """The report of the hubs that have the release; its `failure` tells of all, where others have it not.

    `states` says of each image, by its key, what the report is to say. Raises that failure where no hub has it, or the run
    was interrupted.
    """
    failure = _failure(reached) if reached.failures else None
    if failure and (not reached.done or isinstance(failure, Interrupted | NotReadBack)):
        raise failure
    traffic = sum((reached.at[hub].traffic for hub in reached.at), Traffic())
    return Report(
        version=reached.release.version,
        builder_version=__version__,
        hub=reached.release.hub,
        images=_images(reached, states),
        traffic=replace(traffic, tags_moved=sum(reached.at[hub].traffic.tags_moved for hub in reached.done)),
        stages=context.progress.stage_seconds(),
        seconds=time.monotonic() - started,
        hubs=tuple(_report_hub(reached, hub) for hub in reached.hubs.all),
        failure=failure,
        patches=patches_of(entry.index.annotations() for entry in reached.release.publications),
    )


def tell_incomplete(built: Built, release: Release, look: Look, hubs: HubGroups) -> BuilderError:
    """What a run ends with that could not make all images: a release is all of them, so hubs keep the one that they have.

    `release` has those that were made, and sent.
    """
    lacking = look.lacking(hubs.left)
    error = built.error(unchanged=tuple(entry.key for entry in release.publications if entry.key not in lacking))
    failed = {failure.key for failure in built.failures}
    entries = [entry for entry in error.ledger if entry.image in failed]
    for hub in hubs.all:
        failure = hubs.failures.get(hub)
        for entry in release.at(hub).publications:
            there = hub in look.found and entry.key in look.found[hub]
            state = "failed" if failure else "unchanged" if there else "sent"
            entries += outcomes_at(hub, (entry,), state, failure.message if failure else "")
    error.ledger = sort_ledger(entries)
    where = "the hub" if len(hubs.all) < 2 else ", ".join(map(str, hubs.left))
    error.message += f"\nNo tag has moved. What was made is at {where}, and is not sent again."
    error.message += "".join(f"\n{hub} has failed, too: {failure.message}" for hub, failure in hubs.failures.items())
    return error


def _failure(reached: Reached) -> BuilderError:
    hubs, failures = reached.hubs.all, reached.failures
    released = {hub: _tell_released(reached.at[hub]) for hub in reached.done}
    if reached.hubs.was_interrupted and any(isinstance(error, Interrupted | NotReadBack) for error in failures.values()):
        error = end_interrupted(hubs, failures, released, moved=any(at.before for at in reached.at.values()))
    else:
        error = join_failures(hubs, failures, released)
    error.ledger = sort_ledger(entry for hub in hubs for entry in _outcomes(reached, hub))
    return error


def _tell_released(at: AtHub) -> str:
    count = len(at.release.references)
    if at.traffic.tags_moved:
        return f"{tell_all_tags(count, 'is', 'are')} at this release"
    return f"{tell_all_tags(count, 'was', 'were')} at this release already"


def _outcomes(reached: Reached, hub: Hub) -> list[Outcome]:
    at, failure = reached.at.get(hub), reached.failures.get(hub)
    entries: list[Outcome] = []
    for entry in reached.release.at(hub).publications:
        state = "moved" if at and at.was_moved(entry) else "failed" if failure else "unchanged"
        entries += outcomes_at(hub, (entry,), state, failure.message if failure else "")
    return entries


def _images(reached: Reached, states: Mapping[str, str]) -> tuple[ImageReport, ...]:
    pulled = [image for hub in reached.done for image in reached.at[hub].pulled]
    before = {reference: found for hub in reached.done for reference, found in reached.at[hub].before.items()}
    entries = reached.release.at(*reached.done).publications
    return tuple(report_pulled(entry, pulled, states[entry.key], before) for entry in entries)


def _report_hub(reached: Reached, hub: Hub) -> HubReport:
    failure = reached.failures.get(hub)
    if failure:
        return HubReport(hub=str(hub), state="failed", tags_moved=0, error=failure.message)
    moved = reached.at[hub].traffic.tags_moved
    return HubReport(hub=str(hub), state="moved" if moved else "unchanged", tags_moved=moved)
