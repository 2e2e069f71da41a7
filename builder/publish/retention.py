"""Which old tags of a hub go, and which stay and why. Pure: what is at the hub is looked up by builder.pipeline.retain.

Only tags are ever taken away, so whatever another tag, a history or a referrer needs stays: docs/retain.md says what follows.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from builder.errors import RegistryError
from builder.oci.manifest import Manifest
from builder.oci.reference import RESERVED_TAGS, Digest, Hub, ImageReference
from builder.plan.model import FINGERPRINT_ANNOTATION
from builder.plan.tags import plain_tag

_CREATED_ANNOTATION = "org.opencontainers.image.created"
# How clients list what refers to an image where the registry does not (distribution-spec, "Referrers Tag Schema"), and how
# cosign names signatures: `sha256-…`, with a suffix or without one.
_REFERRERS = re.compile(r"sha256-[0-9a-f]{64}(?:[._-].*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionRule:
    """What may go: of the tags that `patterns` (as of a shell) are for, all but the newest `keep` releases of each pattern.

    A tag that `immutable` is for stays; so does one of an image that istio-build has not made, unless `also_foreign`.
    `variants` are the words behind a tag that belong to a release: `debug`.
    """

    patterns: tuple[str, ...]
    keep: int
    variants: frozenset[str]
    immutable: tuple[str, ...] = ()
    also_foreign: bool = False

    def is_about(self, tag: str) -> bool:
        """Whether a pattern names it. What istio-build notes at a hub, and lists of referrers, are never meant."""
        if tag in RESERVED_TAGS or _REFERRERS.fullmatch(tag):
            return False
        return any(fnmatchcase(plain_tag(tag, self.variants), pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class TagThere:
    """A tag that a pattern names. `digest` is None for one whose image cannot be read; `time` is when it was put there, or else
    when its image was made, None where nothing says so."""

    reference: ImageReference
    digest: Digest | None
    is_ours: bool = False
    time: datetime | None = None

    @classmethod
    def of(cls, reference: ImageReference, manifest: Manifest, put: datetime | None) -> "TagThere":
        """Of what is there. `put` is when a release that the hub remembers put it there."""
        try:
            annotations: Mapping[str, str] = manifest.annotations()
        except RegistryError:
            annotations = {}
        return cls(
            reference=reference,
            digest=manifest.digest,
            is_ours=FINGERPRINT_ANNOTATION in annotations,
            time=put or parse_time(annotations.get(_CREATED_ANNOTATION, "")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a tag, and why. `release` is the tag without its variant."""

    tag: TagThere
    release: str
    goes: bool
    reason: str


_Release = tuple[Hub, str]


def judge(tags: Sequence[TagThere], rule: RetentionRule) -> tuple[Verdict, ...]:
    """What becomes of each of these tags, all of which a pattern names, in their order."""
    releases: dict[_Release, list[TagThere]] = {}
    for tag in tags:
        if not _why_untouched(tag, rule):
            releases.setdefault(_release_of(tag, rule), []).append(tag)
    times = {release: max(filter(None, (tag.time for tag in own)), default=None) for release, own in releases.items()}
    kept = _newest(times, rule)
    return tuple(_judge(tag, rule, times, kept) for tag in tags)


def oldest_first(verdicts: Iterable[Verdict]) -> tuple[tuple[Verdict, ...], ...]:
    """What goes, release by release: whoever is interrupted has then only whole releases, but for the one at work."""
    releases: dict[_Release, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.goes:
            releases.setdefault((verdict.tag.reference.repository.hub, verdict.release), []).append(verdict)
    return tuple(tuple(own) for _, own in sorted(releases.items(), key=lambda item: (_latest(item[1]), item[0])))


def parse_time(text: str) -> datetime | None:
    """A time as RFC 3339 has it, in UTC; None for what is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _judge(
    tag: TagThere, rule: RetentionRule, times: Mapping[_Release, datetime | None], kept: Mapping[_Release, str]
) -> Verdict:
    release = _release_of(tag, rule)
    stays = _why_untouched(tag, rule) or kept.get(release, "")
    if not stays and times[release] is None:
        stays = "nothing says how old it is"
    pattern = next(pattern for pattern in rule.patterns if fnmatchcase(release[1], pattern))
    reason = stays or f"older than the newest {rule.keep} of {pattern}"
    return Verdict(tag=tag, release=release[1], goes=not stays, reason=reason)


def _why_untouched(tag: TagThere, rule: RetentionRule) -> str:
    """Why a tag stays however old it is, "" where nothing says so."""
    name = tag.reference.tag
    if tag.digest is None:
        return "what it is cannot be read"
    if not tag.is_ours and not rule.also_foreign:
        return "not made by istio-build"
    return next((f"--immutable {pattern}" for pattern in rule.immutable if fnmatchcase(name, pattern)), "")


def _newest(times: Mapping[_Release, datetime | None], rule: RetentionRule) -> dict[_Release, str]:
    """The releases that stay as they are new, with the reason."""
    kept: dict[_Release, str] = {}
    for hub in {hub for hub, _ in times}:
        for pattern in rule.patterns:
            own = [
                (time, _natural(release[1]), release)
                for release, time in times.items()
                if time and release[0] == hub and fnmatchcase(release[1], pattern)
            ]
            newest = sorted(own, reverse=True)[: rule.keep]
            kept |= {release: f"of the newest {rule.keep} of {pattern}" for _, _, release in newest if release not in kept}
    return kept


def _release_of(tag: TagThere, rule: RetentionRule) -> _Release:
    return tag.reference.repository.hub, plain_tag(tag.reference.tag, rule.variants)


def _natural(tag: str) -> tuple[tuple[int, str], ...]:
    """In the order in which people count: `1.9` before `1.10`."""
    return tuple((int(word), "") if word.isdecimal() else (-1, word) for word in re.findall(r"[0-9]+|[^0-9]+", tag))


def _latest(verdicts: Sequence[Verdict]) -> datetime:
    return max(verdict.tag.time for verdict in verdicts if verdict.tag.time)
