"""Writes down at the hubs what a release did there, and reads what they remember (builder.publish.history)."""

import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from builder.errors import BuilderError, Interrupted, RegistryError
from builder.oci.manifest import Manifest
from builder.oci.reference import HISTORY_TAG, ImageReference, Repository
from builder.ports import ImageReader, TagStore
from builder.publish.history import (
    Happening,
    History,
    Moved,
    UnreadableHistory,
    add_release,
    decode_history,
    encode_history,
    moved_by_repository,
)
from builder.publish.publication import Publication
from builder.runtime.progress import Progress

_PARALLEL = 6
# How often another run that writes at the same time is taken in.
_TRIES = 3
# What a registry says of an index that lists what is not there.
_REFUSED_AS_MALFORMED = (400, 404)
# Of the client errors, those that are about the moment, and not about what was asked for.
_PASSING = (408, 425, 429)


class HistoryStore(ImageReader, TagStore, Protocol):
    """What keeps histories: a registry's tags."""


def read_history(repository: Repository, tags: TagStore) -> History | None:
    """What a repository remembers, None where it remembers nothing. Raises UnreadableHistory and RegistryError."""
    try:
        found = tags.get_manifest(repository.at(HISTORY_TAG))
    except RegistryError as error:
        if not error.damaged:
            raise
        raise UnreadableHistory(error.message) from error
    return decode_history(found) if found else None


def record_release(
    publications: Sequence[Publication],
    before: Mapping[ImageReference, Manifest | None],
    happening: Happening,
    registry: HistoryStore,
    progress: Progress,
    *,
    place: str = "",
) -> None:
    """Add a release, whose tags have moved, to the history of each of its repositories.

    `place` says where, where there are several hubs. What cannot be written is told, and fails nothing: the release is there.
    Raises Interrupted.
    """
    moved = moved_by_repository(publications, before)
    found_id = uuid.uuid5(uuid.NAMESPACE_OID, happening.release).hex
    with (
        progress.task("history", f"{len(moved)} repositories{place}") as task,
        ThreadPoolExecutor(max_workers=_PARALLEL) as pool,
    ):
        failures = [
            error for error in pool.map(lambda each: _record(each, happening, found_id, registry), moved) if error is not None
        ]
        task.outcome = f"{len(moved) - len(failures)} written"
    _tell(failures, progress)


def _tell(failures: Sequence[tuple[Repository, Exception]], progress: Progress) -> None:
    refused = [(where, error) for where, error in failures if isinstance(error, RegistryError) and _is_refusal(error)]
    for registry in dict.fromkeys(where.registry for where, _ in refused):
        first = next(error for where, error in refused if where.registry == registry)
        progress.note(f"{registry} does not take the history of releases, so `rollback` will not know this one: {first}")
    for where, error in failures:
        if (where, error) not in refused:
            left = "; it is left as it is" if isinstance(error, UnreadableHistory) else ""
            progress.warn(f"the release is at the hub, but {where}:{HISTORY_TAG} does not say so: {error}{left}.")


def _is_refusal(error: RegistryError) -> bool:
    return 400 <= error.status < 500 and error.status not in _PASSING


def _record(moved: Moved, happening: Happening, found_id: str, registry: HistoryStore) -> tuple[Repository, Exception] | None:
    try:
        for _ in range(_TRIES):
            history = read_history(moved.repository, registry) or History()
            if history.has(happening.release):
                return None
            _write(add_release(history, moved, happening, found_id), moved.repository, registry)
        history = read_history(moved.repository, registry) or History()
    except Interrupted:
        raise
    except (UnreadableHistory, BuilderError) as error:
        return moved.repository, error
    if history.has(happening.release):
        return None
    return moved.repository, UnreadableHistory("other runs write to it again and again")


def _write(history: History, repository: Repository, registry: HistoryStore) -> None:
    reference = repository.at(HISTORY_TAG)
    try:
        registry.put_tag(reference, encode_history(history))
    except RegistryError as error:
        if error.status not in _REFUSED_AS_MALFORMED:
            raise
        # An image of an old release may have been deleted. That there was one is still worth knowing.
        there = tuple(image for image in history.kept if registry.get_manifest(repository.at(image.digest)))
        if len(there) == len(history.kept):
            raise
        registry.put_tag(reference, encode_history(History(entries=history.entries, kept=there)))
