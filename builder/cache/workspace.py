"""Where a run keeps its files: a cache shared by all runs, and one directory for each job, used by one run at a time."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from builder.runtime.atomic_file import whole_file
from builder.runtime.file_lock import locked
from builder.runtime.last_use import mark_used
from builder.runtime.live_runs import LiveRuns

# In a job's directory: of which source and hub it is.
ABOUT_FILE = "about.json"
LOCK_FILE = "lock"


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
        """Fetched releases of Istio, by where they were fetched from."""
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
    def jobs(self) -> Path:
        """The directories of jobs."""
        return self.root / "jobs"

    @property
    def journals(self) -> Path:
        """Tags being moved."""
        return self.root / "journal"

    @property
    def runs(self) -> LiveRuns:
        """The runs that are at work with this cache."""
        return LiveRuns(self.root / "runs")

    def job_directory(self, tree: Path, hub: str) -> Path:
        """Where the job of a source tree and a hub has its files."""
        # A path need be no text.
        name = hashlib.sha256(f"{tree.resolve()}\n{hub}".encode(errors="surrogateescape")).hexdigest()[:12]
        return self.jobs / name

    @contextmanager
    def job(self, tree: Path, hub: str, on_wait: Callable[[], None], pause: Callable[[float], None]) -> Iterator[Path]:
        """The directory of this job for one run alone; a second run of the same job waits, and `on_wait` says so.

        A job is a source tree and a hub: compiled programs are kept, so that what is up to date is not linked again.
        """
        directory = self.job_directory(tree, hub)
        with locked(directory / LOCK_FILE, pause, on_wait):
            about = {"source": str(tree.resolve()), "hub": hub}
            with contextlib.suppress(UnicodeEncodeError), whole_file(directory / ABOUT_FILE) as partial:
                partial.write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
            mark_used(directory)
            yield directory


def find_cache(environment: Mapping[str, str]) -> Path:
    """`$ISTIO_BUILD_CACHE`, else `istio-build` below the user's cache directory (XDG Base Directory Specification)."""
    if environment.get("ISTIO_BUILD_CACHE"):
        # Absolute, as programs are started in other directories than ours.
        return Path(environment["ISTIO_BUILD_CACHE"]).absolute()
    home = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/root"), ".cache"))
    return Path(home, "istio-build")
