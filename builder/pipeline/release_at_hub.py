"""A release at one hub: its content is sent and read back, its tags move all or none, and the hub's history says so."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from builder.errors import BuilderError, Interrupted, NotReadBack, VerifyError
from builder.images.one_look import OneLook
from builder.images.pull import PulledImage
from builder.oci.manifest import Manifest
from builder.oci.reference import ImageReference
from builder.pipeline.publish_context import PublishContext
from builder.publish.journal import Journal
from builder.publish.lease import HubLease
from builder.publish.publication import Publication, Release, Traffic
from builder.publish.put_back import digest_of
from builder.publish.recorder import record_release
from builder.publish.shared_journal import SharedJournal
from builder.publish.tags import TagMover, before_tags
from builder.publish.upload import Uploads
from builder.publish.verify import verify_content, verify_tags
from builder.runtime.text import counted


class AtHub:
    """How far a release has come at a hub; it is filled in on the way, so it holds also where that ends half-way.

    `journal` is of the hub's repositories. `pulled` are its images as they were read back, or found. `before` is where each tag
    was, once all of them have moved.
    """

    def __init__(self, release: Release, journal: SharedJournal) -> None:
        self.release = release
        self.journal = journal
        self.pulled: tuple[PulledImage, ...] = ()
        self.traffic = Traffic()
        self.before: dict[ImageReference, Manifest | None] = {}

    def was_moved(self, publication: Publication) -> bool:
        """Whether a tag of this image is here now that was elsewhere."""
        here = publication.index.digest
        return any(ref in self.before and digest_of(self.before[ref]) != here for ref in publication.references)


def publish_at_hub(
    at: AtHub, uploads: Uploads, context: PublishContext, beside: Callable[[Sequence[Publication]], None] = lambda entries: None
) -> AtHub:
    """Send what the hub lacks, read it back where it was not just `pulled`, and move all tags or none; gives `at`.

    `beside` sends what belongs to the images, once they are there and before a tag moves. Raises what any of this raises.
    """
    with before_tags():
        if not at.pulled:
            at.traffic = uploads.publish(at.release.publications)
            beside(at.release.publications)
            at.pulled = _read_back(at.release, context)
    moved = _mover(at, context).move(at.release.publications)
    at.traffic = replace(at.traffic, tags_moved=moved)
    if moved:
        _read_tags_back(at.release, context)
        _record(at, context)
    return at


def local_journal(context: PublishContext, references: Sequence[ImageReference]) -> Journal:
    """What runs of this machine have noted of the tags that they move there."""
    return Journal(context.journals, [reference.repository for reference in references])


def shared_journal(context: PublishContext, references: Sequence[ImageReference]) -> SharedJournal:
    """What keeps other runs from these tags, of one hub, and notes their moves there and here."""
    lease = HubLease(context.registry, context.rollback_tags, context.progress, context.cancellation.wait, context.lease_times)
    repositories = [reference.repository for reference in references]
    return SharedJournal(local_journal(context, references), lease, context.registry, repositories)


def _mover(at: AtHub, context: PublishContext) -> TagMover:
    return TagMover(
        images=context.registry,
        tags=context.registry,
        rollback_tags=context.rollback_tags,
        journal=at.journal,
        progress=context.progress,
        pause=context.cancellation.wait,
        protected=context.cancellation.protected,
        permissions=context.permissions,
        source_tag=at.release.source_tag,
        seen={image.reference: image.index for image in at.pulled if image.reference.digest is None},
        on_moved=at.before.update,
        place=context.place,
    )


def _read_back(release: Release, context: PublishContext) -> tuple[PulledImage, ...]:
    with context.progress.task("verify", f"{counted(len(release.publications), 'image')}{context.place}"):
        return verify_content(release.publications, OneLook(context.registry))


def _read_tags_back(release: Release, context: PublishContext) -> None:
    """After the last tag there is no way back, so whatever goes wrong here has to say that they have moved."""
    count = len(release.references)
    again = "Run the same again to see whether they hold."
    with context.progress.task("verify", f"{counted(count, 'tag')}{context.place}"):
        try:
            verify_tags(release.publications, context.registry)
        except Interrupted as error:
            message = f"interrupted when {tell_all_tags(count, 'was', 'were')} at this release, and not read back"
            raise NotReadBack(message, hint=again) from error
        except VerifyError:
            raise
        except BuilderError as error:
            raise VerifyError(f"all tags have moved, but they cannot be read back: {error.message}", hint=again) from error


def tell_all_tags(count: int, is_or_was: str, are_or_were: str) -> str:
    """`its one tag was`, or `all 9 tags were`."""
    return f"its one tag {is_or_was}" if count == 1 else f"all {count} tags {are_or_were}"


def _record(at: AtHub, context: PublishContext) -> None:
    if context.happening is None:
        return
    happening = replace(context.happening, time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    try:
        record_release(at.release.publications, at.before, happening, context.registry, context.progress, place=context.place)
    except Interrupted as error:
        all_tags = tell_all_tags(len(at.release.references), "was", "were")
        raise NotReadBack(
            f"interrupted when {all_tags} at this release, and before the history said so",
            hint="The release is whole. The next one will note in the history what it finds at the tags.",
        ) from error
