"""A `ports.Engine` that needs no Docker: it puts the layers of a target on a base image of the samples."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from builder.errors import BaseImageError
from builder.oci.image_config import AddedConfig
from builder.oci.manifest import ImageConfig
from builder.oci.reference import ImageReference, Platform
from builder.ports import AssemblyTarget
from tests.samples.images import BASE_LAYER, write_image

# BuildKit gives this to an image from scratch, and to one on a base without a PATH (moby/buildkit,
# frontend/dockerfile/dockerfile2llb/image.go, emptyImage; convert.go).
SCRATCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class FakeEngine:
    """Every base image is of one layer; `has_base` tells which there are.

    `change` may spoil the configuration of what comes out. `compression` is what its cache happens to
    hold layers in; the base's are as its registry has them.
    """

    compression: str = "uncompressed"
    change: Callable[[ImageConfig], ImageConfig] = lambda config: config
    ready: Callable[[], None] = lambda: None
    has_base: Callable[[ImageReference], bool] = lambda reference: True
    targets: list[AssemblyTarget] = field(default_factory=list)

    def prepare(self) -> None:
        self.ready()

    def assemble(self, targets: Sequence[AssemblyTarget], on_progress: Callable[[str], None]) -> None:
        for target in targets:
            self.targets.append(target)
            on_progress(f"building {target.name}")
            self._build(target)

    def _build(self, target: AssemblyTarget) -> None:
        if target.base and not self.has_base(target.base.reference):
            raise BaseImageError(f"the engine cannot get a base image: {target.base.reference}: not found")
        base = target.base.config if target.base else _from_scratch(target.platform)
        layers = [(target.context / name).read_bytes() for name in target.layers]
        write_image(
            target.destination,
            self.change(_add(target.config, base)),
            [BASE_LAYER, *layers] if target.base else layers,
            self.compression,
            base_compression="gzip" if target.base else "",
        )


def _from_scratch(platform: Platform) -> ImageConfig:
    return ImageConfig(platform=platform, env=(("PATH", SCRATCH_PATH),), working_dir="/")


def _add(added: AddedConfig, base: ImageConfig) -> ImageConfig:
    return replace(
        base,
        user=added.user or base.user,
        entrypoint=added.entrypoint or base.entrypoint,
        command=added.command or (() if added.entrypoint else base.command),
        working_dir=added.working_dir or base.working_dir,
        env=tuple({"PATH": SCRATCH_PATH, **dict(base.env), **dict(added.env)}.items()),
        labels=tuple({**dict(base.labels), **dict(added.labels)}.items()),
        others=tuple((name, value) for name, value in base.others if name != "OnBuild"),
    )
