"""Assembles images with `docker buildx bake`: the plugin run directly, its progress read, its failures explained."""

import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from builder.engine.bake import bake_definition
from builder.engine.build_log import BuildLog, explain, last_line
from builder.engine.docker_context import CONTEXT_HINT, describe_context
from builder.engine.nodes import BuilderNodes, explain_nodes, misled_platforms, read_builder
from builder.errors import AssembleError, BaseImageError, EngineError
from builder.ports import AssemblyTarget, ProcessFailed, ProcessRunner
from builder.runtime.json_document import parse_json
from builder.runtime.retry import RetryableError, RetryPolicy

MINIMUM_VERSION = (0, 13)
_BUILDX_URL = "https://github.com/docker/buildx#installing"
_IDLE_SECONDS = 600.0
_PROGRAM_FAILED = "did not complete successfully"
# Where the Docker CLI looks for plugins, after the user's own directory (docker/cli, cli-plugins/manager).
PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
_TEMPORARY = re.compile(
    r"connection (?:reset|refused)|i/o timeout|unexpected EOF|TLS handshake timeout|no such host"
    r"|\b(?:429|500|502|503|504)\b|toomanyrequests|Unavailable",
    re.IGNORECASE,
)


class Buildx:
    """Implements `ports.Engine`. `environment` says which engine (DOCKER_HOST, DOCKER_CONTEXT), `builder` which builder.

    Only where the builder is the Docker engine itself is that engine asked anything (`check_engine`). `warn` hears what
    of the builder the user should look at.
    """

    def __init__(
        self,
        run: ProcessRunner,
        environment: Mapping[str, str],
        check_engine: Callable[[], None],
        retry: RetryPolicy,
        builder: str = "",
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._run = run
        # Bake asks before it reads or writes outside the working directory; all these paths are of our own making.
        self._environment = {**environment, "BUILDX_BAKE_ENTITLEMENTS_FS": "0", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
        self._check_engine = check_engine
        self._builder = builder
        self._warn = warn
        self._retry = retry
        self._plugin: Path | None = None
        self._lock = threading.Lock()

    def assemble(self, targets: Sequence[AssemblyTarget], on_progress: Callable[[str], None]) -> None:
        """See `ports.Engine.assemble`."""
        self.bake(bake_definition(targets), on_progress)

    def bake(
        self, definition: Mapping[str, Any], on_progress: Callable[[str], None], secrets: Mapping[str, str] | None = None
    ) -> None:
        """Build what a bake file says; `secrets` are variables that it may name. Raises what `assemble` raises."""
        plugin = self._ready_plugin()
        argv = [str(plugin), "bake", "--file", "-", "--progress", "rawjson"]
        if self._builder:
            argv += ["--builder", self._builder]
        environment = {**self._environment, **(secrets or {})}
        try:
            self._retry.run(lambda: self._bake(argv, json.dumps(definition), on_progress, environment))
        except AssembleError as error:
            self._blame_nodes(plugin, error)
            raise

    def _bake(
        self, argv: Sequence[str], definition: str, on_progress: Callable[[str], None], environment: Mapping[str, str]
    ) -> None:
        log = BuildLog(on_progress)
        try:
            self._run.run(argv, env=environment, stdin=definition, on_line=log.read_line, idle_timeout=_IDLE_SECONDS)
        except ProcessFailed as error:
            explained = explain(log, error)
            cause = log.cause(error.stderr)
            # Of a program that a RUN started, the command line stands there, too, and may hold anything.
            if _TEMPORARY.search(cause) and not isinstance(explained, BaseImageError) and _PROGRAM_FAILED not in cause:
                raise RetryableError(explained) from error
            raise explained from error

    def prepare(self) -> None:
        """See `ports.Engine.prepare`."""
        self._ready_plugin()

    def look(self) -> BuilderNodes:
        """The builder as it is now: what `prepare` finds out, but nothing is started. Raises EngineError."""
        plugin = find_plugin(self._environment)
        self._check_version(plugin)
        found = self._usable(plugin)
        if found.not_running and found.driver == "remote":
            raise explain_nodes(found.name, found.not_running)
        return found

    def _ready_plugin(self) -> Path:
        """The plugin, found and checked once a run."""
        with self._lock:
            if self._plugin is None:
                plugin = find_plugin(self._environment)
                self._check_version(plugin)
                self._check_builder(plugin)
                self._plugin = plugin
            return self._plugin

    def _check_version(self, plugin: Path) -> None:
        try:
            text = self._run.run([str(plugin), "version"], env=self._environment).stdout
        except ProcessFailed as error:
            raise EngineError(f"{plugin} does not work: {error.stderr.strip()[:300]}") from error
        found = re.search(r"v?(\d+)\.(\d+)\.\d+", text)
        if found and (int(found[1]), int(found[2])) < MINIMUM_VERSION:
            raise EngineError(
                f"buildx {found[0]} is too old",
                hint=f"Install buildx {'.'.join(map(str, MINIMUM_VERSION))} or newer: {_BUILDX_URL}.",
            )

    def _usable(self, plugin: Path) -> BuilderNodes:
        """The builder must exist; the Docker engine also needs the containerd image store."""
        found = self._inspect(plugin)
        if found.is_docker:
            self._check_engine()
        elif found.error:
            raise EngineError(
                f"builder {found.name} cannot be used: {found.error}", hint=f"See `docker buildx inspect {found.name}`."
            )
        return found

    def _check_builder(self, plugin: Path) -> None:
        """And all its nodes answer."""
        found = self._usable(plugin)
        if found.is_docker:
            return
        if found.not_running:
            found = self._start(plugin, found)
        for platform, chosen, native in misled_platforms(found.nodes):
            self._warn(
                f"Builder {found.name} does {platform} on its node {chosen.name}, which emulates it, and not on {native.name}: "
                f"make it with each node's --platform."
            )

    def _start(self, plugin: Path, found: BuilderNodes) -> BuilderNodes:
        """Nodes of the drivers docker-container and kubernetes are started when they are needed, the first time made.

        One that is only reached (`remote`) is not there; buildx would wait for it for 20 seconds.
        """
        if found.driver == "remote":
            raise explain_nodes(found.name, found.not_running)
        reason = ""
        try:
            self._run.run([str(plugin), "inspect", "--bootstrap", found.name], env=self._environment)
        except ProcessFailed as error:
            reason = last_line(error.stderr).removeprefix("ERROR: ")
        started = self._inspect(plugin)
        if started.not_running:
            raise explain_nodes(found.name, started.not_running, reason)
        return started

    def _blame_nodes(self, plugin: Path, error: AssembleError) -> None:
        """Of a build that failed because a node went away, buildx tells little more than that a connection broke.

        Raises EngineError where a node is gone.
        """
        if _PROGRAM_FAILED in error.message:
            return
        found = self._inspect(plugin)
        if found.not_running and not found.is_docker:
            raise explain_nodes(found.name, found.not_running, error.message.partition("\n")[0]) from error

    def _inspect(self, plugin: Path) -> BuilderNodes:
        try:
            argv = [str(plugin), "inspect", *([self._builder] if self._builder else [])]
            return read_builder(self._run.run(argv, env=self._environment).stdout)
        except ProcessFailed as error:
            context = "" if self._builder else describe_context(self._environment)
            if context:
                message = f"Docker cannot be used at {context}: {last_line(error.stderr)}"
                raise EngineError(message, hint=CONTEXT_HINT) from error
            raise EngineError(
                f"builder {self._builder or '(the current one)'} cannot be used: {last_line(error.stderr)}",
                hint=f"Known builders: {', '.join(self._known_builders(plugin)) or 'none'}. See `docker buildx ls`.",
            ) from error

    def _known_builders(self, plugin: Path) -> list[str]:
        try:
            listing = self._run.run([str(plugin), "ls", "--format", "json"], env=self._environment).stdout
            return list(dict.fromkeys(str(parse_json(line)["Name"]) for line in listing.splitlines() if line.strip()))
        except (ProcessFailed, ValueError, KeyError):
            return []


def find_plugin(environment: Mapping[str, str]) -> Path:
    """The buildx program, looked for where the Docker CLI does. Raises EngineError where there is none."""
    config = environment.get("DOCKER_CONFIG") or f"{environment.get('HOME', '/root')}/.docker"
    for folder in (f"{config}/cli-plugins", *PLUGIN_FOLDERS):
        candidate = Path(folder, "docker-buildx")
        if os.access(candidate, os.X_OK):
            return candidate
    on_path = shutil.which("docker-buildx", path=environment.get("PATH", ""))
    if on_path:
        return Path(on_path)
    raise EngineError(
        "buildx is not installed",
        hint=f"Install your system's docker-buildx or docker-buildx-plugin package, or see {_BUILDX_URL}.",
    )
