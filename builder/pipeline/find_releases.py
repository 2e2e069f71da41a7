"""Which releases a job is about: rules held against the tags of the repository, each release a job of its own."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date

from builder.config.request import SourceRequest
from builder.config.settings import Job
from builder.errors import LockError, RequestError
from builder.oci.reference import redact_url
from builder.pipeline.wiring import Adapters
from builder.recipe.istio_release import IstioRelease
from builder.recipe.release_wish import KnownReleases, WishKind


def find_releases(job: Job, adapters: Adapters) -> tuple[Job, ...]:
    """A job for each release that is asked for, the newest first; the job itself where that is one, or a directory.

    The repository is asked for its tags once. Raises SourceError for a rule that nothing fulfils.
    """
    source = job.source
    if not source.wishes:
        return (job,)
    if job.locked:
        return (at_release(job, find_locked(job)),)
    with adapters.progress.task("resolve", f"releases of {redact_url(source.url)}") as task:
        tags = choose_tags(source, adapters.git.list_tags, adapters.started.date())
        task.outcome = ", ".join(tags)
    if any(wish.kind is WishKind.SUPPORTED for wish in source.wishes):
        from builder.recipe.support import load_support

        adapters.progress.note(f"Which lines are supported: {load_support().note()}.")
    return tuple(at_release(job, tag) for tag in tags)


def choose_tags(source: SourceRequest, list_tags: Callable[[str], tuple[str, ...]], today: date) -> tuple[str, ...]:
    """The releases that are asked for, the newest first. `list_tags` gives a repository's, and is asked once, where it has to be.

    Raises SourceError for a rule that nothing fulfils.
    """
    # Names alone need no look at what there is, however many.
    by_rule = any(wish.kind is not WishKind.EXACT for wish in source.wishes)
    known = KnownReleases(
        tags=list_tags(source.url) if by_rule else (),
        place=redact_url(source.url),
        is_supported=lambda release: _is_supported(release, today),
    )
    return known.choose(source.wishes)


def find_one_release(job: Job, adapters: Adapters) -> Job:
    """The same for what is of one release. Raises RequestError where several are asked for."""
    jobs = find_releases(job, adapters)
    if len(jobs) > 1:
        raise RequestError(
            f"this is of one release, and {len(jobs)} are asked for: {', '.join(each.source.release for each in jobs)}",
            hint="Name one with --istio; `push` and `nightly` take several.",
        )
    return jobs[0]


def at_release(job: Job, tag: str) -> Job:
    """The job of this one release."""
    return replace(job, source=SourceRequest(release=tag, url=job.source.url))


def find_locked(job: Job) -> str:
    """The release that the lock binds, where that is what is asked for: nothing is looked up."""
    if job.source.may_be_several:
        raise RequestError(
            "--locked is of the one release that the lock binds, and --istio may mean several",
            hint="Give --istio that release; `istio-build lock`, with another --lock for each, binds several.",
        )
    from builder.resolve.lock_record import read_lock

    lock = read_lock(job.lock, strict=True)
    bound, [wish] = lock.file.source.release, job.source.wishes
    release = IstioRelease.parse(bound)
    if not release or (wish.kind is WishKind.LINE and release.line != wish.text):
        raise LockError(
            f"{lock.where(('source', 'release'))}: source.release: the lock has {bound!r}, and --istio {wish.text} is asked for",
            hint="`istio-build lock --update`, with the same words, binds the newest one.",
        )
    return bound


def _is_supported(release: IstioRelease, today: date) -> bool:
    from builder.recipe.support import load_support

    return load_support().covers(release, today)
