"""Puts the adapters together: the one place that knows which program and which library fulfils which port.

Each is imported when it is first needed, as most runs need few of them: what builds, where everything is at the hubs, is not.
What speaks HTTP is put together in `builder.pipeline.clients`.
"""

import platform
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from builder import __version__
from builder.cache.workspace import Workspace, find_cache
from builder.engine.late import LateEngine
from builder.errors import RequestError
from builder.host.process import SubprocessRunner
from builder.net.patience import DEFAULT_PATIENCE, Patience
from builder.ports import Compiler, Downloader, Engine, GoToolchains, PackageFinder, Registry
from builder.runtime.cancellation import Cancellation
from builder.runtime.file_sums import FileSums
from builder.runtime.progress import Observer, Progress
from builder.runtime.retry import RetryPolicy

if TYPE_CHECKING:
    from builder.build.context import BuildContext
    from builder.build.prefetch import Prefetch
    from builder.engine.buildx import Buildx
    from builder.engine.docker import DockerEngine
    from builder.host.go import InstalledGo
    from builder.host.go_compiler import MachineCompiler
    from builder.images.known_content import KnownContent
    from builder.images.layer_cache import LayerCache
    from builder.pipeline.clients import Clients
    from builder.pipeline.offline import Releases
    from builder.pipeline.publish_context import PublishContext
    from builder.plan.lock import LockedGo
    from builder.publish.guards import Permissions
    from builder.recipe.book import RecipeBook
    from builder.registry.client import HttpRegistry


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
        from builder.pipeline.offline import offline_environment

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
    def _clients(self) -> "Clients":
        from builder.pipeline.clients import Clients

        return Clients(
            environment=self._environment,
            run=self.run,
            cancellation=self.cancellation,
            progress=self.progress,
            insecure=self._insecure,
            patience=self._patience,
            retry=self._retry,
        )

    @cached_property
    def registry(self) -> Registry:
        """What talks to registries in this run."""
        if self._offline is None:
            return self._clients.registry()
        from builder.pipeline.offline import OfflineRegistry

        return OfflineRegistry(self._clients.registry(), self._offline, self.workspace.documents)

    def brief_registry(self, seconds: float) -> "HttpRegistry":
        """A client for what is not needed: it gives a host up after so many seconds."""
        return self._clients.brief_registry(seconds)

    @cached_property
    def docker(self) -> "DockerEngine":
        """The Docker engine."""
        from builder.engine.docker import DockerEngine

        return DockerEngine(self._environment)

    @cached_property
    def buildx(self) -> "Buildx":
        """The engine that assembles images."""
        from builder.engine.buildx import Buildx

        return Buildx(self.run, self._environment, self.docker.check, self._retry_program, self._builder, self.progress.warn)

    @cached_property
    def downloader(self) -> Downloader:
        """The downloader."""
        downloader = self._clients.downloader()
        if self._offline is None:
            return downloader
        from builder.pipeline.offline import OfflineDownloader

        return OfflineDownloader(downloader)

    @cached_property
    def apt(self) -> PackageFinder:
        """The finder of Debian packages."""
        if self._offline is not None:
            from builder.pipeline.offline import OfflinePackages

            return OfflinePackages()
        from builder.host.apt import Apt

        return Apt(self.run, self._environment, self.workspace.packages, self.cancellation.wait)

    @cached_property
    def layer_cache(self) -> "LayerCache":
        """What layers hold."""
        from builder.images.layer_cache import LayerCache

        return LayerCache(self.workspace.layers, self.sums)

    @cached_property
    def known(self) -> "KnownContent":
        """What registries say of images that are built upon."""
        from builder.images.known_content import KnownContent

        return KnownContent(self.registry, self.workspace.documents)

    @cached_property
    def git(self) -> "Releases":
        """Version control."""
        from builder.host.git import Git

        git = Git(self.run, self._environment, self.workspace.releases, retry=self._retry_program)
        if self._offline is None:
            return git
        from builder.pipeline.offline import OfflineReleases

        return OfflineReleases(git)

    @cached_property
    def go(self) -> GoToolchains:
        """The machine's Go, and those that it fetches; it says what it downloads."""
        if self._offline is None:
            return self._machine_go
        from builder.pipeline.offline import OfflineGo

        return OfflineGo(self._machine_go)

    @cached_property
    def _machine_go(self) -> "InstalledGo":
        from builder.host.go import InstalledGo

        return InstalledGo(self.run, self._environment, self.progress.note)

    def compiler_for(self, go: "LockedGo", book: "RecipeBook") -> Compiler:
        """What compiles with a Go that was looked up: this machine, or BuildKit in the image that the Go is taken from.

        Raises ToolchainError where this machine no longer has that Go.
        """
        if not go.image:
            return self.machine_compiler(go)
        from builder.engine.container_compiler import ContainerCompiler
        from builder.plan.compile import COMPILE_TEMPLATE
        from builder.recipe.template import render_dockerfile

        base, templates = str(go.image), dict(book.templates)
        return ContainerCompiler(
            lambda env, command: render_dockerfile(templates, COMPILE_TEMPLATE, {"base": base, "env": env, "command": command}),
            self._machine_go.settings(),
            self._environment,
            self.buildx,
        )

    def machine_compiler(self, go: "LockedGo") -> "MachineCompiler":
        """This machine with that Go. Raises ToolchainError where it cannot be had."""
        from builder.host.go_compiler import MachineCompiler
        from builder.resolve.toolchain import obtain_go

        return MachineCompiler(obtain_go(go.version, self.go), self._environment, self.run)

    def prefetch(self) -> "Prefetch":
        """What fetches all that a build needs."""
        from builder.build.prefetch import Prefetch

        return Prefetch(
            downloads=self.workspace.downloads,
            downloader=self.downloader,
            registry=self.registry,
            documents=self.known,
            progress=self.progress,
            cancellation=self.cancellation,
        )

    def late_engine(self, kind: str, needs_docker: str) -> Engine:
        """As `engine_for`, but made, and imported, when something is to be assembled. Raises RequestError now."""
        self._check_engine(kind, needs_docker)
        return LateEngine(partial(self.engine_for, kind, needs_docker))

    def engine_for(self, kind: str, needs_docker: str) -> Engine:
        """What assembles: `buildx`, `builtin`, or `auto`, which is either. `needs_docker` is what of the job only Docker can do.

        Raises RequestError where that is asked of the built-in engine.
        """
        self._check_engine(kind, needs_docker)
        if self._offline is None and (kind == "buildx" or needs_docker):
            return self.buildx
        from builder.engine.builtin import Builtin

        if self._offline is not None or kind == "builtin":
            return Builtin(self.sums)
        from builder.engine.either import Either

        return Either(self.buildx, Builtin(self.sums), self.progress.note)

    def _check_engine(self, kind: str, needs_docker: str) -> None:
        if self._offline is not None and (needs_docker or kind == "buildx"):
            raise RequestError(
                f"{needs_docker or '--engine buildx'} needs Docker, which fetches base images by itself: not with --offline",
                hint="Leave it out: the built-in engine gives the same digests.",
            )
        if kind == "builtin" and needs_docker:
            raise RequestError(f"{needs_docker} needs Docker, which --engine builtin does without", hint="Leave --engine out.")

    def build_context(
        self, tree: Path, work: Path, engine: Engine, find_compiler: Callable[[], Compiler], *, whole: bool
    ) -> "BuildContext":
        """All that building needs of the world."""
        from builder.build.context import BuildContext

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

    def publish_context(self, permissions: "Permissions", *, by: str = "push", back_to: str = "") -> "PublishContext":
        """All that publishing needs of the world. `permissions` is what may be done to tags that are there.

        `by` and `back_to` are what the hubs' histories tell of it (see `Happening`).
        """
        from builder.pipeline.publish_context import PublishContext
        from builder.publish.history import Happening

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

    def _make_rollback_registry(self) -> "HttpRegistry":
        return self._clients.rollback_registry()
