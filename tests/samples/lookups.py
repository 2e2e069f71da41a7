"""What resolving asks of the world, from fakes: a tree that has every file, a Go, nothing to fetch."""

from collections.abc import Callable
from pathlib import Path

from builder.plan.lock import ListedDirectory, LockedGo
from builder.resolve.lookups import Lookups
from tests.fakes.downloader import FakeDownloader
from tests.fakes.registry import FakeRegistry


def make_lookups(
    cache: Path,
    registry: FakeRegistry,
    downloader: FakeDownloader | None = None,
    note: Callable[[str], None] = lambda text: None,
    find_go: Callable[[], LockedGo] = lambda: LockedGo(version="1.26.0"),
    check_file: Callable[[str], object] = lambda source: None,
) -> Lookups:
    """These look-ups."""
    return Lookups(
        check_file=check_file,
        list_directory=lambda source: ListedDirectory(source=source, files=()),
        find_go=find_go,
        registry=registry,
        downloader=downloader or FakeDownloader(),
        cache=cache,
        note=note,
    )
