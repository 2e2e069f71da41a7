"""Puts the adapters together: the one place that knows which program and which library fulfils which port."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from builder.build.archives import WrittenArchive, write_archives
from builder.build.scheduler import BuildContext
from builder.config.settings import Job
from builder.engine.buildx import Buildx
from builder.engine.container_compiler import ContainerCompiler
from builder.engine.docker import DockerEngine
from builder.host.apt import Apt
from builder.host.git import Git
from builder.host.go import InstalledGo
from builder.host.go_compiler import MachineCompiler
from builder.host.process import SubprocessRunner
from builder.images.layer_cache import LayerCache
from builder.net.download import HttpDownloader
from builder.net.patience import DEFAULT_PATIENCE, Patience
from builder.net.retry import Result, RetryPolicy
from builder.pipeline.run import PublishContext
from builder.pipeline.workspace import Workspace, find_cache
from builder.plan.archives import ArchivePlan, make_archive_plan
from builder.plan.compile import COMPILE_TEMPLATE
from builder.plan.lock import Lock, LockedGo, SourceFacts
from builder.plan.model import Plan
from builder.plan.planner import make_plan
from builder.ports import Compiler
from builder.recipe.book import RecipeBook, Recipes
from builder.recipe.loader import load_recipes
from builder.recipe.template import render_dockerfile
from builder.registry.client import HttpRegistry
from builder.registry.keychain import docker_credentials
from builder.resolve.lookups import Lookups
from builder.resolve.resolver import resolve
from builder.resolve.source import list_directory, reaches_outside, read_source
from builder.resolve.toolchain import choose_go
from builder.resolve.toolchain_image import lock_compile_image
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Observer, Progress
from builder.runtime.tree_links import find_file

_CONNECT_SECONDS = 20.0
# Whoever interrupts a run waits for its tags to be put back, but not for long.
_ROLLBACK_SECONDS = 30.0
# How long a request that moves a tag may go on after an interruption, of the two seconds in which all ends.
_LAST_ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A job with everything looked up: the source tree, the lock, the plan."""

    tree: Path
    lock: Lock
    plan: Plan
    always_build: bool


class Adapters:
    """The adapters of one run, each made when it is first needed."""

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
        self._environment = environment
        self._cancellation = cancellation
        self._builder = builder
        self._insecure = insecure_registries
        self.progress = Progress(observer)
        self.workspace = Workspace(find_cache(environment))
        self.run = SubprocessRunner(cancellation)
        self.pause = cancellation.wait
        self._compiler: Compiler | None = None
        self._patience = Patience(patience)
        self._retry = RetryPolicy(total_wait=patience, sleep=cancellation.wait, announce=self.progress.note)

    @cached_property
    def registry(self) -> HttpRegistry:
        """The registry client of the run."""
        registry = HttpRegistry(
            credentials=docker_credentials(self._environment, self.run),
            retry=self._retry,
            insecure=self._insecure,
            check_interrupted=self._cancellation.check_unprotected,
            timeouts=_timeouts(self._patience),
            patience=self._patience,
        )
        # A tag that is being moved is better moved and put back than left to a request that may still arrive.
        self._cancellation.on_set_or_late(registry.abort, _LAST_ANSWER_SECONDS)
        return registry

    @cached_property
    def docker(self) -> DockerEngine:
        """The Docker engine."""
        return DockerEngine(self._environment)

    @cached_property
    def buildx(self) -> Buildx:
        """The engine that assembles images."""
        return Buildx(self.run, self._environment, self.docker.check, self._builder, self._cancellation.wait)

    @cached_property
    def downloader(self) -> HttpDownloader:
        """The downloader."""
        downloader = HttpDownloader(
            retry=self._retry,
            check_interrupted=self._cancellation.check,
            timeouts=_timeouts(self._patience),
            patience=self._patience,
        )
        self._cancellation.on_set(downloader.abort)
        return downloader

    @cached_property
    def apt(self) -> Apt:
        """The finder of Debian packages."""
        return Apt(self.run, self._environment, self.workspace.packages, self._cancellation.wait)

    @cached_property
    def layer_cache(self) -> LayerCache:
        """What layers hold."""
        return LayerCache(self.workspace.layers)

    def resolve(self, job: Job) -> Resolved:
        """Look everything up that the job's plan depends on, and make the plan."""
        recipes = load_recipes(job.recipes, build_bases=job.request.build_bases)
        with self.progress.task("resolve", "source, bases, artifacts, Go") as task:
            tree, source = self._read_source(job)
            book = recipes.at(source.release)
            lookups = Lookups(
                check_file=partial(find_file, tree),
                list_directory=partial(list_directory, tree),
                find_go=lambda: self._find_go(job, book, source, task.detail),
                registry=self.registry,
                downloader=self.downloader,
                packages=self.apt,
                cache=self.workspace.downloads,
                note=self.progress.note,
            )
            lock = resolve(job.request, book, source, lookups)
            task.outcome = f"commit {source.state.commit[:12]}"
        self._warn_of(tree, source, recipes)
        outside = reaches_outside(tree)
        if outside:
            self.progress.warn(f"{tree}/go.mod replaces a module by a directory, so every push builds anew.")
        return Resolved(tree=tree, lock=lock, plan=make_plan(job.request, book, lock), always_build=outside)

    def resolve_archives(self, job: Job, targets: tuple[str, ...]) -> tuple[Path, ArchivePlan]:
        """The source tree, and the plan of archives, which depends on that and on Go alone."""
        recipes = load_recipes(job.recipes)
        with self.progress.task("resolve", "source, Go") as task:
            tree, source = self._read_source(job)
            book = recipes.at(source.release)
            go = self._find_go(job, book, source, task.detail)
            task.outcome = f"commit {source.state.commit[:12]}"
        self._warn_of(tree, source, recipes)
        lock = Lock(source=source, go=go, bases=(), artifacts=())
        return tree, make_archive_plan(job.request, book, lock, targets)

    def write_archives(self, plan: ArchivePlan, into: Path, tree: Path, work: Path) -> tuple[WrittenArchive, ...]:
        """Write the archives of a plan."""
        return write_archives(
            plan,
            into,
            tree=tree,
            work=work,
            find_compiler=self._found_compiler,
            progress=self.progress,
            cancellation=self._cancellation,
        )

    def _warn_of(self, tree: Path, source: SourceFacts, recipes: Recipes) -> None:
        if recipes.is_ahead(source.release):
            self.progress.warn(recipes.note(source.release))
        if source.state.dirty:
            self.progress.warn(f"{tree} has changes that are not committed; the version stamp says so.")

    def build_context(self, tree: Path, work: Path) -> BuildContext:
        """All that building needs of the world."""
        return BuildContext(
            tree=tree,
            work=work,
            downloads=self.workspace.downloads,
            find_compiler=self._found_compiler,
            downloader=self.downloader,
            registry=self.registry,
            engine=self.buildx,
            read_layer=self.layer_cache,
            progress=self.progress,
            cancellation=self._cancellation,
        )

    def publish_context(self, *, replace: bool) -> PublishContext:
        """All that publishing needs of the world. `replace` allows tags to lose platforms."""
        return PublishContext(
            registry=self.registry,
            rollback_registry=self._make_rollback_registry(),
            journals=self.workspace.journals,
            replace=replace,
        )

    def _find_go(self, job: Job, book: RecipeBook, source: SourceFacts, on_line: Callable[[str], None]) -> LockedGo:
        """The Go of a plan; what runs it is kept for the workshop."""
        machine = InstalledGo(self.run, self._environment, on_line)
        if job.request.go.image:
            locked = lock_compile_image(job.request.go.image, self.registry)
            self._compiler = ContainerCompiler(
                lambda env, command: _compile_dockerfile(book, str(locked.image), env, command),
                machine.settings(),
                self._environment,
                self.buildx,
            )
            return locked
        chosen = choose_go(job.request.go.version, source.go_directive, book.release.go, machine, self.progress.warn)
        self._compiler = MachineCompiler(chosen.toolchain, self._environment, self.run)
        return LockedGo(version=chosen.toolchain.version, reason=chosen.reason)

    def _found_compiler(self) -> Compiler:
        assert self._compiler, "a plan that compiles has been resolved with a Go"
        return self._compiler

    def _make_rollback_registry(self) -> HttpRegistry:
        """It goes on after an interruption, so nothing of it ends with one; instead it has little patience.

        It runs credential helpers anew and does not take what the other registry got, which may have been an hour ago,
        when Amazon's and Google's are no longer good.
        """
        seconds = min(self._patience.seconds, _ROLLBACK_SECONDS)
        patience = Patience(seconds, told="that is how long is waited while tags are put back")
        runner = SubprocessRunner(Cancellation())
        self._cancellation.on_kill(runner.kill_all)
        return HttpRegistry(
            credentials=docker_credentials(self._environment, runner, helper_seconds=seconds),
            retry=_UncutPolicy(cancellation=self._cancellation, total_wait=seconds, announce=self.progress.note),
            insecure=self._insecure,
            timeouts=_timeouts(patience),
            patience=patience,
        )

    def _read_source(self, job: Job) -> tuple[Path, SourceFacts]:
        git = Git(self.run, self._environment, self.workspace.releases, pause=self._cancellation.wait)
        if job.source.directory is not None:
            tree = job.source.directory.resolve()
        else:
            tree = git.checkout_release(job.source.url, job.source.release)
        return tree, read_source(tree, git.describe)


@dataclass(frozen=True, slots=True, kw_only=True)
class _UncutPolicy(RetryPolicy):
    """An interrupted process is not ended in the middle of what this one runs."""

    cancellation: Cancellation

    def run(self, attempt: Callable[[], Result]) -> Result:
        """See `RetryPolicy.run`."""
        with self.cancellation.protected():
            return RetryPolicy.run(self, attempt)


def _timeouts(patience: Patience) -> tuple[float, float]:
    """Seconds to connect, and between two reads: a registry may well be silent while it stores a large blob."""
    return min(_CONNECT_SECONDS, patience.seconds), patience.seconds


def _compile_dockerfile(book: RecipeBook, base: str, env: tuple[tuple[str, str], ...], command: tuple[str, ...]) -> str:
    return render_dockerfile(dict(book.templates), COMPILE_TEMPLATE, {"base": base, "env": env, "command": command})
