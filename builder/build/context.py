"""What building needs of the world, handed to each of its tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from builder.images.check import ReadLayer
from builder.ports import Compiler, Downloader, Engine, RegistryReader
from builder.runtime.cancellation import TaskGroup
from builder.runtime.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileContext:
    """What compiling needs. `find_compiler` is called only where something is to be compiled.

    `cancellation` is that of the tasks that the rest is for.
    """

    tree: Path
    work: Path
    find_compiler: Callable[[], Compiler]
    progress: Progress
    cancellation: TaskGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildContext(CompileContext):
    """What building images needs besides. `downloads` has files, blobs of images among them, by their sha256.

    `whole` layouts hold the layers of their bases, too. What only goes to a registry need not: it may have them already.
    """

    downloads: Path
    downloader: Downloader
    registry: RegistryReader
    engine: Engine
    read_layer: ReadLayer
    whole: bool = True
