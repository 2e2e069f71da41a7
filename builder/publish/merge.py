"""Keeps the platforms that a tag has and a push lacks (`--merge-platforms`): their manifests go into the new index.

Only what belongs together is ever in one index: the kept images are of the same version and commit as what is pushed, without
changes, and are seen to be whole. The index is what one push of all these platforms would have made, to the digest, where
all were made from what that push would make them from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder.errors import PlatformLoss
from builder.images.noted_inputs import read_notes
from builder.images.pull import pull_platforms
from builder.oci.manifest import Descriptor, Manifest, compose_index
from builder.oci.reference import ImageReference, Platform, Repository
from builder.plan.fingerprint import split_fingerprints
from builder.plan.model import FINGERPRINT_ANNOTATION
from builder.plan.noted import Notes, annotate_inputs
from builder.ports import RegistryReader
from builder.publish.content import MergedContent, RepositoryContent
from builder.publish.guards import Build, Intended
from builder.publish.publication import Publication

_WAYS_ON = "Push all platforms at once, choose another --tag, or say --replace, too: then what does not belong to it goes."


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept of what tags have: images, what each is made from, as a sum and by name, and a repository that has them."""

    repository: Repository
    children: tuple[Descriptor, ...]
    manifests: tuple[Manifest, ...]
    inputs: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, Notes], ...]

    @property
    def platforms(self) -> frozenset[Platform]:
        """Those that are kept."""
        return frozenset(child.platform for child in self.children if child.platform)


def find_kept(
    wanted: Intended, found: Mapping[ImageReference, Manifest | None], registry: RegistryReader, *, replaces: bool
) -> Kept | None:
    """What the tags of one image have besides what it is to be, None where nothing.

    Raises PlatformLoss where that is not of the same version and commit, is not whole, or is not the same at all tags;
    with `replaces`, what does not belong to it is left behind instead. Raises RegistryError.
    """
    kept: dict[Kept, ImageReference] = {}
    for reference, manifest in found.items():
        others = _others(wanted, manifest) if manifest else ()
        problem = _why_not(wanted, manifest) if manifest else ""
        if not manifest or not others or (problem and replaces):
            continue
        if problem:
            raise PlatformLoss(f"cannot keep {_names(others)} of {reference}: {problem}; no tag has moved", hint=_WAYS_ON)
        pulled = pull_platforms(reference, manifest, others, registry)
        if pulled.problems:
            raise PlatformLoss(
                f"cannot keep {_names(others)} of {reference}, which is not whole: {pulled.problems[0]}; no tag has moved",
                hint="Push that platform, too; or --replace, without --merge-platforms, if nobody is to find it there any more.",
            )
        inputs = split_fingerprints(manifest.annotations().get(FINGERPRINT_ANNOTATION, ""))
        notes = read_notes(manifest.annotations())
        one = Kept(
            repository=reference.repository,
            children=others,
            manifests=tuple(platform.manifest for platform in pulled.platforms),
            inputs=tuple((str(child.platform), inputs.get(str(child.platform), "")) for child in others),
            notes=tuple((str(child.platform), notes.get(str(child.platform), ())) for child in others),
        )
        kept.setdefault(one, reference)
    return _only(kept)


def keep(publication: Publication, kept: Kept, registry: RegistryReader, cache: Path) -> Publication:
    """The publication with what is kept in its index, too. `cache` takes what has to be sent from one hub to another."""
    annotations = publication.index.annotations()
    inputs = split_fingerprints(annotations.get(FINGERPRINT_ANNOTATION, "")) | dict(kept.inputs)
    notes = read_notes(annotations) | dict(kept.notes)
    index = compose_index((*publication.index.children(), *kept.children), {**annotations, **annotate_inputs(inputs, notes)})
    own = publication.content
    assert own is not None, "what is at the hub already needs nothing from there"
    have = {blob.digest for child in publication.index.children() for blob in _blobs(own.manifest(child))}
    others = {blob.digest for manifest in kept.manifests for blob in _blobs(manifest)} - have
    digests = frozenset((*others, *(child.digest for child in kept.children)))
    content = MergedContent(own, RepositoryContent(kept.repository, registry, cache), digests)
    return replace(publication, index=index, content=content, kept=kept.children)


def _blobs(manifest: Manifest) -> tuple[Descriptor, ...]:
    return (manifest.config(), *manifest.layers())


def _others(wanted: Intended, manifest: Manifest) -> tuple[Descriptor, ...]:
    """The manifests for platforms that are not to be pushed; all of an image that is no index has to be looked at elsewhere."""
    if not manifest.is_index:
        return ()
    return tuple(child for child in manifest.children() if child.is_runnable and child.platform not in (wanted.platforms or ()))


def _why_not(wanted: Intended, manifest: Manifest) -> str:
    """Why what is at a tag cannot be in one index with what is pushed, "" where it can."""
    there, here = Build.of(manifest), wanted.build
    if not there.is_ours:
        return "istio-build has not made it, so nothing says that it is of the same release"
    if there.unclean.startswith("has changes") or here.unclean.startswith("has changes"):
        return "of changes that are not committed nothing says that they are the same"
    if (there.version, there.revision, there.debug) != (here.version, here.revision, here.debug):
        return f"it is {there}, and this is {here}"
    return ""


def _only(kept: dict[Kept, ImageReference]) -> Kept | None:
    """What all tags have; hubs may hold it each, and any of them will do."""
    contents = {(one.children, one.inputs): one for one in reversed(kept)}
    if len(contents) > 1:
        [one, other] = list(contents.values())[:2]
        raise PlatformLoss(
            f"cannot keep what {kept[one]} and {kept[other]} have: they are not the same there, "
            f"{_names(one.children)} and {_names(other.children)}; no tag has moved",
            hint="Push to one --tag and --hub at a time, or push all platforms at once.",
        )
    return next(iter(contents.values()), None)


def _names(children: tuple[Descriptor, ...]) -> str:
    return ", ".join(f"{child.platform} {child.digest.short}" for child in children)
