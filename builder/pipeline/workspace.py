"""Where a run keeps its files: a cache shared by all runs, and one directory for each job, used by one run at a time."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.runtime.file_lock import locked


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directories below one cache root; all of it can be deleted between runs, at the price of doing work again."""

    root: Path

    @property
    def downloads(self) -> Path:
        """Artifacts by sha256."""
        return self.root / "artifacts"

    @property
    def layers(self) -> Path:
        """What layers hold, by digest."""
        return self.root / "layers"

    @property
    def documents(self) -> Path:
        """Manifests and configurations of images, by digest."""
        return self.root / "documents"

    @property
    def looks(self) -> Path:
        """What layers of hubs hold, by digest, and how their programs were built."""
        return self.root / "looks"

    @property
    def releases(self) -> Path:
        """Fetched releases of Istio."""
        return self.root / "releases"

    @property
    def patched(self) -> Path:
        """Source trees with patches applied, by what they hold."""
        return self.root / "patched"

    @property
    def packages(self) -> Path:
        """What archives of packages hold."""
        return self.root / "apt"

    @property
    def journals(self) -> Path:
        """Tags being moved."""
        return self.root / "journal"

    @contextmanager
    def job(self, tree: Path, hub: str, on_wait: Callable[[], None], pause: Callable[[float], None]) -> Iterator[Path]:
        """The directory of this job for one run alone; a second run of the same job waits, and `on_wait` says so.

        A job is a source tree and a hub: compiled programs are kept, so that what is up to date is not linked again.
        """
        # A path need be no text.
        name = hashlib.sha256(f"{tree.resolve()}\n{hub}".encode(errors="surrogateescape")).hexdigest()[:12]
        directory = self.root / "jobs" / name
        directory.mkdir(parents=True, exist_ok=True)
        with locked(directory / "lock", pause, on_wait):
            yield directory


def find_cache(environment: Mapping[str, str]) -> Path:
    """`$ISTIO_BUILD_CACHE`, else `istio-build` below the user's cache directory (XDG Base Directory Specification)."""
    if environment.get("ISTIO_BUILD_CACHE"):
        # Absolute, as programs are started in other directories than ours.
        return Path(environment["ISTIO_BUILD_CACHE"]).absolute()
    home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/root"), ".cache"))
    return Path(home, "istio-build")
