"""Compiles with a Go of this machine."""

import shutil
import tempfile
from collections.abc import Callable, Mapping

from builder.errors import ToolchainError
from builder.ports import GoBuild, GoToolchain, ProcessRunner

_RESOURCE_SETTINGS = ("GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GOTMPDIR")
# The compiler and the linker live for seconds: collecting garbage less often saves a seventh of their CPU time on
# Istio 1.29 and, as the linker decides the peak, costs no memory (2.0 GB either way).
_GOGC = "400"


class MachineCompiler:
    """Implements `ports.Compiler`. `environment` is the machine's, of which nothing of Go's own is used."""

    def __init__(self, toolchain: GoToolchain, environment: Mapping[str, str], run: ProcessRunner) -> None:
        self._toolchain = toolchain
        self._environment = environment
        self._run = run

    def build(self, build: GoBuild, on_line: Callable[[str], None]) -> None:
        """See `ports.Compiler.build`."""
        self._check_c_compiler(build)
        argv = build.command.argv(str(self._toolchain.program), f"{build.into}/")
        env = compiler_environment(build, self._toolchain, self._environment)
        # Go 1.26 removes its work directory when it ends by itself, but not when Ctrl-C ends it.
        place = env.get("GOTMPDIR") or env.get("TMPDIR")
        with tempfile.TemporaryDirectory(prefix="istio-build-", dir=place, ignore_cleanup_errors=True) as scratch:
            self._run.run(argv, cwd=build.tree, env={**env, "GOTMPDIR": scratch}, on_line=on_line)

    def fetch_modules(self, build: GoBuild, on_line: Callable[[str], None]) -> None:
        """Have Go fetch every module that the build needs into its module cache; nothing in the tree is written.

        Raises ProcessFailed with what Go said.
        """
        tags = [word for word in build.command.options if word.startswith("-tags=")]
        argv = [str(self._toolchain.program), "list", "-deps", "-f", "", *tags, *build.command.packages]
        env = compiler_environment(build, self._toolchain, self._environment)
        self._run.run(argv, cwd=build.tree, env=env, on_line=on_line)

    def _check_c_compiler(self, build: GoBuild) -> None:
        """Told at once: Go would compile for minutes before it came to the first C file."""
        # It may have flags behind it, as in `zig cc -target aarch64-linux-musl`.
        program = dict(build.env).get("CC", "").partition(" ")[0]
        if not program or shutil.which(program, path=self._environment.get("PATH", "")):
            return
        architecture = "aarch64" if build.platform.architecture == "arm64" else "x86-64"
        raise ToolchainError(
            f"CGO_ENABLED=1 needs a C compiler for {build.platform}, and there is no {program} on PATH",
            hint=f"Install it (Debian: gcc-{architecture}-linux-gnu), name another with "
            f"--go-env CC_{build.platform.slug}=PROGRAM, or build for the other --platform alone.",
        )


def compiler_environment(build: GoBuild, toolchain: GoToolchain, environment: Mapping[str, str]) -> dict[str, str]:
    """The machine's environment without anything that speaks to Go or to a C compiler; then the caller's module
    settings, then the plan's. What only says how much of the machine Go may use stays the caller's."""
    ours = {name: value for name, value in environment.items() if not name.startswith(("GO", "CGO_", "BUILD_"))}
    resources = {name: environment[name] for name in _RESOURCE_SETTINGS if name in environment}
    return {**ours, "GOGC": _GOGC, **resources, **dict(toolchain.settings), **dict(build.env)}
