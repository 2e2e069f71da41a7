"""What a push may do to tags that are there already: it never takes anything away without being told to.

`check_moves` says no, and is asked twice: before any work, and when the tags are about to move. Whatever it refuses is told by
name, with what is there, what would be lost and the ways on. docs/tags.md says the same to users.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Self

from builder.errors import BuilderError, PublishError, RegistryError, TagKept, TakeOver
from builder.oci.manifest import Descriptor, Manifest
from builder.oci.reference import Digest, ImageReference, Platform
from builder.plan.model import (
    DEBUG_ANNOTATION,
    FINGERPRINT_ANNOTATION,
    REVISION_ANNOTATION,
    VERSION_ANNOTATION,
    ImagePlan,
    MirrorPlan,
)
from builder.plan.tags import is_later_release, is_release_tag, is_tag_of
from builder.ports import ImageReader
from builder.publish.platform_loss import refuse_fewer_platforms
from builder.publish.publication import Publication

_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """What a push was told that it may do to tags, and must not.

    `replace` allows all losses. `merge_platforms` keeps the platforms that are there. `no_clobber` lets no tag move that exists,
    `immutable` none that one of these patterns (as of a shell) is for; nothing lifts these two. `moving` are tags that go on
    with releases, and never back to an older one. `counted` are tags with a number that was free when it was given.
    """

    replace: bool = False
    merge_platforms: bool = False
    no_clobber: bool = False
    immutable: tuple[str, ...] = ()
    moving: tuple[str, ...] = ()
    counted: tuple[str, ...] = ()

    def keeping(self, tag: str) -> str:
        """Which setting forbids this tag to move, "" where none does."""
        if self.no_clobber:
            return "--no-clobber"
        return next((f"--immutable {pattern}" for pattern in self.immutable if fnmatchcase(tag, pattern)), "")


# What a push may do that was told nothing.
CAREFUL = Permissions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What the annotations of an index say of how it was built. `is_ours`: by istio-build; else nothing is known of it."""

    is_ours: bool = False
    version: str = ""
    revision: str = ""
    debug: bool = False

    @classmethod
    def read(cls, annotations: Mapping[str, str]) -> Self:
        """From annotations."""
        return cls(
            is_ours=FINGERPRINT_ANNOTATION in annotations,
            version=annotations.get(VERSION_ANNOTATION, ""),
            revision=annotations.get(REVISION_ANNOTATION, ""),
            debug=annotations.get(DEBUG_ANNOTATION) == "true",
        )

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Of what is at a tag, whoever put it there."""
        return cls.read(_annotations(manifest))

    @property
    def commit(self) -> str:
        """The commit it was built from, with or without changes."""
        return self.revision.partition("-")[0]

    def is_newer_than(self, other: "Build") -> bool:
        """Whether it is of a later release of Istio; not where one of the two tells none."""
        return is_later_release(self.version, other.version)

    @property
    def unclean(self) -> str:
        """Why this is not what a release's own commit gives, "" where it is."""
        if self.is_ours and self.revision.endswith("-dirty"):
            return "has changes that are not committed"
        if self.is_ours and "-patched-" in self.revision:
            return f"has patches on its source ({self.revision.partition('-patched-')[2][:12]})"
        return "is a debug build" if self.is_ours and self.debug else ""

    def __str__(self) -> str:
        if not self.is_ours:
            return "an image that istio-build has not made"
        kind = "" if not self.unclean else ", which " + self.unclean
        return f"{self.version or 'an image'} of commit {self.commit[:12] or 'unknown'}{kind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """What tags are to become: an image of this key. `digest` and `platforms` are None where they are not known yet.

    `inputs` is what it is made from, as its annotation has it; `kept` are the manifests that it takes over from what is there.
    """

    key: str
    build: Build
    inputs: str
    platforms: frozenset[Platform] | None
    digest: Digest | None = None
    kept: tuple[Descriptor, ...] = ()

    @classmethod
    def of_plan(cls, image: ImagePlan | MirrorPlan) -> Self:
        """What is to be built, or copied."""
        if isinstance(image, MirrorPlan):
            return cls(key=image.key, build=Build(), inputs="", platforms=None, digest=image.digest)
        platforms = frozenset(platform.platform for platform in image.platforms)
        build = Build.read(dict(image.annotations))
        return cls(key=image.key, build=build, inputs=image.fingerprint, platforms=platforms)

    @classmethod
    def of_publication(cls, entry: Publication) -> Self:
        """What is ready."""
        return replace(cls.of_index(entry.key, entry.index), kept=entry.kept)

    @classmethod
    def of_index(cls, key: str, index: Manifest) -> Self:
        """What is at a hub already, or ready."""
        inputs = _annotations(index).get(FINGERPRINT_ANNOTATION, "")
        platforms = frozenset(index.platforms())
        return cls(key=key, build=Build.of(index), inputs=inputs, platforms=platforms, digest=index.digest)

    def is_at(self, found: Manifest) -> bool:
        """Whether that is what is found; of what is not made yet, whether it is made from the same inputs."""
        if self.digest:
            return found.digest == self.digest
        return _annotations(found).get(FINGERPRINT_ANNOTATION, "") == self.inputs

    def is_all_at(self, found: Manifest) -> bool:
        """The same, and with no platform more or less."""
        return self.is_at(found) and (self.digest is not None or frozenset(found.platforms()) == self.platforms)

    def has_lost_platforms(self, found: Manifest) -> bool:
        """Whether what is found is made from the same inputs, and has not all of the platforms that it was made for."""
        same = bool(self.inputs) and _annotations(found).get(FINGERPRINT_ANNOTATION, "") == self.inputs
        return same and self.platforms is not None and frozenset(found.platforms()) < self.platforms


Moves = Mapping[ImageReference, tuple[Intended, Manifest | None]]


def intend(publications: Sequence[Publication], found: Mapping[ImageReference, Manifest | None]) -> Moves:
    """What the tags of images that are ready are to become, beside what each is now."""
    intended = {entry.key: Intended.of_publication(entry) for entry in publications}
    return {ref: (intended[entry.key], found[ref]) for entry in publications for ref in entry.references}


def check_moves(moves: Moves, permissions: Permissions, source_tag: str, registry: ImageReader) -> None:
    """Raises TagKept, TakeOver or PlatformLoss where these tags must not become what they are to be.

    Each move has what the tag is now. `source_tag` is the tag of the very commit that is pushed, "" where it has none.
    Raises PublishError where what was to be kept is there no more, or a number is taken.
    """
    real = {reference: move for reference, move in moves.items() if move[1] and not move[0].is_at(move[1])}
    _refuse_taken_numbers(real, permissions.counted)
    refuse_kept_tags(real, permissions)
    _refuse_steps_back(real, permissions.moving)
    _refuse_lost_keeps(real)
    if permissions.replace:
        return
    refuse_take_over(real, source_tag)
    known = {ref: (wanted.platforms, found) for ref, (wanted, found) in real.items() if wanted.platforms is not None}
    refuse_fewer_platforms(known, registry)


def refuse_kept_tags(moves: Moves, permissions: Permissions) -> None:
    """Raises TagKept for tags that exist, and that `--no-clobber` or `--immutable` is for."""
    told = [
        f"  {reference} is {found.digest}, {Build.of(found)} ({setting})"
        for reference, (_, found) in moves.items()
        if found and (setting := permissions.keeping(reference.tag))
    ]
    if told:
        raise TagKept(
            f"this push would move tags that must not move; it has moved none:\n{_shown(told)}",
            hint="Choose another --tag. What is there stays what it is; delete a tag at the registry to give it away.",
        )


def _refuse_steps_back(moves: Moves, moving: Sequence[str]) -> None:
    """That such a tag is at a newer release is looked at before it is planned, so another run has moved it since."""
    for reference, (wanted, found) in moves.items():
        is_moving = any(is_tag_of(reference.tag, tag, wanted.key) for tag in moving)
        if is_moving and found and Build.of(found).is_newer_than(wanted.build):
            raise PublishError(
                f"another run has moved {reference} on to {Build.of(found)} meanwhile; no tag has moved",
                hint="Run the same again: it leaves that tag where it is now.",
            )


def _refuse_taken_numbers(moves: Moves, counted: Sequence[str]) -> None:
    """What was free when the number was chosen is another run's by now; a release that has lost something is put right."""
    for reference, (wanted, found) in moves.items():
        if found and any(is_tag_of(reference.tag, tag, wanted.key) for tag in counted) and not wanted.has_lost_platforms(found):
            raise PublishError(
                f"another run has taken {reference} meanwhile: it is {found.digest}, {Build.of(found)}; no tag has moved",
                hint="Run the same again: it takes the next number.",
            )


def refuse_take_over(moves: Moves, source_tag: str) -> None:
    """Raises TakeOver where a release's tag holds the clean build of that release, and would hold something else."""
    told = []
    for reference, (wanted, found) in moves.items():
        reason = _why_not(reference, wanted, Build.of(found), source_tag) if found else ""
        if found and reason:
            told.append(f"  {reference} is {Build.of(found)}; this one {reason}")
    if told:
        raise TakeOver(
            f"this push would take over tags that hold the clean build of a release; it has moved none:\n{_shown(told)}",
            hint="Choose another --tag, or push the release's own commit, without changes and without --debug. "
            "Or say --replace if this is to be the release from now on.",
        )


def _why_not(reference: ImageReference, wanted: Intended, there: Build, source_tag: str) -> str:
    """Why a tag must not be given to this build, "" where it may. Of what is not ours we take it to be the release."""
    if not is_release_tag(reference.tag) or there.unclean:
        return ""
    if wanted.build.unclean:
        return wanted.build.unclean
    if not (there.commit and wanted.build.commit) or not (there.is_ours and wanted.build.is_ours):
        return ""
    if there.commit == wanted.build.commit or is_tag_of(reference.tag, source_tag, wanted.key):
        return ""
    tagged = f"which is tagged {source_tag}" if source_tag else "which has no tag"
    return f"is of commit {wanted.build.commit[:12]}, {tagged}"


def _refuse_lost_keeps(moves: Moves) -> None:
    """What was taken over from a tag must still be what the tag has: somebody may have pushed another one meanwhile."""
    for reference, (wanted, found) in moves.items():
        for kept in wanted.kept if found and found.is_index else ():
            assert found is not None
            now = found.child_for(kept.platform) if kept.platform else None
            if now and now.digest != kept.digest:
                raise _pushed_meanwhile(reference, kept.platform)


def _pushed_meanwhile(reference: ImageReference, platform: Platform | None) -> BuilderError:
    return PublishError(
        f"somebody else has pushed another {platform} to {reference} meanwhile; no tag has moved",
        hint="Run the same again: it keeps what is there now.",
    )


def _annotations(manifest: Manifest) -> dict[str, str]:
    """None where they are malformed: then they are somebody else's."""
    try:
        return manifest.annotations()
    except RegistryError:
        return {}


def _shown(lines: Sequence[str]) -> str:
    more = f"\n  … and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return "\n".join(lines[:_SHOWN]) + more
