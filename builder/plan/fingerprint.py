"""The sha256 over everything that decides an image's bytes. Pure."""

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
)


def identify_image(plan: ImagePlan, base: LockedBase, lock: Lock, compiles: tuple[CompileStep, ...], compression: str) -> str:
    """The sha256 over everything that decides the image's bytes: no reference, host or path of a machine among it."""
    files = [file for platform in plan.platforms for file in platform.files]
    used = {file.origin.step for file in files if isinstance(file.origin, CompiledFile)}
    mains = {(step.key, program): main for step in compiles for program, main in step.mains}
    inputs = {
        "tool": __version__,
        "compression": FORMATS[compression],
        "source": lock.source.state.content,
        "go": lock.go.version if used else "",
        # Without the packages: which other programs are compiled beside ours does not change ours.
        "compiles": [
            [step.key, ("go", "build", *step.command.options), step.env, *([step.container] if step.container else [])]
            for step in compiles
            if step.key in used
        ],
        "annotations": plan.annotations,
        "base": [[str(entry.platform), str(entry.manifest)] for entry in base.platforms],
        "platforms": [
            [
                str(platform.platform),
                platform.dockerfile.replace(str(base.reference), str(base.digest)),
                [[_identify(file, mains), file.path, file.mode, file.mtime] for file in platform.files],
                *(step.identity() for step in platform.accounts),
            ]
            for platform in plan.platforms
        ],
    }
    return sum_inputs(inputs)


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
