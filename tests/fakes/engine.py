"""A `ports.Engine` that needs no Docker: it puts the layers of a context on a base image, as a Dockerfile says."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from builder.errors import AssembleError
from builder.oci.layout import Layout
from builder.oci.manifest import ImageConfig
from builder.ports import AssemblyTarget
from tests.samples.images import BASE_LAYER, make_config, write_image


@dataclass
class FakeEngine:
    """Knows the instructions of our own templates. `change` may spoil the configuration of what comes out.

    `compression` is what its cache happens to hold layers in; the base's are as its registry has them.
    """

    compression: str = "uncompressed"
    change: Callable[[ImageConfig], ImageConfig] = lambda config: config
    ready: Callable[[], None] = lambda: None
    targets: list[AssemblyTarget] = field(default_factory=list)

    def prepare(self) -> None:
        self.ready()

    def assemble(self, targets: Sequence[AssemblyTarget], on_progress: Callable[[str], None]) -> None:
        for target in targets:
            self.targets.append(target)
            on_progress(f"building {target.name}")
            self._build(target)

    def _build(self, target: AssemblyTarget) -> Layout:
        config = make_config(target.platform)
        layers = [BASE_LAYER]
        for line in target.dockerfile.splitlines():
            instruction, _, rest = line.partition(" ")
            match instruction:
                case "" | "#" | "FROM":
                    continue
                case "ADD":
                    archive = rest.removeprefix("--link ").removesuffix(" /")
                    layers.append((target.context / archive).read_bytes())
                case "LABEL":
                    config = replace(config, labels=(*config.labels, _read_pair(rest)))
                case "ENV":
                    config = replace(config, env=(*config.env, _read_pair(rest)))
                case "USER":
                    config = replace(config, user=rest)
                case "WORKDIR":
                    config = replace(config, working_dir=rest)
                case "ENTRYPOINT":
                    config = replace(config, entrypoint=tuple(json.loads(rest)), command=())
                case _:
                    raise AssembleError(f"dockerfile parse error: unknown instruction: {instruction}")
        return write_image(target.destination, self.change(config), layers, self.compression, base_compression="gzip")


def _read_pair(text: str) -> tuple[str, str]:
    """A name and its value in double quotes, as Docker reads them."""
    name, _, value = text.partition("=")
    return name, re.sub(r"\\(.)", r"\1", value.removeprefix('"').removesuffix('"'))
