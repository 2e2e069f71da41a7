"""What hubs remember, put together over all repositories: which release was where, and which one was before it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from builder.errors import RequestError
from builder.oci.reference import Digest, ImageReference, Repository
from builder.plan.tags import is_of_tag
from builder.publish.history import MOST_RELEASES, Happening, History, HistoryEntry, HistoryImage, name_of

# Known even where no image of a hub has them any more.
_VARIANTS = ("debug", "distroless")
_SHORTEST_ID = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRelease:
    """A release that hubs remember: what it was in each repository."""

    happening: Happening
    version: str
    commit: str
    parts: tuple[tuple[Repository, HistoryEntry], ...]

    @property
    def id(self) -> str:
        """Its id, the same in all repositories."""
        return self.happening.release

    @property
    def images(self) -> tuple[tuple[Repository, HistoryImage], ...]:
        """Its images, and where they are."""
        return tuple((repository, image) for repository, entry in self.parts for image in entry.images)

    @property
    def references(self) -> Mapping[ImageReference, Digest]:
        """Where it put each tag."""
        return {repository.at(tag): image.digest for repository, image in self.images for tag in image.tags}

    @property
    def repositories(self) -> frozenset[Repository]:
        """All repositories that it was in, those that do not remember it as well."""
        return frozenset(
            Repository(repository.registry, f"{repository.path.rpartition(name_of(repository))[0]}{name}")
            for repository, entry in self.parts
            for name in entry.beside
        )

    @property
    def forgotten(self) -> tuple[Repository, ...]:
        """The repositories that it was in and that do not remember it."""
        return tuple(sorted(self.repositories - {repository for repository, _ in self.parts}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All releases that hubs remember, newest first.

    `notes` say which repository could not be read, and why; `images` are those that it was asked for, none for all.
    """

    releases: tuple[PastRelease, ...]
    notes: tuple[str, ...] = ()
    images: frozenset[str] = frozenset()

    @property
    def variants(self) -> frozenset[str]:
        """The variants that its images have."""
        keys = ((name_of(repository), image.key) for release in self.releases for repository, image in release.images)
        return frozenset((*_VARIANTS, *(key.removeprefix(f"{name}-") for name, key in keys if key != name)))

    def keys(self) -> Mapping[ImageReference, str]:
        """Which image each tag is of."""
        found: dict[ImageReference, str] = {}
        for release in self.releases:
            for repository, image in release.images:
                for tag in image.tags:
                    found.setdefault(repository.at(tag), image.key)
        return found

    def state(self, release: PastRelease) -> dict[ImageReference, Digest]:
        """Where all tags were once this release had been made."""
        state: dict[ImageReference, Digest] = {}
        for past in reversed(self.releases[self.releases.index(release) :]):
            state |= past.references
        return state

    def of_tags(self, references: Iterable[ImageReference], tags: Sequence[str]) -> tuple[ImageReference, ...]:
        """Those of these references that are one of these tags, a variant behind it or not."""
        return tuple(ref for ref in references if any(is_of_tag(ref.tag, tag, self.variants) for tag in tags))

    def find(self, text: str) -> PastRelease:
        """The newest release with this id, or the beginning of it, or the digest of one of its images. Raises RequestError."""
        wanted = text.removeprefix("sha256:").lower()
        if len(wanted) >= _SHORTEST_ID:
            by_id = [release for release in self.releases if release.id.startswith(wanted)]
            if len(by_id) > 1:
                raise RequestError(f"--to {text} is the beginning of {len(by_id)} releases' ids", hint="Give more of it.")
            by_digest = [
                release for release in self.releases if any(image.digest.hex.startswith(wanted) for _, image in release.images)
            ]
            if by_id or by_digest:
                return (by_id or by_digest)[0]
        raise RequestError(f"no release {text} is known", hint="`istio-build history --hub HUB` shows those that are.")


def join_histories(
    histories: Mapping[Repository, History], notes: Sequence[str] = (), images: frozenset[str] = frozenset()
) -> Timeline:
    """One line of releases from what each repository remembers.

    Each repository has its own in order, and that order stands; where it leaves it open, times decide, which are of several
    machines' clocks.
    """
    left = {repository: list(history.entries) for repository, history in histories.items()}
    releases = []
    while any(left.values()):
        heads = {repository: entries[0] for repository, entries in left.items() if entries}
        behind = {entry.happening.release for entries in left.values() for entry in entries[1:]}
        ready = [entry for entry in heads.values() if entry.happening.release not in behind] or list(heads.values())
        chosen = max(ready, key=lambda entry: (entry.happening.time, entry.happening.release)).happening.release
        parts = tuple((where, entry) for where, entry in sorted(heads.items()) if entry.happening.release == chosen)
        for repository, _ in parts:
            left[repository].pop(0)
        releases.append(_join(parts))
    return Timeline(releases=tuple(releases), notes=tuple(notes), images=images)


def _join(parts: tuple[tuple[Repository, HistoryEntry], ...]) -> PastRelease:
    entries = [entry for _, entry in parts]
    return PastRelease(
        happening=max((entry.happening for entry in entries), key=lambda happening: happening.time),
        version=next((entry.version for entry in entries if entry.version), ""),
        commit=next((entry.commit for entry in entries if entry.commit), ""),
        parts=parts,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How tags go back: to which release, each from what it is now (None: it is gone) to what it was.

    `stay` are tags that did not exist then, and which are left as they are.
    """

    to: PastRelease
    moves: tuple[tuple[ImageReference, Digest | None, Digest], ...]
    stay: tuple[ImageReference, ...] = ()


def find_way(
    timeline: Timeline, references: Sequence[ImageReference], now: Mapping[ImageReference, Digest | None], to: str = ""
) -> Way:
    """How these tags, which are at `now`, go back to the release `to`, or to the one before that which they are at.

    Raises RequestError where there is none, it is not remembered everywhere, or all are there already.
    """
    target, moved = (timeline.find(to), tuple(references)) if to else _find_before(timeline, references, now)
    state = timeline.state(target)
    _check_known(timeline, target, moved, state)
    moves = tuple((ref, now[ref], state[ref]) for ref in moved if ref in state and state[ref] != now[ref])
    if not moves:
        raise RequestError(f"all these tags are at release {target.id[:12]} already, so nothing is to move")
    return Way(to=target, moves=moves, stay=tuple(ref for ref in moved if ref not in state and now[ref]))


def _find_before(
    timeline: Timeline, references: Sequence[ImageReference], now: Mapping[ImageReference, Digest | None]
) -> tuple[PastRelease, tuple[ImageReference, ...]]:
    """The release before that which these tags are at, and the tags that the latter set.

    Where they are at none, somebody has moved them by other means: then it is the last one that is known.
    """
    setting = [release for release in timeline.releases if not release.references.keys().isdisjoint(references)]
    current = next((release for release in setting if _is_at(timeline.state(release), references, now)), None)
    if current is None:
        if not setting:
            raise RequestError("no release is known that has set such a tag", hint="`istio-build history` shows what is known.")
        return setting[0], tuple(references)
    own = tuple(ref for ref in references if ref in current.references)
    # Who goes back twice goes on from where the first time led, and not forward again.
    since = next((release for release in setting if release.id == current.happening.back_to), current)
    for release in setting[setting.index(since) + 1 :]:
        state = timeline.state(release)
        if any(ref in state and state[ref] != now[ref] for ref in own):
            return release, own
    raise RequestError(
        f"no release before {since.id[:12]} is known that had these tags elsewhere",
        hint=f"The hub remembers the last {MOST_RELEASES} releases of a repository: `istio-build history` shows them.",
    )


def _is_at(
    state: Mapping[ImageReference, Digest],
    references: Sequence[ImageReference],
    now: Mapping[ImageReference, Digest | None],
) -> bool:
    return all(state[ref] == now[ref] for ref in references if ref in state)


def _check_known(
    timeline: Timeline, target: PastRelease, references: Sequence[ImageReference], state: Mapping[ImageReference, Digest]
) -> None:
    """A repository that was part of it, or may have been before its memory begins, has to know where its tags were."""
    counts = Counter(repository for release in timeline.releases for repository, _ in release.parts)
    lost = {repository for repository in target.forgotten if not timeline.images or name_of(repository) in timeline.images}
    lost |= {ref.repository for ref in references if ref not in state and counts[ref.repository] >= MOST_RELEASES}
    if lost:
        raise RequestError(
            f"{', '.join(map(str, sorted(lost)))} does not remember release {target.id[:12]}, so where tags were is not known",
            hint="Choose a later release with --to, or say which images are meant with --image.",
        )
