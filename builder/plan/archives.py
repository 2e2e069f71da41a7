"""Plans archives of programs for people's machines, as Istio names and packs them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.config.request import Request
from builder.errors import RequestError
from builder.oci.reference import Platform
from builder.plan.compile import check_go, plan_compiles
from builder.plan.lock import Lock
from builder.plan.model import CompileStep
from builder.plan.selection import recipe_values
from builder.recipe.book import RecipeBook
from builder.recipe.schema import ArchiveTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedArchive:
    """One archive: its file name and others for the same bytes, the compile step and program that goes into it."""

    names: tuple[str, ...]
    step: str
    program: str
    platform: Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePlan:
    """All archives of a run. `mtime` is that of the commit, in seconds since 1970."""

    version: str
    hub: str
    commit: str
    go_version: str
    go_reason: str
    mtime: int
    compiles: tuple[CompileStep, ...]
    archives: tuple[PlannedArchive, ...]


def make_archive_plan(request: Request, book: RecipeBook, lock: Lock, targets: Sequence[str] = ()) -> ArchivePlan:
    """The plan for these targets, all by default. Raises RequestError, RecipeError and ToolchainError."""
    values = recipe_values(request, book.release, lock.source)
    compiles: dict[str, CompileStep] = {}
    archives = []
    for name, archive in book.release.archives.items():
        for target_name, target in _chosen(archive.targets, targets).items():
            platform = Platform(target.os, target.architecture)
            [step] = plan_compiles(request, book, lock, values, (platform,), {archive.tags: (archive.main,)})
            compiles[step.key] = step
            archives.append(_plan_archive(name, target_name, target, values["version"], step))
    check_go(request, lock)
    return ArchivePlan(
        version=values["version"],
        hub=values["hub"],
        commit=lock.source.state.commit,
        go_version=lock.go.version,
        go_reason=lock.go.reason,
        mtime=lock.source.state.committed_at,
        compiles=tuple(compiles.values()),
        archives=tuple(archives),
    )


def _chosen(targets: Mapping[str, ArchiveTarget], wanted: Sequence[str]) -> dict[str, ArchiveTarget]:
    for name in wanted:
        if name not in targets:
            raise RequestError(f"there is no target {name!r}", hint=f"Targets are {', '.join(targets)}.")
    return {name: target for name, target in targets.items() if not wanted or name in wanted}


def _plan_archive(name: str, target_name: str, target: ArchiveTarget, version: str, step: CompileStep) -> PlannedArchive:
    suffix = ".zip" if target.os == "windows" else ".tar.gz"
    return PlannedArchive(
        names=tuple(f"{name}-{version}-{word}{suffix}" for word in (target_name, *target.also)),
        step=step.key,
        program=step.programs[0],
        platform=step.platform,
    )
