"""The sha256 over everything that decides an image's bytes, platform by platform. Pure."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from builder import __version__
from builder.oci.layer_format import FORMATS
from builder.oci.reference import Digest
from builder.plan.lock import Lock, LockedBase
from builder.plan.model import (
    CompiledFile,
    CompileStep,
    FetchedFile,
    ImagePlan,
    PlannedFile,
    PlatformImage,
)
from builder.plan.rootfs_step import RootfsStep


def identify_platform(
    plan: ImagePlan, platform: PlatformImage, base: LockedBase, lock: Lock, compiles: tuple[CompileStep, ...], compression: str
) -> str:
    """The sha256 over everything that decides the image's bytes on one platform: no reference, host or path of a machine
    among it, and nothing of other platforms."""
    used = {file.origin.step for file in platform.files if isinstance(file.origin, CompiledFile)}
    mains = {(step.key, program): main for step in compiles for program, main in step.mains}
    inputs = {
        "tool": __version__,
        "compression": FORMATS[compression],
        "source": lock.source.content,
        # Only where there are some: other images keep their sum.
        **({"patches": [patch.sha256 for patch in lock.source.patches]} if lock.source.patches else {}),
        "go": lock.go.version if used else "",
        # Without the packages: which other programs are compiled beside ours does not change ours.
        "compiles": [
            [step.key, ("go", "build", *step.command.options), step.env, *([step.container] if step.container else [])]
            for step in compiles
            if step.key in used
        ],
        "annotations": plan.annotations,
        "base": [str(platform.platform), str(base.on(platform.platform).manifest)],
        "dockerfile": platform.dockerfile.replace(str(base.reference), str(base.digest)),
        "files": [[_identify(file, mains), file.path, file.mode, file.mtime] for file in platform.files],
        "accounts": [step.identity() for step in platform.accounts],
        "noted": platform.noted,
    }
    return sum_inputs(inputs)


def identify_rootfs(plan: ImagePlan, platform: PlatformImage, step: RootfsStep, compression: str) -> str:
    """The same for an image that is made of packages."""
    return sum_inputs(
        {
            "tool": __version__,
            "compression": FORMATS[compression],
            "annotations": plan.annotations,
            "dockerfile": platform.dockerfile,
            "rootfs": step.identity(),
            "noted": platform.noted,
        }
    )


def join_fingerprints(fingerprints: Mapping[str, str]) -> str:
    """What an image is made from, of what it is made from on its platforms: `linux/amd64=sha256:… linux/arm64=sha256:…`."""
    return " ".join(f"{platform}={fingerprint}" for platform, fingerprint in sorted(fingerprints.items()))


def split_fingerprints(joined: str) -> dict[str, str]:
    """The same the other way round; nothing of what is not written so."""
    pairs = (entry.partition("=") for entry in joined.split())
    return {platform: fingerprint for platform, separator, fingerprint in pairs if separator}


def sum_inputs(inputs: Mapping[str, Any]) -> str:
    """The sha256 of these inputs, whatever the order of their keys."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return Digest("sha256:" + hashlib.sha256(text.encode()).hexdigest()).text


def _identify(file: PlannedFile, mains: Mapping[tuple[str, str], str]) -> str:
    """What decides a file's content: downloads by their sum, wherever they came from (what is taken from an image by the
    manifest and the path there); the rest by commit and command."""
    if isinstance(file.origin, CompiledFile):
        return f"{file.origin.step} {mains[file.origin.step, file.origin.program]}"
    if isinstance(file.origin, FetchedFile):
        return f"{file.origin.artifact.sha256} {file.origin.artifact.member}"
    return str(file.origin)
