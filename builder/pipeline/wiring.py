"""Puts the adapters together: the one place that knows which program and which library fulfils which port."""

import platform
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

from builder import __version__
from builder.build.context import BuildContext
from builder.build.prefetch import Prefetch
from builder.cache.workspace import Workspace, find_cache
from builder.engine.buildx import Buildx
from builder.engine.builtin import Builtin
from builder.engine.container_compiler import ContainerCompiler
from builder.engine.docker import DockerEngine
from builder.engine.either import Either
from builder.errors import RequestError
from builder.host.apt import Apt
from builder.host.git import Git
from builder.host.go import InstalledGo
from builder.host.go_compiler import MachineCompiler
from builder.host.process import SubprocessRunner
from builder.images.known_content import KnownContent
from builder.images.layer_cache import LayerCache
from builder.net.download import HttpDownloader
from builder.net.patience import DEFAULT_PATIENCE, Patience
from builder.net.session import Waiting
from builder.pipeline.offline import (
    OfflineDownloader,
    OfflineGo,
    OfflinePackages,
    OfflineRegistry,
    OfflineReleases,
    Releases,
    offline_environment,
)
from builder.pipeline.publish_context import PublishContext
from builder.plan.compile import COMPILE_TEMPLATE
from builder.plan.lock import LockedGo
from builder.ports import Compiler, Downloader, Engine, GoToolchains, PackageFinder, Registry
from builder.publish.guards import Permissions
from builder.publish.history import Happening
from builder.recipe.book import RecipeBook
from builder.recipe.template import render_dockerfile
from builder.registry.client import HttpRegistry
from builder.registry.keychain import docker_credentials
from builder.resolve.toolchain import obtain_go
from builder.runtime.cancellation import Cancellation
from builder.runtime.file_sums import FileSums
from builder.runtime.progress import Observer, Progress
from builder.runtime.retry import Result, RetryPolicy

_CONNECT_SECONDS = 20.0
# Whoever interrupts a run waits for its tags to be put back, but not for long.
_ROLLBACK_SECONDS = 30.0
_ROLLBACK_ATTEMPTS = 7
# How long a request that moves a tag may go on after an interruption, of the two seconds in which all ends.
_LAST_ANSWER_SECONDS = 1.0


class Adapters:
    """The adapters of one run, each made when it is first needed.

    All that they wait for ends when the run is interrupted, and when one of the tasks that they are for fails.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        cancellation: Cancellation,
        observer: Observer,
        *,
        builder: str = "",
        insecure_registries: tuple[str, ...] = (),
        patience: float = DEFAULT_PATIENCE,
    ) -> None:
        self._make = partial(Adapters, environment, cancellation, observer)
        self._environment = environment
        self._offline: frozenset[str] | None = None
        self.cancellation = cancellation.group()
        self._builder = builder
        self._insecure = insecure_registries
        self.progress = Progress(observer)
        # One moment for all that a run says of the time, though it goes on past midnight.
        self.started = datetime.now(UTC)
        self._runs = Workspace(find_cache(environment)).runs
        self.run = SubprocessRunner(self.cancellation)
        self.sums = FileSums()
        self.pause = self.cancellation.wait
        self._patience = Patience(patience)
        self._retry = RetryPolicy(total_wait=patience, sleep=self.pause, announce=self.progress.note_retry)
        # A program that fails has often been at it for minutes, where a request takes seconds.
        self._retry_program = replace(self._retry, attempts=4, first_wait=1.0)

    def go_offline(self, hosts: frozenset[str]) -> None:
        """Ask nobody but the registries at these hosts, the hubs'. Before any adapter is used."""
        self._offline = hosts
        self._environment = offline_environment(self._environment)

    def for_next(self) -> "Adapters":
        """The adapters for another release of the run: these, or others where a failed task has ended all that these wait for."""
        if not self.cancellation.is_set():
            return self
        made = self._make(builder=self._builder, insecure_registries=self._insecure, patience=self._patience.seconds)
        made.progress, made.started, made._runs = self.progress, self.started, self._runs
        if self._offline is not None:
            made.go_offline(self._offline)
        return made

    @cached_property
    def workspace(self) -> Workspace:
        """Where files are kept. Whoever asks for it is from then on known as at work with the cache, until `leave_cache`."""
        self._runs.enter()
        return Workspace(find_cache(self._environment))

    def leave_cache(self) -> None:
        """Nothing of the cache is used any longer."""
        self._runs.leave()

    @cached_property
    def registry(self) -> Registry:
        """What talks to registries in this run."""
        if self._offline is None:
            return self._http_registry
        return OfflineRegistry(self._http_registry, self._offline, self.workspace.documents)

    @cached_property
    def _http_registry(self) -> HttpRegistry:
        waiting = replace(_waiting(self._patience, self.cancellation.check_unprotected), warn=self.progress.warn)
        registry = self._client(self._retry, waiting)
        # A tag that is being moved is better moved and put back than left to a request that may still arrive.
        self.cancellation.on_set_or_late(registry.abort, _LAST_ANSWER_SECONDS)
        return registry

    def brief_registry(self, seconds: float) -> HttpRegistry:
        """A client for what is not needed: it gives a host up after so many seconds."""
        patience = Patience(min(self._patience.seconds, seconds))
        registry = self._client(replace(self._retry, total_wait=patience.seconds), _waiting(patience, self.cancellation.check))
        self.cancellation.on_set(registry.abort)
        return registry

    def _client(self, retry: RetryPolicy, waiting: Waiting) -> HttpRegistry:
        credentials = docker_credentials(self._environment, self.run)
        return HttpRegistry(credentials=credentials, retry=retry, insecure=self._insecure, waiting=waiting)

    @cached_property
    def docker(self) -> DockerEngine:
        """The Docker engine."""
        return DockerEngine(self._environment)

    @cached_property
    def buildx(self) -> Buildx:
        """The engine that assembles images."""
        return Buildx(self.run, self._environment, self.docker.check, self._retry_program, self._builder, self.progress.warn)

    @cached_property
    def downloader(self) -> Downloader:
        """The downloader."""
        downloader = HttpDownloader(retry=self._retry, waiting=_waiting(self._patience, self.cancellation.check))
        self.cancellation.on_set(downloader.abort)
        return downloader if self._offline is None else OfflineDownloader(downloader)

    @cached_property
    def apt(self) -> PackageFinder:
        """The finder of Debian packages."""
        if self._offline is not None:
            return OfflinePackages()
        return Apt(self.run, self._environment, self.workspace.packages, self.cancellation.wait)

    @cached_property
    def layer_cache(self) -> LayerCache:
        """What layers hold."""
        return LayerCache(self.workspace.layers, self.sums)

    @cached_property
    def known(self) -> KnownContent:
        """What registries say of images that are built upon."""
        return KnownContent(self.registry, self.workspace.documents)

    @cached_property
    def git(self) -> Releases:
        """Version control."""
        git = Git(self.run, self._environment, self.workspace.releases, retry=self._retry_program)
        return git if self._offline is None else OfflineReleases(git)

    @cached_property
    def go(self) -> GoToolchains:
        """The machine's Go, and those that it fetches; it says what it downloads."""
        return self._machine_go if self._offline is None else OfflineGo(self._machine_go)

    @cached_property
    def _machine_go(self) -> InstalledGo:
        return InstalledGo(self.run, self._environment, self.progress.note)

    def compiler_for(self, go: LockedGo, book: RecipeBook) -> Compiler:
        """What compiles with a Go that was looked up: this machine, or BuildKit in the image that the Go is taken from.

        Raises ToolchainError where this machine no longer has that Go.
        """
        if not go.image:
            return self.machine_compiler(go)
        base, templates = str(go.image), dict(book.templates)
        return ContainerCompiler(
            lambda env, command: render_dockerfile(templates, COMPILE_TEMPLATE, {"base": base, "env": env, "command": command}),
            self._machine_go.settings(),
            self._environment,
            self.buildx,
        )

    def machine_compiler(self, go: LockedGo) -> MachineCompiler:
        """This machine with that Go. Raises ToolchainError where it cannot be had."""
        return MachineCompiler(obtain_go(go.version, self.go), self._environment, self.run)

    def prefetch(self) -> Prefetch:
        """What fetches all that a build needs."""
        return Prefetch(
            downloads=self.workspace.downloads,
            downloader=self.downloader,
            registry=self.registry,
            documents=self.known,
            progress=self.progress,
            cancellation=self.cancellation,
        )

    def engine_for(self, kind: str, needs_docker: str) -> Engine:
        """What assembles: `buildx`, `builtin`, or `auto`, which is either. `needs_docker` is what of the job only Docker can do.

        Raises RequestError where that is asked of the built-in engine.
        """
        if self._offline is not None and (needs_docker or kind == "buildx"):
            raise RequestError(
                f"{needs_docker or '--engine buildx'} needs Docker, which fetches base images by itself: not with --offline",
                hint="Leave it out: the built-in engine gives the same digests.",
            )
        if self._offline is not None:
            return Builtin(self.sums)
        if kind == "builtin" and needs_docker:
            raise RequestError(f"{needs_docker} needs Docker, which --engine builtin does without", hint="Leave --engine out.")
        if kind == "builtin":
            return Builtin(self.sums)
        return self.buildx if kind == "buildx" or needs_docker else Either(self.buildx, Builtin(self.sums), self.progress.note)

    def build_context(
        self, tree: Path, work: Path, engine: Engine, find_compiler: Callable[[], Compiler], *, whole: bool
    ) -> BuildContext:
        """All that building needs of the world."""
        return BuildContext(
            tree=tree,
            work=work,
            downloads=self.workspace.downloads,
            find_compiler=find_compiler,
            downloader=self.downloader,
            registry=self.registry,
            engine=engine,
            read_layer=self.layer_cache,
            sum_file=self.sums,
            jobs=self.workspace.jobs,
            whole=whole,
            progress=self.progress,
            cancellation=self.cancellation,
        )

    def publish_context(self, permissions: Permissions, *, by: str = "push", back_to: str = "") -> PublishContext:
        """All that publishing needs of the world. `permissions` is what may be done to tags that are there.

        `by` and `back_to` are what the hubs' histories tell of it (see `Happening`).
        """
        return PublishContext(
            registry=self.registry,
            rollback_tags=self._make_rollback_registry(),
            journals=self.workspace.journals,
            progress=self.progress,
            cancellation=self.cancellation,
            permissions=permissions,
            cache=self.workspace.downloads,
            happening=Happening(
                release=uuid.uuid4().hex,
                by=by,
                host=platform.node(),
                builder=__version__,
                back_to=back_to,
            ),
        )

    def _make_rollback_registry(self) -> HttpRegistry:
        """It goes on after an interruption, so nothing of it ends with one; instead it has little patience.

        It runs credential helpers anew and does not take what the other registry got, which may have been an hour ago,
        when Amazon's and Google's are no longer good.
        """
        seconds = min(self._patience.seconds, _ROLLBACK_SECONDS)
        patience = Patience(seconds, told="that is how long is waited while tags are put back")
        never = Cancellation()
        runner = SubprocessRunner(never)
        self.cancellation.on_kill(runner.kill_all)
        return HttpRegistry(
            credentials=docker_credentials(self._environment, runner, helper_seconds=seconds),
            retry=_UncutPolicy(
                cancellation=self.cancellation,
                sleep=never.wait,
                attempts=_ROLLBACK_ATTEMPTS,
                total_wait=seconds,
                announce=self.progress.note_retry,
            ),
            insecure=self._insecure,
            waiting=_waiting(patience, never.check),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _UncutPolicy(RetryPolicy):
    """An interrupted process is not ended in the middle of what this one runs."""

    cancellation: Cancellation

    def run(self, attempt: Callable[[], Result]) -> Result:
        """See `RetryPolicy.run`."""
        with self.cancellation.protected():
            return RetryPolicy.run(self, attempt)


def _waiting(patience: Patience, check_interrupted: Callable[[], None]) -> Waiting:
    """Between two reads we wait as long as for anything: a registry may well be silent while it stores a large blob."""
    timeouts = min(_CONNECT_SECONDS, patience.seconds), patience.seconds
    return Waiting(check_interrupted=check_interrupted, timeouts=timeouts, patience=patience)
