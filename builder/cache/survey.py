"""Looks through a cache: what lies there, how much it is, when it was used last. Changes nothing."""

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from builder.cache.entry import Entry, Kind, Survey
from builder.cache.workspace import ABOUT_FILE, LOCK_FILE, Workspace
from builder.runtime.json_document import object_of, parse_json, text_of
from builder.runtime.last_use import STAMPS, last_used
from builder.runtime.regular_file import read_regular

# Of a git mirror beside the releases that were fetched into it.
MIRROR = "mirror.git"
COMPLETE = ".complete"
SUM = ".sum"
# What was written down of files that nobody publishes a checksum of: no copy of anything, so it stays.
FIRST_USE = ".first-use"
# What was being removed by a run that was ended meanwhile.
GOING = ".going-"
_LARGEST_NOTE = 1 << 16
_SECTOR = 512


class Surveyor:
    """Looks through one cache. What is linked to several places in it counts once."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._seen: set[tuple[int, int]] = set()

    def survey(self) -> Survey:
        """All that lies there; what is removed meanwhile is left out."""
        entries = tuple(entry for entry in self._entries() if entry)
        workspace = self._workspace
        shelves = [workspace.downloads, workspace.documents, workspace.layers, workspace.looks]
        shelves += [workspace.packages, workspace.jobs, workspace.releases]
        kept = [path for path in _listed(workspace.root) if path not in shelves]
        kept += [path for path in _listed(workspace.downloads) if path.suffix == FIRST_USE]
        return Survey(entries=entries, kept=sum(map(self._size, kept)))

    def _entries(self) -> Iterator[Entry | None]:
        workspace = self._workspace
        for path in _listed(workspace.downloads):
            # A sum goes with its file, and alone where that is gone.
            if path.suffix != FIRST_USE and not (path.suffix == SUM and path.with_suffix("").exists()):
                yield self._entry(Kind.DOWNLOAD, path, _beside(path))
        places = {Kind.DOCUMENT: workspace.documents, Kind.LAYER: workspace.layers, Kind.LOOK: workspace.looks}
        for kind, directory in {**places, Kind.PACKAGES: workspace.packages}.items():
            yield from (self._entry(kind, path) for path in _listed(directory))
        for path in _listed(workspace.jobs):
            if any(other.name != LOCK_FILE for other in _listed(path)):
                yield self._entry(Kind.JOB, path, about=_about_job(path))
        for home in _listed(workspace.releases):
            yield from self._releases(home)

    def _releases(self, home: Path) -> Iterator[Entry | None]:
        """The work trees of one place that was fetched from, and the git objects that all of them need."""
        trees = [path for path in _listed(home) if path.is_dir() and path.name != MIRROR]
        found = [self._entry(Kind.SOURCE, path, about=path.name) for path in trees]
        yield from found
        mirror = home / MIRROR
        if mirror.is_dir():
            used = max([mirror.stat().st_mtime, *(entry.used for entry in found if entry)])
            place = str(home.relative_to(self._workspace.root))
            about = "git objects of the releases"
            yield Entry(kind=Kind.SOURCE, path=place, size=self._size(mirror), used=used, about=about, shared=True)

    def _entry(self, kind: Kind, path: Path, *more: Path, about: str = "") -> Entry | None:
        try:
            used = 0.0 if path.name.startswith(GOING) else last_used(path)
        except OSError:
            return None
        size = sum(self._size(one) for one in (path, *more))
        return Entry(kind=kind, path=str(path.relative_to(self._workspace.root)), size=size, used=used, about=about)

    def _size(self, path: Path) -> int:
        """What it takes on the disk, with all that is in it; what is not there takes nothing."""
        with contextlib.suppress(OSError):
            size = self._once(path.lstat())
            return size + (self._size_below(str(path)) if path.is_dir() and not path.is_symlink() else 0)
        return 0

    def _size_below(self, directory: str) -> int:
        size = 0
        pending = [directory]
        while pending:
            # As directories go while others remove them, and some may not be read.
            with contextlib.suppress(OSError), os.scandir(pending.pop()) as found:
                for entry in found:
                    with contextlib.suppress(OSError):
                        size += self._once(entry.stat(follow_symlinks=False))
                        if entry.is_dir(follow_symlinks=False):
                            pending.append(entry.path)
        return size

    def _once(self, status: os.stat_result) -> int:
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            if key in self._seen:
                return 0
            self._seen.add(key)
        return status.st_blocks * _SECTOR


def _listed(directory: Path) -> list[Path]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [directory / name for name in names if name != STAMPS]


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}{SUM}")


def _about_job(path: Path) -> str:
    try:
        said = object_of(parse_json(read_regular(path / ABOUT_FILE, _LARGEST_NOTE)))
        return f"{Path(text_of(said.get('source'))).name} for {text_of(said.get('hub'))}"
    except (OSError, ValueError):
        return ""
