"""What hubs remember of their releases, and going back to one of them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import get_args

from builder.config.settings import Job
from builder.errors import AccessDenied, RequestError, VerifyError
from builder.images.one_look import OneLook
from builder.oci.reference import Digest, Hub, ImageReference, Repository
from builder.pipeline.report import Report
from builder.pipeline.run import publish_release
from builder.pipeline.wiring import Adapters
from builder.publish.guards import Permissions
from builder.publish.history import History, UnreadableHistory
from builder.publish.publication import Publication, Release
from builder.publish.put_back import digest_of
from builder.publish.recorder import read_history
from builder.publish.tags import read_tags
from builder.publish.timeline import Timeline, Way, find_way, join_histories
from builder.publish.verify import verify_content
from builder.recipe.loader import load_recipes
from builder.recipe.schema import EVERYTHING, Group
from builder.runtime.text import counted

_PARALLEL = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What hubs remember, and what is there now: where each tag is (None: it is gone), and which images are gone."""

    timeline: Timeline
    now: Mapping[ImageReference, Digest | None]
    gone: frozenset[tuple[Repository, Digest]]


def image_names(job: Job) -> tuple[tuple[str, ...], bool]:
    """The images that are meant, and whether they were named: all that recipes know of any release, where none was."""
    recipes = load_recipes(job.recipes)
    if not job.request.images:
        return tuple(name for name, _ in recipes.images), False
    groups = (*get_args(Group), EVERYTHING)
    newest = recipes.at(recipes.turning_points()[-1])
    names = [
        name
        for word in job.request.images
        for name in ([recipe.image for recipe in newest.chosen((word,))] if word in groups else [word])
    ]
    return tuple(dict.fromkeys(names)), True


def read_timeline(hubs: Sequence[Hub], names: Sequence[str], adapters: Adapters, *, only: bool) -> Timeline:
    """What these hubs remember of these images, and, unless `only` they are meant, of those that were released with them.

    Raises AccessDenied where none of it may be read.
    """
    reader = _HistoryReader(adapters)
    with adapters.progress.task("history", ", ".join(map(str, hubs))) as task:
        asked = {hub.repository(name) for hub in hubs for name in names}
        reader.read(asked)
        while not only:
            timeline = join_histories(reader.found)
            beside = {repository for release in timeline.releases for repository in release.repositories} - asked
            if not beside:
                break
            asked |= beside
            reader.read(beside)
        if asked and len(reader.denied) == len(asked):
            raise reader.denied[0]
        timeline = join_histories(reader.found, reader.notes, frozenset(names) if only else frozenset())
        task.outcome = counted(len(timeline.releases), "release")
    lacking = {repository for release in timeline.releases for repository in release.repositories} - set(reader.found)
    silent = [
        f"{repository} has no history, although images of releases are in it"
        for repository in sorted(lacking)
        if repository in asked and not any(note.startswith(f"{repository}:") for note in reader.notes)
    ]
    return join_histories(reader.found, (*reader.notes, *silent), timeline.images)


class _HistoryReader:
    """Collects what repositories remember; what is refused may be there or not."""

    def __init__(self, adapters: Adapters) -> None:
        self._registry = adapters.registry
        self.found: dict[Repository, History] = {}
        self.notes: list[str] = []
        self.denied: list[AccessDenied] = []

    def read(self, repositories: set[Repository]) -> None:
        with ThreadPoolExecutor(max_workers=_PARALLEL) as pool:
            for repository, found in zip(sorted(repositories), pool.map(self._read, sorted(repositories)), strict=True):
                if isinstance(found, History):
                    self.found[repository] = found
                elif isinstance(found, AccessDenied):
                    # Docker Hub refuses what it does not have, as if it were somebody's secret.
                    self.denied.append(found)
                elif found is not None:
                    self.notes.append(f"{repository}: its history cannot be read, and is left as it is: {found}")

    def _read(self, repository: Repository) -> History | UnreadableHistory | AccessDenied | None:
        try:
            return read_history(repository, self._registry)
        except (UnreadableHistory, AccessDenied) as error:
            return error


def read_past(timeline: Timeline, adapters: Adapters) -> Past:
    """What is at the hubs now of all that they remember. Raises RegistryError."""
    images = tuple({(repository, image.digest) for release in timeline.releases for repository, image in release.images})
    references = tuple(timeline.keys())
    with adapters.progress.task("look", f"{counted(len(references), 'tag')}, {counted(len(images), 'image')}"):
        found = read_tags((*references, *(repository.at(digest) for repository, digest in images)), adapters.registry)
    now = {reference: digest_of(found[reference]) for reference in references}
    gone = frozenset(image for image in images if found[image[0].at(image[1])] is None)
    return Past(timeline=timeline, now=now, gone=gone)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A way back whose images are whole: what is to be published for it."""

    way: Way
    release: Release


def plan_rollback(job: Job, to: str, adapters: Adapters) -> Rollback:
    """Which tags go where, and that all of it is there. Moves nothing.

    Raises RequestError where the hubs know of nothing to go back to, VerifyError where it is not whole any more.
    """
    names, only = image_names(job)
    timeline = read_timeline(job.request.hubs, names, adapters, only=only)
    for note in timeline.notes:
        adapters.progress.warn(f"{note}.")
    references = timeline.of_tags(timeline.keys(), job.request.tags)
    if not references:
        raise RequestError(
            f"{', '.join(map(str, job.request.hubs))} remembers no release with the tag {', '.join(job.request.tags)}",
            hint="`istio-build history --hub HUB` shows what is known. A history begins with the first push by this istio-build.",
        )
    now = {reference: digest_of(found) for reference, found in read_tags(references, adapters.registry).items()}
    way = find_way(timeline, references, now, to)
    publications = _publications(timeline, way, adapters)
    with adapters.progress.task("verify", counted(len(publications), "image")):
        _check_whole(publications, way, adapters)
    hubs = {f"{hub}" for hub in job.request.hubs}
    release = Release(version=way.to.version or job.request.tags[0], hub=", ".join(sorted(hubs)), publications=publications)
    return Rollback(way=way, release=release)


def roll_back(rollback: Rollback, adapters: Adapters, started: float, *, replace: bool) -> Report:
    """Move all tags back, or none."""
    back = rollback.way.to.id
    context = adapters.publish_context(Permissions(replace=replace), by=f"rollback {back[:12]}", back_to=back)
    states = {entry.key: "back" for entry in rollback.release.publications}
    return publish_release(rollback.release, states, context, started)


def _publications(timeline: Timeline, way: Way, adapters: Adapters) -> tuple[Publication, ...]:
    keys = timeline.keys()
    groups: dict[tuple[Repository, str, Digest], list[ImageReference]] = {}
    for reference, _, digest in way.moves:
        groups.setdefault((reference.repository, keys[reference], digest), []).append(reference)
    indexes = read_tags(tuple({repository.at(digest) for repository, _, digest in groups}), adapters.registry)
    publications = []
    for (repository, key, digest), references in groups.items():
        index = indexes[repository.at(digest)]
        if index is None:
            raise VerifyError(
                f"{repository.at(digest)}, which was part of release {way.to.id[:12]}, is not there any more; no tag has moved",
                hint="Choose another release with --to, or push that release again from its source.",
            )
        publications.append(Publication(key=key, index=index, references=tuple(references), content=None))
    return tuple(publications)


def _check_whole(publications: Sequence[Publication], way: Way, adapters: Adapters) -> None:
    try:
        verify_content(publications, OneLook(adapters.registry))
    except VerifyError as error:
        told = error.message.partition("\n")[2]
        raise VerifyError(
            f"release {way.to.id[:12]} is not whole at the hub any more; no tag has moved:\n{told}",
            hint="Choose another release with --to, or push that release again from its source.",
        ) from error
