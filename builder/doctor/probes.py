"""What checks ask of the world, as small protocols. Each check has probes of its own, which end with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.oci.reference import Repository
from builder.ports import Downloader, GoToolchains, Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """What would assemble images: how it is called for people, and the platforms whose programs it can run; none are known
    where it runs none."""

    name: str
    platforms: tuple[str, ...] = ()


class EngineProbe(Protocol):
    """The Docker engine, or the builder that buildx would use."""

    def look(self) -> Assembler:
        """What it is now; nothing is started. Raises EngineError where it could not assemble."""
        ...


class GitProbe(Protocol):
    """The git program."""

    def version(self) -> str:
        """Its version. Raises SourceError where there is none."""
        ...

    def has_tag(self, url: str, tag: str) -> bool:
        """Whether a server has this tag. Raises SourceError where it does not say."""
        ...

    def list_tags(self, url: str) -> tuple[str, ...]:
        """The names of all tags of a repository. Raises SourceError where its server does not say."""
        ...


class HostProbe(Protocol):
    """How other machines are reached."""

    def proxy_for(self, url: str) -> str:
        """The proxy that a URL is asked through, "" for none."""
        ...

    def clock_ahead(self, repository: Repository) -> float | None:
        """By how many seconds the registry's clock is ahead of ours; None where it does not say."""
        ...

    def has_login(self, host: str) -> bool:
        """Whether there are credentials for a registry. Raises EngineError where that cannot be told."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """All of them. `scratch` is an empty directory of this check's own, which goes with it."""

    registry: Registry
    downloader: Downloader
    go: GoToolchains
    git: GitProbe
    engine: EngineProbe
    hosts: HostProbe
    scratch: Path
