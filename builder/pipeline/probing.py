"""The adapters that `doctor` looks with: as those of a run, but of little patience, silent, and each check's own."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from builder.cache.workspace import Workspace
from builder.config.settings import Job
from builder.doctor.probes import Assembler, Probes
from builder.engine.buildx import Buildx
from builder.engine.docker import DockerEngine
from builder.host.git import Git
from builder.host.go import InstalledGo
from builder.host.process import SubprocessRunner
from builder.net.download import HttpDownloader
from builder.net.patience import Patience
from builder.net.session import HttpSession, Waiting
from builder.registry.client import HttpRegistry
from builder.registry.keychain import docker_credentials
from builder.runtime.cancellation import Cancellation
from builder.runtime.retry import RetryPolicy

_PATIENCE_TOLD = "that is how long `doctor` waits (--limit)"


class BoundedProbes:
    """Implements `doctor.examine.Bounded`. `seconds` is for how long a host may be silent."""

    def __init__(
        self, job: Job, environment: Mapping[str, str], cancellation: Cancellation, workspace: Workspace, seconds: float
    ) -> None:
        self._job = job
        self._environment = environment
        self._group = cancellation.group()
        self._run = SubprocessRunner(self._group)
        self._workspace = workspace
        self._seconds = seconds
        self._retry = RetryPolicy(sleep=self._group.wait, total_wait=seconds, attempts=2)

    def end(self) -> None:
        """See `doctor.examine.Bounded.end`."""
        self._group.set()

    @contextmanager
    def probes(self) -> Iterator[Probes]:
        """See `doctor.examine.Bounded.probes`."""
        registry = HttpRegistry(
            credentials=docker_credentials(self._environment, self._run, helper_seconds=self._seconds),
            retry=self._retry,
            insecure=self._job.insecure_registries,
            waiting=self._waiting(),
        )
        downloader = HttpDownloader(retry=self._retry, waiting=self._waiting())
        for client in (registry, downloader):
            self._group.on_set(client.abort)
        with tempfile.TemporaryDirectory(prefix="istio-build-doctor-") as scratch:
            yield Probes(
                registry=registry,
                downloader=downloader,
                go=InstalledGo(self._run, self._environment),
                git=self.git(),
                engine=_Builder(self._run, self._environment, self._retry, self._job.builder),
                hosts=_Hosts(registry, self._environment, self._run),
                scratch=Path(scratch),
            )

    def git(self) -> Git:
        """Version control."""
        return Git(self._run, self._environment, self._workspace.releases, retry=self._retry, silence=self._seconds)

    def _waiting(self) -> Waiting:
        return Waiting(
            check_interrupted=self._group.check,
            timeouts=(self._seconds, self._seconds),
            patience=Patience(self._seconds, told=_PATIENCE_TOLD),
        )


class _Builder:
    """Implements `doctor.probes.EngineProbe`."""

    def __init__(self, run: SubprocessRunner, environment: Mapping[str, str], retry: RetryPolicy, builder: str) -> None:
        self._docker = DockerEngine(environment)
        self._buildx = Buildx(run, environment, self._docker.check, retry, builder)

    def look(self) -> Assembler:
        """See `doctor.probes.EngineProbe.look`."""
        found = self._buildx.look()
        platforms = tuple(dict.fromkeys(name for node in found.nodes for name in (*node.declared, *node.found)))
        if found.is_docker:
            return Assembler(name=f"Docker {self._docker.version()} with the containerd image store", platforms=platforms)
        waiting = f", {len(found.not_running)} of them to be started" if found.not_running else ""
        count = len(found.nodes)
        nodes = f"{count} {'node' if count == 1 else 'nodes'}{waiting}"
        return Assembler(name=f"builder {found.name} ({found.driver}, {nodes})", platforms=platforms)


class _Hosts:
    """Implements `doctor.probes.HostProbe`."""

    def __init__(self, registry: HttpRegistry, environment: Mapping[str, str], run: SubprocessRunner) -> None:
        self.clock_ahead = registry.clock_ahead
        self._credentials = docker_credentials(environment, run)

    def proxy_for(self, url: str) -> str:
        """See `doctor.probes.HostProbe.proxy_for`."""
        with HttpSession(use_netrc=False) as session:
            return session.proxy_for(url)

    def has_login(self, host: str) -> bool:
        """See `doctor.probes.HostProbe.has_login`."""
        return self._credentials(host) is not None
