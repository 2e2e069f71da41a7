"""What an image is made from, by the names in which a difference is told.

It stands beside the fingerprint in an index's annotations, so that a later run on any machine can say why it makes the image
anew. The fingerprint alone decides whether it does; what is noted is among its inputs, so equal fingerprints have equal
notes, and the same inputs give the same index. Only names, versions and sums: no place, and nothing that could be a
secret. Pure.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from builder import __version__
from builder.oci.layer_format import FORMATS
from builder.plan.fingerprint import join_fingerprints, sum_inputs
from builder.plan.lock import Lock, LockedArtifact, LockedBase
from builder.plan.model import (
    DEBUG_ANNOTATION,
    FINGERPRINT_ANNOTATION,
    NOTES_ANNOTATION,
    REVISION_ANNOTATION,
    VERSION_ANNOTATION,
    CompiledFile,
    CompileStep,
    FetchedFile,
    ImagePlan,
    PlatformImage,
)
from builder.plan.rootfs_step import RootfsStep

# Of how it is written down. It changes where an older istio-build would read it wrongly.
NOTES_VERSION = 1
# Names that stand before the name of the thing itself, such as `base iptables`.
BASE, ARTIFACT, PACKAGE, SOURCE = "base ", "artifact ", "package ", "source "
RECIPE, TREE, PACKAGES, STAMP = "recipe", "tree", "packages", "stamp"

# By the names above, sorted.
Notes = tuple[tuple[str, str], ...]

# As many bytes for each platform, where registries take some MB for all of a manifest. Hundreds of packages need about as many.
_LARGEST = 12 * 1024
_SHORT = 12
_DEB = re.compile(r"(?P<name>[^_]+)_(?P<version>[^_]+)_[^_]+\.deb")
# What differs from platform to platform by itself.
_OF_THE_PLATFORM = ("GOOS", "GOARCH")


def note_image(
    plan: ImagePlan, on: PlatformImage, base: LockedBase, lock: Lock, compiles: Sequence[CompileStep]
) -> dict[str, str]:
    """What an image that stands on a base is made from on one platform, besides what `note_settings` and `note_recipe` tell."""
    annotations, state = dict(plan.annotations), lock.source.state
    used = {file.origin.step for file in on.files if isinstance(file.origin, CompiledFile)}
    fetched = [file.origin.artifact for file in on.files if isinstance(file.origin, FetchedFile)]
    return {
        "commit": annotations[REVISION_ANNOTATION],
        "version": annotations[VERSION_ANNOTATION],
        "debug": annotations.get(DEBUG_ANNOTATION, ""),
        TREE: state.content[:_SHORT],
        **{f"{SOURCE}{path}": content[:_SHORT] for path, content in state.parts},
        f"{BASE}{base.name}": str(base.digest),
        **{f"patch {patch.name}": f"sha256:{patch.sha256}" for patch in lock.source.patches},
        **{f"{ARTIFACT}{artifact.name}": _artifact(artifact) for artifact in fetched},
        **(_note_compiling([step for step in compiles if step.key in used], lock) if used else {}),
    }


def note_rootfs(step: RootfsStep) -> dict[str, str]:
    """What an image that is made of packages is made from on one platform, besides the same."""
    packages = {}
    for package in step.packages:
        deb = _DEB.fullmatch(package.name)
        packages[f"{PACKAGE}{deb['name'] if deb else package.name}"] = deb["version"] if deb else package.sha256[:_SHORT]
    return {**packages, "package archives": _short_sum(list(step.sources))}


def note_settings(compression: str) -> dict[str, str]:
    """What holds for all images of a run."""
    return {"istio-build": __version__, "compression": FORMATS[compression]}


def note_recipe(dockerfile: str, recipe: Mapping[str, object]) -> dict[str, str]:
    """What a recipe and its template say: the Dockerfile without any input in it, and the recipe as JSON values."""
    return {RECIPE: _short_sum([dockerfile, recipe])}


def bound_notes(notes: Mapping[str, str]) -> Notes:
    """The notes that say something, sorted; in place of many packages, or parts of the source, one sum over them."""
    told = {name: text for name, text in notes.items() if text}
    for kind, whole in ((PACKAGE, PACKAGES), (SOURCE, "")):
        if _size(told) <= _LARGEST:
            break
        many = {name: text for name, text in told.items() if name.startswith(kind)}
        told = {name: text for name, text in told.items() if name not in many}
        told |= {whole: _short_sum(many)} if whole and many else {}
    return tuple(sorted(told.items()))


def join_notes(notes: Mapping[str, Notes]) -> str:
    """What an index's annotation says of its platforms, "" where nothing is known of any; what all have stands there once."""
    by_platform = {platform: dict(own) for platform, own in notes.items() if own}
    if not by_platform:
        return ""
    first = next(iter(by_platform.values()))
    shared = {name: text for name, text in first.items() if all(own.get(name) == text for own in by_platform.values())}
    own = {
        platform: {name: text for name, text in all_of_it.items() if name not in shared}
        for platform, all_of_it in by_platform.items()
    }
    return json.dumps({"v": NOTES_VERSION, "all": shared, "on": own}, sort_keys=True, separators=(",", ":"))


def seal(plan: ImagePlan) -> ImagePlan:
    """The image with the annotations of what it is made from, on the platforms that it has here."""
    made_from = annotate_inputs(
        {str(on.platform): on.fingerprint for on in plan.platforms}, {str(on.platform): on.noted for on in plan.platforms}
    )
    return replace(plan, annotations=tuple(sorted({**dict(plan.annotations), **made_from}.items())))


def annotate_inputs(fingerprints: Mapping[str, str], notes: Mapping[str, Notes]) -> dict[str, str]:
    """The annotations of an index that say what it is made from on its platforms."""
    joined = join_notes(notes)
    return {FINGERPRINT_ANNOTATION: join_fingerprints(fingerprints), **({NOTES_ANNOTATION: joined} if joined else {})}


def _note_compiling(steps: Sequence[CompileStep], lock: Lock) -> dict[str, str]:
    environment = [[pair for pair in step.env if pair[0] not in _OF_THE_PLATFORM] for step in steps]
    return {
        "Go": lock.go.version,
        "image to compile in": str(lock.go.image.digest) if lock.go.image else "",
        "flags": _short_sum([step.unstamped for step in steps]),
        "environment": _short_sum(environment),
        # With what programs are stamped with: commit and version, and the hub, whose name is nobody's business.
        STAMP: _short_sum([step.command.options for step in steps]),
    }


def _artifact(artifact: LockedArtifact) -> str:
    return f"sha256:{artifact.sha256} {artifact.member}".rstrip()


def _size(notes: Mapping[str, str]) -> int:
    return len(json.dumps(notes))


def _short_sum(value: object) -> str:
    return sum_inputs({"of": value}).removeprefix("sha256:")[:_SHORT]
