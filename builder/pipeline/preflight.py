"""What a run finds out before its first long work, so that minutes of compiling are not for nothing."""

import errno
import shutil
import tempfile
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import DiskFull, RequestError
from builder.images.pull import PulledImage
from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.plan.fingerprint import join_fingerprints, split_fingerprints
from builder.plan.model import Plan
from builder.ports import Registry, RegistryWriter
from builder.publish.guards import Intended, Permissions, check_moves, intend
from builder.publish.merge import Kept, find_kept, keep
from builder.publish.publication import Release
from builder.publish.tags import read_tags

_PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class TagGuard:
    """What it takes to look at tags before a push begins; `cache` has downloads by their sha256."""

    registry: Registry
    permissions: Permissions
    cache: Path

    def read(self, plan: Plan, found: Mapping[str, PulledImage]) -> dict[ImageReference, Manifest | None]:
        """Where the plan's tags are, but for those that were `found` a moment ago."""
        seen = {image.reference: image.index for image in found.values() if image.reference.tag}
        return self._read([reference for image in plan.everything for reference in image.references], seen)

    def find_plan_kept(
        self, plan: Plan, lacking: Collection[str], tags: Mapping[ImageReference, Manifest | None]
    ) -> dict[str, Kept]:
        """What is kept of the tags of images that have to be made, the same for all hubs. Raises what `find_kept` raises."""
        made = [image for image in plan.images if image.key in lacking]
        intended = {image.key: Intended.of_plan(image) for image in made}
        return self._find_kept(intended, {image.key: image.references for image in made}, tags)

    def check_plan(
        self,
        plan: Plan,
        found: Mapping[str, PulledImage],
        tags: Mapping[ImageReference, Manifest | None],
        kept: Mapping[str, Kept],
    ) -> None:
        """Whether a hub's tags may become what the plan says, and it would take what it lacks.

        Raises what `check_moves` raises; AccessDenied and RegistryError where it would not take it.
        """
        made = [image for image in plan.everything if image.key not in found]
        intended = {image.key: Intended.of_plan(image) for image in made}
        for key in intended.keys() & kept.keys():
            intended[key] = _with_kept(intended[key], kept[key])
        intended |= {key: Intended.of_index(key, image.index) for key, image in found.items() if image.index}
        moves = {ref: (intended[image.key], tags[ref]) for image in plan.everything for ref in image.references}
        check_moves(moves, self.permissions, plan.source_tag, self.registry)
        check_rights([reference.repository for image in made for reference in image.references], self.registry)

    def read_release(self, release: Release) -> dict[ImageReference, Manifest | None]:
        """Where the tags are of a release that is ready."""
        return self._read(release.references, {})

    def merge_kept(self, release: Release, tags: Mapping[ImageReference, Manifest | None]) -> Release:
        """A release that is ready, with what is kept of its tags, the same for all hubs. Raises what `find_kept` raises."""
        references = {entry.key: entry.references for entry in release.publications}
        intended = {entry.key: Intended.of_publication(entry) for entry in release.publications}
        # A mirror is what it is, whatever its tags have besides.
        ours = {key: one for key, one in intended.items() if one.build.is_ours}
        return self.merge(release, self._find_kept(ours, references, tags))

    def check_release(self, release: Release, tags: Mapping[ImageReference, Manifest | None]) -> None:
        """Whether a hub's tags may become what is ready. Raises what `check_moves` raises."""
        check_moves(intend(release.publications, tags), self.permissions, release.source_tag, self.registry)

    def merge(self, release: Release, kept: Mapping[str, Kept]) -> Release:
        """The release with what is kept in its indexes, too."""
        publications = tuple(
            keep(entry, kept[entry.key], self.registry, self.cache) if entry.key in kept else entry
            for entry in release.publications
        )
        return replace(release, publications=publications)

    def _read(
        self, references: Sequence[ImageReference], seen: Mapping[ImageReference, Manifest | None]
    ) -> dict[ImageReference, Manifest | None]:
        unknown = tuple(dict.fromkeys(reference for reference in references if reference not in seen))
        return {**seen, **read_tags(unknown, self.registry)}

    def _find_kept(
        self,
        intended: Mapping[str, Intended],
        references: Mapping[str, Sequence[ImageReference]],
        tags: Mapping[ImageReference, Manifest | None],
    ) -> dict[str, Kept]:
        if not self.permissions.merge_platforms:
            return {}
        found = {
            key: find_kept(one, {ref: tags[ref] for ref in references[key]}, self.registry, replaces=self.permissions.replace)
            for key, one in intended.items()
        }
        return {key: kept for key, kept in found.items() if kept}


def _with_kept(intended: Intended, kept: Kept) -> Intended:
    inputs = join_fingerprints({**split_fingerprints(intended.inputs), **dict(kept.inputs)})
    return replace(intended, platforms=(intended.platforms or frozenset()) | kept.platforms, inputs=inputs, kept=kept.children)


def check_rights(repositories: Sequence[Repository], registry: RegistryWriter) -> None:
    """Whether all these repositories would take an upload. Raises AccessDenied and RegistryError, which name the repository."""
    with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
        list(pool.map(registry.check_push, dict.fromkeys(repositories)))


def check_output(directory: Path, plan: Plan, cache: Path) -> None:
    """Whether layouts can be written there. Raises RequestError, or DiskFull where not even the bases' layers have room.

    Nothing is left there, not even the directory.
    """
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists() or path.is_symlink())
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"0" * 4096)
        free = shutil.disk_usage(existing).free
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFull(f"{existing} is full", hint="Free some space there, or choose another --output.") from error
        raise RequestError(
            f"cannot write to {existing}: {error.strerror}", hint="--output names a directory that you may write to."
        ) from error
    needed = sum(size for digest, size in _base_layers(plan).items() if not (cache / digest.hex).exists())
    if needed > free:
        raise DiskFull(
            f"{existing} has {free >> 20} MiB left, and the layers of the base images alone take {needed >> 20} MiB",
            hint="Free some space there, or choose another --output.",
        )


def _base_layers(plan: Plan) -> dict[Digest, int]:
    """The blobs of the bases' layers, which every layout holds, with their sizes; they are linked to the cache if they can be."""
    bases = {image.base.on(on.platform) for image in plan.images if image.base for on in image.platforms}
    return {layer.digest: layer.size for base in bases for layer in base.layers}
