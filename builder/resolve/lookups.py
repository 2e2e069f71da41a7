"""What resolving asks of the world."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.plan.lock import ListedDirectory, LockedGo
from builder.ports import Downloader, ImageReader, PackageFinder


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookups:
    """Where things are looked up.

    `check_file` and `list_directory` look into the source tree and raise SourceError for what is not there. `find_go` is
    called only where something is compiled; `packages` is needed only for images that are made of packages. `cache` has
    downloads by their sha256; `note` is told what people should know.
    """

    check_file: Callable[[str], object]
    list_directory: Callable[[str], ListedDirectory]
    find_go: Callable[[], LockedGo]
    registry: ImageReader
    downloader: Downloader
    cache: Path
    note: Callable[[str], None]
    packages: PackageFinder | None = None
