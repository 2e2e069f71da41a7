"""Pushes one release: from a job to a report, everything looked up, built where the hubs lack it, published, verified."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from builder.config.request import Request
from builder.config.settings import Job
from builder.pipeline.cache_care import warn_of_little_room
from builder.pipeline.moving_tags import leave_newer
from builder.pipeline.prepare import build_context, choose_engine, resolve_job
from builder.pipeline.report import Report
from builder.pipeline.wiring import Adapters
from builder.plan.model import Plan
from builder.publish.guards import Permissions


@dataclass(frozen=True, slots=True, kw_only=True)
class PushWishes:
    """How to push. `rebuild` builds also what the hubs have; `fail_fast` ends with the first image, or release, that fails.

    `on_wait` is called where another run of the same job has to be waited for, `on_planned` with each plan that is to be pushed.
    """

    permissions: Permissions
    rebuild: bool = False
    fail_fast: bool = False
    on_wait: Callable[[], None] = lambda: None
    on_planned: Callable[[Plan], None] = lambda plan: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A release at the hubs, and the request that it was made for, its tags filled in."""

    request: Request
    report: Report


def push_release(job: Job, adapters: Adapters, wishes: PushWishes, started: float) -> Pushed:
    """Push the release, or the checkout, of this job. `started`: time.monotonic() of its begin."""
    resolved = leave_newer(resolve_job(job, adapters, _import_what_publishes), adapters)
    from builder.pipeline.counted_tags import number_plan
    from builder.pipeline.run import push_plan

    rebuild = wishes.rebuild or resolved.always_build
    resolved, numbered = number_plan(resolved, adapters, wishes.permissions, rebuild=rebuild)
    wishes.on_planned(resolved.plan)
    engine = choose_engine(job, resolved, adapters)
    warn_of_little_room(resolved.tree, resolved.plan, adapters)
    permissions = replace(wishes.permissions, moving=resolved.request.moving_tags, counted=numbered.tags)
    with adapters.workspace.job(resolved.origin, resolved.plan.hub, wishes.on_wait, adapters.pause) as work:
        report = push_plan(
            resolved.plan,
            work / "layouts",
            build_context(resolved, work, engine, adapters, whole=False, fail_fast=wishes.fail_fast),
            replace(adapters.publish_context(permissions), lost=numbered.lost),
            rebuild=rebuild,
            started=started,
        )
    images = tuple(replace(image, reasons=numbered.reasons.get(image.key, image.reasons)) for image in report.images)
    return Pushed(request=resolved.request, report=replace(report, images=images))


def _import_what_publishes() -> None:
    """Before it is needed: see `resolve_job`."""
    import builder.pipeline.counted_tags
    import builder.pipeline.run  # noqa: F401
