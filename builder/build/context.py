"""What building needs of the world, as one value that is handed on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.images.check import ReadLayer
from builder.ports import Compiler, Downloader, Engine, RegistryReader
from builder.runtime.cancellation import TaskGroup
from builder.runtime.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext:
    """What building needs of the world. `find_compiler` is called only where something is to be compiled.

    `downloads` has files, blobs of images among them, by their sha256. `cancellation` is that of the tasks that the rest is
    for.
    """

    tree: Path
    work: Path
    downloads: Path
    find_compiler: Callable[[], Compiler]
    downloader: Downloader
    registry: RegistryReader
    engine: Engine
    read_layer: ReadLayer
    progress: Progress
    cancellation: TaskGroup
