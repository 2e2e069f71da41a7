"""A world in which a push of Istio 1.29.0 would go well, for the doctor to look at; tests spoil one thing in it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from builder.config.request import SourceRequest
from builder.config.settings import Job
from builder.doctor.case import Case
from builder.doctor.finding import Finding
from builder.doctor.hubs import hub_checks
from builder.doctor.machine import machine_checks
from builder.doctor.probes import Assembler, Probes
from builder.doctor.source import source_checks
from builder.errors import BuilderError
from builder.oci.reference import Repository
from builder.plan.selection import select_images
from builder.ports import GoToolchain
from tests.fakes.downloader import FakeDownloader
from tests.fakes.registry import FakeRegistry
from tests.samples.plans import load_book, make_request, make_source
from tests.unit.resolve.test_resolver import BASE_TAG, FIRST, SUMS, add_base, envoy

Answer = TypeVar("Answer")
PROXY = "https://proxy.example"
DOCKER = Assembler(name="Docker 28.5.2 with the containerd image store", platforms=("linux/amd64", "linux/arm64"))


def published() -> dict[str, bytes]:
    """Envoy, its checksums, and a Go module."""
    files = {f"{PROXY}/golang.org/x/mod/@v/v0.1.0.info": b"{}"}
    for platform, text in SUMS.items():
        files[f"{FIRST}/{envoy(platform)}.sha256"] = text.encode()
        files[f"{FIRST}/{envoy(platform)}.tar.gz"] = b"an archive"
    return files


@dataclass
class World:
    """All that can be asked, and what it answers; an exception is raised."""

    scratch: Path
    registry: FakeRegistry = field(default_factory=FakeRegistry)
    downloader: FakeDownloader = field(default_factory=lambda: FakeDownloader(published()))
    go_version: str | BuilderError = "1.26.0"
    go_settings: dict[str, str] = field(default_factory=lambda: {"GOPROXY": f"{PROXY},direct"})
    git_version: str | BuilderError = "2.39.5"
    tags: set[str] | BuilderError = field(default_factory=lambda: {"1.29.0"})
    engine: Assembler | BuilderError = DOCKER
    proxies: dict[str, str] = field(default_factory=dict)
    clock: float | None = 0.2
    login: bool | BuilderError = True

    def __post_init__(self) -> None:
        for name in ("base", "distroless", "iptables"):
            add_base(self.registry, f"docker.io/istio/{name}:{BASE_TAG}")

    # The probes.

    def installed(self) -> GoToolchain:
        version = _given(self.go_version)
        return GoToolchain(program=Path("/usr/local/go/bin/go"), version=version, settings=tuple(self.go_settings.items()))

    def versions(self) -> tuple[str, ...]:
        raise AssertionError("that writes into Go's module cache")

    def fetch(self, version: str) -> GoToolchain:
        raise AssertionError(f"Go {version} was fetched")

    def version(self) -> str:
        return _given(self.git_version)

    def has_tag(self, url: str, tag: str) -> bool:
        return tag in _given(self.tags)

    def list_tags(self, url: str) -> tuple[str, ...]:
        return tuple(_given(self.tags))

    def look(self) -> Assembler:
        return _given(self.engine)

    def proxy_for(self, url: str) -> str:
        return next((proxy for host, proxy in self.proxies.items() if f"//{host}" in url), "")

    def clock_ahead(self, repository: Repository) -> float | None:
        return self.clock

    def has_login(self, host: str) -> bool:
        return _given(self.login)

    def probes(self) -> Probes:
        return Probes(
            registry=self.registry,
            downloader=self.downloader,
            go=self,
            git=self,
            engine=self,
            hosts=self,
            scratch=self.scratch,
        )

    def look_at(self, case: Case) -> dict[str, Finding]:
        """What each check finds, by its name and subject; an error of ours is raised."""
        checks = (*machine_checks(case, self.scratch), *source_checks(case), *hub_checks(case))
        return {f"{check.name} {check.subject}".strip(): check.look(self.probes()) for check in checks}


def _given(value: Answer | BuilderError) -> Answer:
    if isinstance(value, BuilderError):
        raise value
    return value


def make_case(root: Path, **changes: Any) -> Case:  # noqa: ANN401 - fields of the job or the case
    """A push of the core of 1.29.0, fetched before, for both platforms."""
    ours = {name: changes.pop(name) for name in list(changes) if name in Case.__dataclass_fields__}
    requested = {name: changes.pop(name) for name in ("go", "platforms", "images", "hubs") if name in changes}
    request = make_request(**requested)
    job = Job(
        request=request,
        source=SourceRequest(release="1.29.0", url="https://git.example/istio"),
        recipes=(),
        engine="auto",
        builder="",
        insecure_registries=(),
        timeout=120,
        settings=(),
    )
    book = ours.pop("book", None) or load_book()
    case = Case(
        job=replace(job, **changes),
        book=book,
        chosen=select_images(request, book),
        cache=root / "cache",
        output=root / "images",
        source=make_source(),
        tree=root / "tree",
    )
    return replace(case, **ours)
