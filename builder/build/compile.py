"""Compiles Go programs: one `go build` a step, and makes sure that each program is for the platform it is meant for."""

import contextlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder.build.context import CompileContext
from builder.errors import CompileError, ToolchainError
from builder.oci.executable import is_program_for
from builder.oci.reference import Platform
from builder.plan.model import CompileStep
from builder.ports import Compiler, GoBuild, ProcessFailed
from builder.runtime.extracted_file import is_intact, keep_sum, recorded_sum

_SHOWN_LINES = 30
# As much as Go itself reads to find a build ID (cmd/internal/buildid).
_HEAD = 32 * 1024
# Before what is said of `example.org/module@v1.2.3: `.
_IMPORT_OF_A_MODULE = re.compile(r"^\S+\.go:\d+:\d+: (?=\S+@v\S+: )")


def compile_programs(step: CompileStep, context: CompileContext) -> Mapping[str, Path]:
    """Build the programs of a step where this run keeps them, and show it.

    Raises what `compile_step` raises.
    """
    with context.progress.task("compile", f"{', '.join(step.programs)} {step.platform}") as task:
        return compile_step(
            step,
            tree=context.tree,
            into=context.work / "programs" / step.key,
            compiler=context.find_compiler(),
            on_line=task.detail,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """The programs of a step by name, and why the others could not be built."""

    paths: Mapping[str, Path]
    failures: Mapping[str, CompileError]

    def path(self, name: str) -> Path:
        """Where a program is. Raises CompileError where there is none."""
        if name in self.failures:
            raise self.failures[name]
        return self.paths[name]


def compile_apart(step: CompileStep, context: CompileContext) -> Programs:
    """Build the programs of a step together; where that fails, each by itself, as most often some do not concern each other.

    Raises what `compile_step` raises, but CompileError where a program of several can be built.
    """
    try:
        return Programs(paths=compile_programs(step, context), failures={})
    except CompileError as error:
        if len(step.programs) == 1:
            raise
        failure = error
    paths: dict[str, Path] = {}
    for _, package in step.mains:
        alone = replace(step, command=replace(step.command, packages=(package,)))
        with contextlib.suppress(CompileError):
            paths |= compile_programs(alone, context)
    # What Go said of all of them is what it says of each.
    return Programs(paths=paths, failures={name: failure for name in step.programs if name not in paths})


def compile_step(
    step: CompileStep,
    *,
    tree: Path,
    into: Path,
    compiler: Compiler,
    on_line: Callable[[str], None],
) -> Mapping[str, Path]:
    """Build the programs of a step below `into`; gives each one's path by name.

    The directory is kept between runs: Go does not link again what is there already and up to date. Raises CompileError,
    ToolchainError, DiskFull, Interrupted, and what else the compiler raises.
    """
    into.mkdir(parents=True, exist_ok=True)
    programs = {name: into / name for name in step.programs}
    # Go takes a program for up to date by the build ID near its beginning, so one that was cut off while it was written
    # would be taken for whole: after a build that did not end well, all are linked anew.
    unfinished = into.with_name(f"{into.name}.unfinished")
    for path in programs.values():
        if unfinished.exists() or not recorded_sum(path):
            path.unlink(missing_ok=True)
    heads = {path: _head(path) for path in programs.values()}
    build = GoBuild(command=step.command, env=step.env, platform=step.platform, tree=tree, into=into)
    _build(step, build, compiler, on_line, unfinished)
    left_alone = {path for path, head in heads.items() if head and _head(path) == head}
    # Nor does Go see that one has been damaged since it was linked.
    damaged = {path for path in left_alone if not is_intact(path)}
    for path in damaged:
        path.unlink()
    if damaged:
        _build(step, build, compiler, on_line, unfinished)
    for path in programs.values():
        check_executable(path, step.platform)
        if path not in left_alone - damaged:
            keep_sum(path)
    return programs


def _build(step: CompileStep, build: GoBuild, compiler: Compiler, on_line: Callable[[str], None], unfinished: Path) -> None:
    unfinished.touch()
    try:
        compiler.build(build, on_line)
    except ProcessFailed as error:
        raise _explain(step, build.tree, error) from error
    unfinished.unlink()


def _head(path: Path) -> bytes:
    """The beginning of a program, with the build ID, which is another in each that is linked of other things.

    So Go has left alone what has the same as before. Neither time nor inode says that: Go sets the time of what it leaves alone,
    and writes into the file that is there where it links on another file system.
    """
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        return b""


def check_executable(path: Path, platform: Platform) -> None:
    """Raises CompileError unless this is a program for the platform."""
    try:
        with path.open("rb") as file:
            fits, found = is_program_for(file, platform)
    except OSError as error:
        raise CompileError(f"{path.name} for {platform} was not built: {error.strerror}") from error
    if not fits:
        raise CompileError(
            f"{path.name} should be for {platform}, but is {found}",
            hint="It would end in `exec format error` there. Nothing was packaged.",
        )


def _what_it_said(stderr: str) -> str:
    """The end of it. Of a module that cannot be had Go says so at each import of each of its packages: here it stands once."""
    said: list[str] = []
    for line in stderr.splitlines():
        if not line.strip() or line.startswith("go: downloading "):
            continue
        if said and line[0].isspace():
            said[-1] += f"\n{line}"
        else:
            said.append(_IMPORT_OF_A_MODULE.sub("", line))
    return "\n".join("\n".join(dict.fromkeys(said)).splitlines()[-_SHOWN_LINES:])


def _explain(step: CompileStep, tree: Path, error: ProcessFailed) -> Exception:
    shown = _what_it_said(error.stderr)
    if error.returncode == 127:
        return ToolchainError(f"cannot start Go: {shown}")
    if error.returncode in (-9, 137) or "signal: killed" in shown:
        hint = "The system ended the compiler, most often for lack of memory (Istio needs 2 GiB a platform)."
    elif "403" in shown or "404" in shown or "dial tcp" in shown or "reading " in shown:
        hint = "A module could not be downloaded: check GOPROXY (`go env GOPROXY`) and the network."
    else:
        hint = f"The same without us: cd {tree} && GOOS={step.platform.os} GOARCH={step.platform.architecture} go build …"
    return CompileError(f"go build for {step.platform} ({', '.join(step.programs)}) failed:\n{shown}", hint=hint)
