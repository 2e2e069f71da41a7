"""What a run leaves at the hub while it moves tags: who moves them, until when, and where each was. Pure.

One record stands in each repository of the run, under a tag of its own: an image index (image-spec v1.1, image-index.md) that
needs no blob. An annotation holds a JSON document; `manifests` names what the tags pointed at, so that the
registry's garbage collection keeps that. docs/publishing.md shows one.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from builder.errors import BuilderError, JournalError
from builder.oci.manifest import INDEX, Descriptor, Manifest
from builder.oci.reference import RECORD_TAG, Digest, ImageReference, Repository
from builder.runtime.json_document import list_of, object_of, parse_json, text_of, texts_of

RECORD_TYPE = "application/vnd.istio-build.run.v1+json"
ANNOTATION = "vnd.istio-build.run"
_VERSION = 1
# Far more than any release has; a record is from outside, and each of its tags is asked for.
_MOST_TAGS = 2000
_LONGEST_OWNER = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Who moves tags there. It lasts for `seconds` from when the record was written; `expires` is that time by the
    holder's clock, which may be wrong."""

    run: str
    owner: str
    started: datetime
    expires: datetime
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedMove:
    """A tag being moved, from one digest (None: it did not exist) to another."""

    before: Digest | None
    after: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRecord:
    """The lease, None where nobody holds it, and the moves of the run that noted them, which need not be the holder's.

    Who takes over from a run that died keeps its moves in the record until they are settled.
    """

    lease: Lease | None = None
    run: str = ""
    moves: Mapping[ImageReference, NotedMove] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_idle(self) -> bool:
        """Whether it says nothing: what stays where a registry cannot delete tags."""
        return self.lease is None and not self.moves

    @property
    def repositories(self) -> frozenset[Repository]:
        """All repositories in which its run moves tags."""
        return frozenset(reference.repository for reference in self.moves)


def record_reference(repository: Repository) -> ImageReference:
    """Where the record of a repository stands."""
    return repository.at(RECORD_TAG)


def write_record(record: HubRecord, before: Sequence[Descriptor] = ()) -> Manifest:
    """The index that says this; `before` is what it keeps from being collected, all of the same repository."""
    body = {
        "version": _VERSION,
        "state": "idle" if record.is_idle else "moving" if record.lease else "left",
        "lease": _lease_json(record.lease),
        "journal": {"run": record.run, "moves": _moves_json(record.moves)} if record.moves else None,
    }
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "artifactType": RECORD_TYPE,
        "manifests": [descriptor.to_json() for descriptor in dict.fromkeys(before)],
        "annotations": {ANNOTATION: _compact({**body, "sum": _sum(body)})},
    }
    return Manifest(media_type=INDEX, content=_compact(document).encode())


def read_record(reference: ImageReference, manifest: Manifest) -> HubRecord:
    """What the record there says. Raises JournalError where it is damaged, of another version, or no record at all."""
    try:
        document = manifest.json()
        if document.get("artifactType") != RECORD_TYPE:
            raise ValueError(f"it is {document.get('artifactType') or manifest.media_type!r}, and no record of a run")
        body = dict(object_of(parse_json(manifest.annotations()[ANNOTATION])))
        if body.get("version") != _VERSION:
            raise unreadable(reference, f"it is of version {body.get('version')!r}, and this istio-build knows {_VERSION}")
        if body.pop("sum", None) != _sum(body):
            raise ValueError("its entries are not of its sum")
        journal = object_of(body.get("journal"))
        moves = _read_moves(journal.get("moves"))
        return HubRecord(lease=_read_lease(body.get("lease")), run=text_of(journal.get("run")), moves=moves)
    except JournalError:
        raise
    except (ValueError, KeyError, TypeError, OverflowError, BuilderError) as error:
        raise unreadable(reference, f"it is damaged ({type(error).__name__}: {str(error)[:100]})") from error


def unreadable(reference: ImageReference, why: str) -> JournalError:
    """The error for a record of which nobody knows what it says."""
    return JournalError(
        f"{reference}, where a run notes which tags it moves, cannot be read: {why}",
        hint=f"No tag has moved in this run, and the record is left as it is. Look at it with `docker buildx imagetools inspect "
        f"--raw {reference}`, and at the tags it names. When they are as you want them, delete that tag and run the same again.",
    )


def _lease_json(lease: Lease | None) -> dict[str, Any] | None:
    if lease is None:
        return None
    return {
        "run": lease.run,
        "owner": lease.owner,
        "started": lease.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expires": lease.expires.isoformat(timespec="microseconds"),
        "seconds": lease.seconds,
    }


def _read_lease(value: Any) -> Lease | None:  # noqa: ANN401 - JSON
    if value is None:
        return None
    lease = object_of(value)
    seconds = lease["seconds"]
    if type(seconds) is not int or not 0 < seconds <= 86400:
        raise ValueError("its lease lasts for no time")
    owner = "".join(char for char in text_of(lease["owner"])[:_LONGEST_OWNER] if char.isprintable())
    run, started, expires = text_of(lease["run"]), _read_time(lease["started"]), _read_time(lease["expires"])
    return Lease(run=run, owner=owner, started=started, expires=expires, seconds=seconds)


def _read_time(value: Any) -> datetime:  # noqa: ANN401 - JSON
    time = datetime.fromisoformat(text_of(value))
    if time.tzinfo is None:
        raise ValueError("a time in it has no zone")
    return time.astimezone(UTC)


def _moves_json(moves: Mapping[ImageReference, NotedMove]) -> dict[str, list[list[Any]]]:
    """By repository, and there by from where to where, as most tags of an image move alike."""
    found: dict[str, dict[NotedMove, list[str]]] = {}
    for reference, move in moves.items():
        found.setdefault(str(reference.repository), {}).setdefault(move, []).append(reference.tag)
    return {
        repository: [[str(move.before or ""), str(move.after), tags] for move, tags in alike.items()]
        for repository, alike in found.items()
    }


def _read_moves(value: Any) -> dict[ImageReference, NotedMove]:  # noqa: ANN401 - JSON
    moves: dict[ImageReference, NotedMove] = {}
    for repository, alike in object_of(value).items():
        for entry in list_of(alike):
            before, after, tags = list_of(entry)
            move = NotedMove(before=Digest(before) if before else None, after=Digest(after))
            for tag in texts_of(tags):
                moves[_read_reference(repository, tag)] = move
    if len(moves) > _MOST_TAGS:
        raise ValueError(f"it names {len(moves)} tags")
    return moves


def _read_reference(repository: str, tag: str) -> ImageReference:
    reference = ImageReference.parse(f"{repository}:{tag}")
    if str(reference) != f"{repository}:{tag}" or reference.digest or tag == RECORD_TAG:
        raise ValueError("an entry is not about a tag")
    return reference


def _sum(body: object) -> str:
    return hashlib.sha256(_compact(body).encode()).hexdigest()


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
