"""Checks of this machine: its programs, what would assemble, its disks, its cache, and who else is at work."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from builder.cache.survey import Surveyor
from builder.cache.workspace import LOCK_FILE, Workspace
from builder.config.go_version import is_minor_line, version_key
from builder.doctor.case import Case
from builder.doctor.examine import Check
from builder.doctor.finding import Finding, failed, ok, warning
from builder.doctor.probes import Probes
from builder.errors import EngineError, JournalError, ToolchainError
from builder.oci.reference import Platform
from builder.publish.journal import Journal
from builder.runtime.disk_space import free_bytes, may_write
from builder.runtime.file_lock import locked_if_free
from builder.runtime.text import counted

# What a first build of a release's core images takes a platform: see docs/doctor.md.
CACHE_BYTES, OUTPUT_BYTES, TEMPORARY_BYTES = 1_300_000_000, 300_000_000, 100_000_000
# With less than this not even a small image is made.
_HARDLY_ANY = 100_000_000
_FULL_CACHE = 50_000_000_000
_PRUNE = "istio-build cache prune --keep 30d"


def machine_checks(case: Case, temporary: Path, unknown: Sequence[str] = ()) -> Iterator[Check]:
    """All that apply to this case. `unknown` tells of variables that mean nothing."""
    yield Check(name="settings", subject="", look=partial(_settings, case, unknown))
    yield Check(name="git", subject="", look=_git)
    if case.compiles and not case.request.go.image:
        yield Check(name="go", subject="", look=partial(_go, case))
    yield Check(name="engine", subject="", look=partial(_engine, case))
    for platform in case.request.platforms if case.running_template or case.starts else ():
        yield Check(name="emulation", subject=str(platform), look=partial(_emulation, case, platform))
    count = len(case.request.platforms)
    for path, needed in (
        (case.cache, CACHE_BYTES * count),
        (case.output, OUTPUT_BYTES * count),
        (temporary, TEMPORARY_BYTES),
    ):
        yield Check(name="disk", subject=str(path), look=partial(_disk, path, needed))
    yield Check(name="cache", subject=str(case.cache), look=partial(_cache, case))
    yield Check(name="runs", subject="", look=partial(_runs, case))


def _settings(case: Case, unknown: Sequence[str], _: Probes) -> Finding:
    if unknown:
        return warning(" ".join(unknown), "what they were to set is not set", "Rename them, or unset them.")
    places = dict.fromkeys(setting.origin.rpartition(":")[0] or setting.origin for setting in case.job.settings)
    given = [place for place in places if place != "default"]
    return ok(f"from {', '.join(given)}" if given else "none but defaults")


def _git(probes: Probes) -> Finding:
    return ok(f"git {probes.git.version()}")


def _go(case: Case, probes: Probes) -> Finding:
    """Which Go this machine has; what it can fetch is asked elsewhere."""
    installed = probes.go.installed()
    found = f"Go {installed.version} at {installed.program}"
    wanted = case.source.go_directive if case.source else ""
    if case.request.go.version == "machine" and wanted and version_key(installed.version) < version_key(wanted):
        raise ToolchainError(
            f"{found}, and the source wants Go {wanted}", hint="Install that, or leave --go out: then it is fetched."
        )
    if wanted and case.request.go.version == "release":
        line = "the last patch of " if is_minor_line(wanted) else ""
        return ok(f"{found}; the source asks for {line}{wanted}")
    return ok(found)


def _engine(case: Case, probes: Probes) -> Finding:
    """What `--engine` comes to, and why."""
    kind, needs = case.job.engine, case.needs_docker
    if kind == "builtin" or case.job.offline:
        why = "--engine builtin" if kind == "builtin" else "--offline"
        if needs or kind == "buildx":
            return failed(
                f"{needs or '--engine buildx'} needs Docker, and {why} does without", "nothing is built", f"Leave {why} out."
            )
        return ok(f"istio-build itself assembles: {why}")
    try:
        found = probes.engine.look()
    except EngineError as error:
        if kind == "buildx" or needs:
            asked = f"{needs} needs Docker" if needs else "--engine buildx asks for it"
            return failed(f"{asked}: {error.message}", "nothing is built", error.hint)
        return ok(f"istio-build itself assembles, as auto finds no Docker: {error.message}", "images are the same to the digest")
    return ok(f"{found.name} assembles: {'--engine buildx' if kind == 'buildx' else 'it answers, so auto takes it'}")


def _emulation(case: Case, platform: Platform, probes: Probes) -> Finding:
    what = f"{case.running_template} has a RUN" if case.running_template else "verify --run starts programs"
    try:
        found = probes.engine.look()
    except EngineError as error:
        return warning(f"{what}, and no Docker answers: {error.message}", f"nothing of {platform} is started", error.hint)
    if str(platform) in found.platforms:
        return ok(f"{found.name} runs programs of {platform}")
    return failed(
        f"{what}, and {found.name} runs only {', '.join(found.platforms) or 'nothing that it tells'}",
        f"programs of {platform} end in `exec format error`",
        "Install qemu-user-static (Debian, Ubuntu), or `docker run --privileged --rm tonistiigi/binfmt --install all`.",
    )


def _disk(path: Path, needed: int, _: Probes) -> Finding:
    if not may_write(path):
        return failed(
            "this user may not write there", "nothing is built", "ISTIO_BUILD_CACHE, --output, TMPDIR name other places."
        )
    free = free_bytes(path)
    told = f"{free / 1e9:.1f} GB free"
    if free < min(_HARDLY_ANY, needed):
        return failed(told, "a run ends with a full disk", f"Free some space: `{_PRUNE}`.")
    if free < needed:
        return warning(
            f"{told}; a release takes up to {needed / 1e9:.1f} GB", "a first build may end with a full disk", f"`{_PRUNE}`"
        )
    return ok(told)


def _cache(case: Case, _: Probes) -> Finding:
    survey = Surveyor(Workspace(case.cache)).survey()
    jobs = sum(entry.kind == "jobs" for entry in survey.entries)
    told = f"{survey.size / 1e9:.1f} GB in all; {counted(jobs, 'job')}"
    largest = case.job.cache.max_size
    if largest is not None and survey.size > largest:
        return warning(told, f"it is more than cache_max_size, {largest / 1e9:.1f} GB", "`istio-build cache prune`")
    if largest is None and survey.size > _FULL_CACHE:
        return warning(told, "it grows with each source and each hub", f"`{_PRUNE}`, or cache_max_size in the project file")
    return ok(told)


def _runs(case: Case, _: Probes) -> Finding:
    """Who else is at work with this cache, and what one that died has left to be put right."""
    workspace = Workspace(case.cache)
    repositories = [repository for _, own in case.repositories for repository in own]
    try:
        left = Journal(workspace.journals, repositories).left_runs()
    except JournalError as error:
        return failed(error.message, "no tag is moved before that is settled", error.hint)
    if left:
        tags = sum(len(run.moves) for run in left)
        return warning(f"a run that was cut off had begun to move {counted(tags, 'tag')}", "the next push puts them right first")
    if case.tree and case.request.hubs:
        job = workspace.job_directory(case.tree, str(case.request.hubs[0]))
        with locked_if_free(job / LOCK_FILE) as free:
            if not free:
                return warning("a run of this very job is at work on this machine", "another one waits for it to end")
    others = workspace.runs.others()
    if not others:
        return ok("nobody else is at work with this cache")
    told = "; ".join(f"process {run.process} on {run.host} since {_clock(run.started)}" for run in others)
    return ok(f"at work with this cache, on other jobs: {told}")


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
