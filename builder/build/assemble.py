"""Assembles one image on one platform: packs its layers, has the engine put them on the bases, checks what came out."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from builder.build.pack import Packer, expect_all
from builder.images.check import ExpectedFile, check_platform
from builder.images.finish import ImageFinisher
from builder.images.kept_layers import KeptLayers
from builder.images.layer_cache import LayerCache
from builder.oci.image_config import BaseImage
from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor
from builder.oci.reference import Platform
from builder.plan.assembly import assembly_target
from builder.plan.model import AccountsLayer, FilesLayer, ImagePlan, PlannedFile, PlatformImage, RootfsLayer
from builder.plan.rootfs_step import RootfsStep
from builder.plan.users_step import UsersStep
from builder.ports import Engine
from builder.runtime.file_sums import FileSums


class Material(Protocol):
    """Tells where what layers are made of lies. Each may wait until it is there, and raise what making it raised."""

    def file(self, file: PlannedFile) -> Path:
        """The content of a file."""
        ...

    def rootfs(self, step: RootfsStep) -> Path:
        """The tar of a root file system; it may be moved away."""
        ...

    def base_layer(self, base: BaseImage, layer: Descriptor) -> Path:
        """The blob of a layer of a base image."""
        ...

    def accounts(self, step: UsersStep) -> Path:
        """The tar of a base's accounts with users added."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledPlatform:
    """One image in one variant on one platform: a checked layout of its own."""

    key: str
    platform: Platform
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembler:
    """Assembles the images of one plan with this engine. `work` is kept between runs, so that little is done again; `jobs` has
    the like directories of others, from whose layers parts are taken.
    """

    engine: Engine
    material: Material
    work: Path
    compression: str
    read_layer: LayerCache
    sum_file: FileSums
    jobs: Path | None = None
    whole: bool = True

    def assemble(
        self, plans: Sequence[ImagePlan], platform: Platform, source_date_epoch: int, on_progress: Callable[[str], None]
    ) -> tuple[AssembledPlatform, ...]:
        """All variants of one image on one platform; they hold the same files on different bases.

        Raises CheckError, CompileError, and what the engine raises.
        """
        on_progress("packing")
        images = [next(image for image in plan.platforms if image.platform == platform) for plan in plans]
        targets = [assembly_target(*pair, self.work, source_date_epoch) for pair in zip(plans, images, strict=True)]
        kept = self._kept_layers(platform, plans[0].image)
        packer = Packer(sums=self.sum_file, layers=self.read_layer, kept=kept)
        files = [self._pack(packer, image, target.context) for image, target in zip(images, targets, strict=True)]
        for target in targets:
            _make_empty(target.destination)
        self.engine.assemble(targets, on_progress)
        on_progress("compressing")
        finisher = ImageFinisher(kept, self.material.base_layer if self.whole else None)
        for plan, image, target, expected in zip(plans, images, targets, files, strict=True):
            layout = Layout(target.destination)
            check_platform(plan, image, layout, expected, self.read_layer, self.sum_file)
            finisher.finish(layout, target)
        kept.forget_others()
        return tuple(
            AssembledPlatform(key=plan.key, platform=platform, layout=Layout(target.destination))
            for plan, target in zip(plans, targets, strict=True)
        )

    def _kept_layers(self, platform: Platform, image: str) -> KeptLayers:
        place = Path("compressed", platform.slug, image)
        return KeptLayers(
            self.compression, self.work / place, lambda: self.jobs.glob(f"*/{place}") if self.jobs else (), self.sum_file
        )

    def _pack(self, packer: Packer, image: PlatformImage, context: Path) -> list[ExpectedFile]:
        context.mkdir(parents=True, exist_ok=True)
        packed: list[ExpectedFile] = []
        for layer in image.layers:
            archive = context / layer.archive
            match layer:
                case FilesLayer(files=files):
                    packed += packer.pack_files(files, archive, image.platform, self.material.file)
                case RootfsLayer(rootfs=step):
                    self.material.rootfs(step).replace(archive)
                    packed += expect_all(archive)
                case AccountsLayer(users=step):
                    # Copied, as other variants and images may stand on the same base.
                    shutil.copyfile(self.material.accounts(step), archive)
                    packed += expect_all(archive)
        return packed


def _make_empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
