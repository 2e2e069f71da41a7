"""Tags that go on with releases (`1.29`, `latest`): which release gets which, and that none goes back to an older one."""

from collections.abc import Sequence
from dataclasses import replace

from builder.config.settings import Job
from builder.config.tag_template import fill_in
from builder.errors import RegistryError, RequestError
from builder.oci.reference import ImageReference
from builder.pipeline.prepare import Resolved
from builder.pipeline.wiring import Adapters
from builder.plan.tags import is_tag_of
from builder.publish.guards import Build
from builder.recipe.istio_release import IstioRelease
from builder.recipe.release_wish import is_candidate


def share_tags(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """The jobs, the newest release first, each with the moving tags that it sets: one that several would set is the newest's.

    A checkout and a candidate for a release set none. Raises RequestError where two releases would have the same tag.
    """
    taken: dict[str, str] = {}
    for job in jobs if len(jobs) > 1 else ():
        for tag in _own_tags(job):
            other = taken.setdefault(tag, job.source.release)
            if other != job.source.release:
                raise RequestError(
                    f"the tag {tag} would be that of {other} and of {job.source.release}",
                    hint="Several releases need a tag each: leave --tag out, or write it as --tag '{{ release }}-corp.1'.",
                )
    shared = []
    for job in jobs:
        moving = tuple(tag for tag in _moving_tags(job) if tag not in taken)
        taken |= dict.fromkeys(moving, job.source.release)
        shared.append(replace(job, request=replace(job.request, moving_tags=moving)))
    return tuple(shared)


def _own_tags(job: Job) -> list[str]:
    """What its tags will be, as far as that decides whether they are another release's, too: its commit is its own."""
    release = job.source.release
    values = {"release": release, "line": _line(release), "commit": f"of-{release}", "date": "20260101", "n": "1"}
    return [fill_in(tag, values) for tag in job.request.tags]


def _moving_tags(job: Job) -> tuple[str, ...]:
    release = job.source.release
    if not IstioRelease.parse(release) or is_candidate(release):
        return ()
    values = {"release": release, "line": _line(release)}
    tags = dict.fromkeys(fill_in(tag, values, "--moving-tags") for tag in job.moving_tags)
    return tuple(tag for tag in tags if tag not in _own_tags(job))


def _line(release: str) -> str:
    found = IstioRelease.parse(release)
    return found.line if found else release


def leave_newer(resolved: Resolved, adapters: Adapters) -> Resolved:
    """The job without those of its moving tags that are at a newer release already, at any of the hubs."""
    stay = {}
    for tag in resolved.request.moving_tags:
        newer = _find_newer(tag, resolved, adapters)
        if newer:
            stay[tag] = newer
    for reference, there in stay.values():
        adapters.progress.note(f"{reference} stays where it is: at {there}, which is newer.")
    if not stay:
        return resolved
    from builder.plan.planner import make_plan

    request = replace(resolved.request, moving_tags=tuple(tag for tag in resolved.request.moving_tags if tag not in stay))
    return replace(resolved, request=request, plan=make_plan(request, resolved.book, resolved.lock))


def _find_newer(tag: str, resolved: Resolved, adapters: Adapters) -> tuple[ImageReference, Build] | None:
    from builder.publish.tags import read_tags

    wanted = {
        reference: Build.read(dict(image.annotations))
        for image in resolved.plan.images
        for reference in image.references
        if is_tag_of(reference.tag, tag, image.key)
    }
    for hub in dict.fromkeys(reference.repository.hub for reference in wanted):
        try:
            there = read_tags(tuple(ref for ref in wanted if ref.repository.hub == hub), adapters.registry)
        except RegistryError:
            # It fails by itself when it is pushed to, and says so there; the other hubs go on.
            continue
        for reference, found in there.items():
            if found and Build.of(found).is_newer_than(wanted[reference]):
                return reference, Build.of(found)
    return None
