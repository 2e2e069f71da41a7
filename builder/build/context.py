"""What building needs of the world, handed to each of its tasks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.ports import Compiler, Downloader, Engine, RegistryReader
from builder.runtime.cancellation import TaskGroup
from builder.runtime.progress import Progress

if TYPE_CHECKING:
    # What a push is handed, and does not need where nothing is to be made.
    from builder.build.assemble import AssembledPlatform
    from builder.images.layer_cache import LayerCache
    from builder.runtime.file_sums import FileSums


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
    """What building images needs besides. `downloads` has files, blobs of images among them, by their sha256; `sum_file` gives
    that of what this run has written; `jobs` has what other runs work with, as this one does with `work`.

    `whole` layouts hold the layers of their bases, too. What only goes to a registry need not: it may have them already.
    With `fail_fast` the first image that fails ends the others, which else are finished. `on_assembled` is told of each
    platform's image as soon as it is ready; it returns at once.
    """

    downloads: Path
    downloader: Downloader
    registry: RegistryReader
    engine: Engine
    read_layer: "LayerCache"
    sum_file: "FileSums"
    jobs: Path | None = None
    whole: bool = True
    fail_fast: bool = False
    on_assembled: "Callable[[AssembledPlatform], None]" = lambda part: None
