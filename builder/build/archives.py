"""Writes archives of programs: compiled, checked, packed so that the same inputs give the same bytes, each with its sha256."""

import gzip
import os
import shutil
import tarfile
import time
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from builder.build.compile import compile_step
from builder.plan.archives import ArchivePlan, PlannedArchive
from builder.plan.model import CompileStep
from builder.ports import Compiler
from builder.runtime.atomic_file import sum_file, whole_file
from builder.runtime.cancellation import TaskGroup
from builder.runtime.concurrency import finish_or_end
from builder.runtime.progress import Progress

_CHUNK = 1 << 20
# A build of istioctl takes 2 GiB of memory, and all cores by itself.
_SIDE_BY_SIDE = 2
# What zip can say at the earliest, 1980-01-01, in seconds since 1970.
_EARLIEST_ZIP_TIME = 315_532_800


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenArchive:
    """An archive on disk, under one of its names."""

    path: Path
    sha256: str
    size: int


def write_archives(
    plan: ArchivePlan,
    into: Path,
    *,
    tree: Path,
    work: Path,
    find_compiler: Callable[[], Compiler],
    progress: Progress,
    cancellation: TaskGroup,
) -> tuple[WrittenArchive, ...]:
    """Write all archives of a plan and `NAME.sha256` beside each. Raises CompileError, ToolchainError, DiskFull, Interrupted.

    The first that fails ends the others.
    """
    into.mkdir(parents=True, exist_ok=True)

    def write(step: CompileStep) -> tuple[WrittenArchive, ...]:
        cancellation.check()
        with progress.task("compile", f"{', '.join(step.programs)} {step.platform}") as task:
            programs = compile_step(
                step, tree=tree, into=work / "programs" / step.key, compiler=find_compiler(), on_line=task.detail
            )
        archives = [archive for archive in plan.archives if archive.step == step.key]
        return tuple(written for archive in archives for written in _write(archive, programs, plan.mtime, into, progress))

    with ThreadPoolExecutor(max_workers=_SIDE_BY_SIDE) as pool:
        futures = [pool.submit(write, step) for step in plan.compiles]
        finish_or_end(futures, cancellation, "interrupted; archives that are there are whole")
        return tuple(written for future in futures for written in future.result())


def _write(
    archive: PlannedArchive, programs: Mapping[str, Path], mtime: int, into: Path, progress: Progress
) -> list[WrittenArchive]:
    first, *others = (into / name for name in archive.names)
    with progress.task("pack", first.name):
        with whole_file(first) as partial:
            (_write_zip if first.suffix == ".zip" else _write_tar)(programs[archive.program], archive.program, mtime, partial)
        for other in others:
            with whole_file(other) as partial:
                _link_or_copy(first, partial)
        return [_write_sum(path) for path in (first, *others)]


def _link_or_copy(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:
        # Not every file system has links.
        shutil.copyfile(path, to)


def _write_tar(program: Path, name: str, mtime: int, archive: Path) -> None:
    header = tarfile.TarInfo(name)
    header.mode, header.mtime, header.size = 0o755, mtime, program.stat().st_size
    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        program.open("rb") as content,
    ):
        tar.addfile(header, content)


def _write_zip(program: Path, name: str, mtime: int, archive: Path) -> None:
    when = time.gmtime(max(mtime, _EARLIEST_ZIP_TIME))
    header = zipfile.ZipInfo(name, when[:6])
    header.compress_type, header.create_system, header.external_attr = zipfile.ZIP_DEFLATED, 3, 0o100755 << 16
    header.file_size = program.stat().st_size
    with zipfile.ZipFile(archive, "w") as zipped, zipped.open(header, "w") as member, program.open("rb") as content:
        while chunk := content.read(_CHUNK):
            member.write(chunk)


def _write_sum(path: Path) -> WrittenArchive:
    digest = sum_file(path)
    # One blank, as release-builder writes it (pkg/util/files.go, CreateSha); `sha256sum -c` takes it too.
    with whole_file(path.with_name(f"{path.name}.sha256")) as partial:
        partial.write_text(f"{digest} {path.name}\n", encoding="utf-8")
    return WrittenArchive(path=path, sha256=digest, size=path.stat().st_size)
