"""Copies somebody else's image into a layout of ours: every manifest of its index, byte by byte."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from builder.build.context import BuildContext
from builder.errors import BaseImageError, CheckError
from builder.images.check import ReadLayer, check_integrity
from builder.images.lookup import lacks_manifest
from builder.oci.layout import Layout, copy_layout
from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Digest
from builder.plan.model import MirrorPlan
from builder.ports import RegistryReader
from builder.runtime.atomic_file import has_sha256
from builder.runtime.concurrency import finish_or_end
from builder.runtime.last_use import mark_used
from builder.runtime.progress import Task
from builder.runtime.text import counted

_PARALLEL = 4


def mirror_image(
    mirror: MirrorPlan,
    into: Path,
    notes: Mapping[str, str],
    context: BuildContext,
    task: Task,
) -> Layout:
    """The image as a checked layout at `into`; blobs that are among the downloads are not fetched again.

    Raises BaseImageError where the source is not whole, CheckError where programs are for another machine than the index
    says, and what the registry raises.
    """
    index = _read_index(mirror, context.registry)
    manifests = [_read_child(mirror, child, context.registry) for child in index.children()]
    blobs = _fetch_blobs(mirror, manifests, context, task)
    layout = copy_layout(index, manifests, blobs, into, notes)
    _check(mirror, layout, context.read_layer)
    return layout


def _read_index(mirror: MirrorPlan, registry: RegistryReader) -> Manifest:
    index = registry.get_manifest(mirror.source)
    if index is None or index.digest != mirror.digest:
        raise BaseImageError(
            f"{mirror.image}: {mirror.source} is not there any more", hint="It was a moment ago: run the same again."
        )
    return index


def _read_child(mirror: MirrorPlan, child: Descriptor, registry: RegistryReader) -> Manifest:
    manifest = registry.get_manifest(mirror.source.repository.at(child.digest))
    if manifest is None:
        raise lacks_manifest(mirror.image, mirror.source, child)
    return manifest


def _fetch_blobs(mirror: MirrorPlan, manifests: Sequence[Manifest], context: BuildContext, task: Task) -> dict[Digest, Path]:
    """Configurations and layers, from the downloads where they are whole there."""
    wanted = {blob.digest: blob for manifest in manifests for blob in (manifest.config(), *manifest.layers())}
    paths = {digest: context.downloads / digest.hex for digest in wanted}
    for path in paths.values():
        mark_used(path)
    missing = [blob for digest, blob in wanted.items() if not has_sha256(paths[digest], digest.hex)]
    total = sum(blob.size for blob in missing)

    def pull(blob: Descriptor) -> None:
        context.cancellation.check()
        into = paths[blob.digest]
        context.registry.pull_blob(mirror.source.repository, blob, into, on_bytes=lambda count: task.advance(count, total))

    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        finish_or_end([pool.submit(pull, blob) for blob in missing], context.cancellation, "interrupted; nothing was tagged")
    task.outcome = f"{len(missing)} of {counted(len(wanted), 'blob')} fetched"
    return paths


def _check(mirror: MirrorPlan, layout: Layout, read_layer: ReadLayer) -> None:
    index = check_integrity(layout, read_layer)
    assert index.digest == mirror.digest
    missing = [str(platform) for platform in mirror.platforms if platform not in index.platforms()]
    if missing:
        raise CheckError(f"{mirror.image}: {mirror.source} has no {' and no '.join(missing)}")
