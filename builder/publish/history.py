"""What is remembered of a repository's releases, at the registry itself, so that any machine can go on from there.

An image index (image-spec v1.1, image-index.md) under a tag of its own: an annotation holds what the releases were, and
`manifests` lists their images, so that the registry's garbage collection keeps what somebody may go back to. It has no
blobs. Here it is read and written as values; `builder.publish.recorder` speaks to registries.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from builder.errors import BuilderError
from builder.oci.manifest import INDEX, Descriptor, Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.plan.model import FINGERPRINT_ANNOTATION
from builder.publish.publication import Publication
from builder.runtime.json_document import list_of, object_of, parse_json, text_of, texts_of

HISTORY_TYPE = "application/vnd.istio-build.history.v1+json"
HISTORY_ANNOTATION = "vnd.istio-build.history"
# How many releases a repository remembers, and in how many bytes: registries take manifests of 4 MiB, and some less.
MOST_RELEASES = 20
_LARGEST = 64 * 1024
_VERSION = 1
# What was at the tags before the first release that was written down, or was put there by another tool.
FOUND = "found"


class UnreadableHistory(Exception):
    """A repository's history is damaged, or of a version that is not known; the text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One release, or promotion, or rollback, as it is told in all its repositories.

    `release` is its id; `by` is `push`, `promote HUB:TAG` or `rollback ID`, where `back_to` is that id too. `time`
    is when all tags had moved, in UTC.
    """

    release: str
    by: str
    host: str
    builder: str
    back_to: str = ""
    time: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryImage:
    """An image of a release: its key such as `pilot-distroless`, its index, the tags that were put to it, and the
    fingerprint of its inputs."""

    key: str
    digest: Digest
    tags: tuple[str, ...]
    inputs: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """What a release was in one repository. `beside` names all repositories of it at this hub, this one too."""

    happening: Happening
    version: str
    commit: str
    beside: tuple[str, ...]
    images: tuple[HistoryImage, ...]

    @property
    def tags(self) -> Mapping[str, Digest]:
        """Where it put each tag."""
        return {tag: image.digest for image in self.images for tag in image.tags}


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that a repository remembers, newest first; `kept` are the images that its index lists."""

    entries: tuple[HistoryEntry, ...] = ()
    kept: tuple[Descriptor, ...] = ()

    def has(self, release: str) -> bool:
        """Whether it knows this release."""
        return any(entry.happening.release == release for entry in self.entries)

    def where(self, tag: str) -> Digest | None:
        """Where the newest release that set this tag put it."""
        return next((entry.tags[tag] for entry in self.entries if tag in entry.tags), None)

    def adding(self, entries: Sequence[HistoryEntry], images: Sequence[Descriptor]) -> "History":
        """The same with newer entries before all others, as many as there is room for."""
        history = replace(self, entries=(*entries, *self.entries)[:MOST_RELEASES], kept=(*images, *self.kept))
        while len(history.entries) > 1 and len(_document(history.entries)) > _LARGEST:
            history = replace(history, entries=history.entries[:-1])
        named = {image.digest for entry in history.entries for image in entry.images}
        kept = {descriptor.digest: descriptor for descriptor in history.kept if descriptor.digest in named}
        return replace(history, kept=tuple(kept.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a release did in one repository: its images there, and what its tags were `before` (none for a new one)."""

    repository: Repository
    beside: tuple[str, ...]
    publications: tuple[Publication, ...]
    before: Mapping[str, Manifest] = field(default_factory=dict)


def moved_by_repository(
    publications: Sequence[Publication], before: Mapping[ImageReference, Manifest | None]
) -> tuple[Moved, ...]:
    """What a release did, repository by repository."""
    found: dict[Repository, list[Publication]] = {}
    for entry in publications:
        for repository in dict.fromkeys(reference.repository for reference in entry.references):
            own = tuple(reference for reference in entry.references if reference.repository == repository)
            found.setdefault(repository, []).append(replace(entry, references=own))
    return tuple(
        Moved(
            repository=repository,
            beside=tuple(sorted({name_of(other) for other in found if hub_of(other) == hub_of(repository)})),
            publications=tuple(own),
            before={ref.tag: there for ref, there in before.items() if ref.repository == repository and there},
        )
        for repository, own in found.items()
    )


def hub_of(repository: Repository) -> str:
    """The registry and the path above the image's name."""
    return f"{repository.registry}/{repository.path.rpartition('/')[0]}"


def name_of(repository: Repository) -> str:
    """The image's name."""
    return repository.path.rpartition("/")[2]


def add_release(history: History, moved: Moved, happening: Happening, found_id: str) -> History:
    """The history with this release; before it, as `found_id`, what tags were when no release it knows had put them there."""
    images = tuple(
        HistoryImage(
            key=entry.key,
            digest=entry.index.digest,
            tags=tuple(reference.tag for reference in entry.references),
            inputs=_note(entry.index, FINGERPRINT_ANNOTATION),
        )
        for entry in moved.publications
    )
    indexes = [entry.index for entry in moved.publications]
    entries = [_entry(happening, moved.beside, images, indexes)]
    strange = {tag: there for tag, there in moved.before.items() if history.where(tag) != there.digest}
    if strange:
        entries.append(_found_entry(replace(happening, release=found_id, by=FOUND, back_to=""), moved, strange))
    named = [manifest.descriptor for manifest in (*indexes, *strange.values())]
    return history.adding(entries, named)


def _found_entry(happening: Happening, moved: Moved, strange: Mapping[str, Manifest]) -> HistoryEntry:
    keys = {ref.tag: entry.key for entry in moved.publications for ref in entry.references}
    images = tuple(
        HistoryImage(key=keys[tag], digest=there.digest, tags=(tag,), inputs=_note(there, FINGERPRINT_ANNOTATION))
        for tag, there in strange.items()
    )
    # What was at the same moment in other repositories need be no part of it.
    return _entry(happening, (name_of(moved.repository),), images, list(strange.values()))


def _entry(
    happening: Happening, beside: tuple[str, ...], images: tuple[HistoryImage, ...], indexes: Sequence[Manifest]
) -> HistoryEntry:
    return HistoryEntry(
        happening=happening,
        version=_first_note(indexes, "org.opencontainers.image.version"),
        commit=_first_note(indexes, "org.opencontainers.image.revision"),
        beside=beside,
        images=images,
    )


def _first_note(indexes: Sequence[Manifest], name: str) -> str:
    return next((note for index in indexes if (note := _note(index, name))), "")


def _note(index: Manifest, name: str) -> str:
    """An annotation, bounded: what was at a tag may be anybody's."""
    try:
        return index.annotations().get(name, "")[:200]
    except BuilderError:
        return ""


def encode_history(history: History) -> Manifest:
    """The index that says this."""
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "artifactType": HISTORY_TYPE,
        "manifests": [replace(descriptor, platform=None).to_json() for descriptor in history.kept],
        "annotations": {HISTORY_ANNOTATION: _document(history.entries)},
    }
    return Manifest(media_type=INDEX, content=json.dumps(document, separators=(",", ":")).encode())


def decode_history(manifest: Manifest) -> History:
    """What an index says. Raises UnreadableHistory."""
    try:
        text = manifest.annotations()[HISTORY_ANNOTATION]
        document = object_of(parse_json(text, largest=2 * _LARGEST))
        if document["version"] != _VERSION:
            raise UnreadableHistory(f"it is of version {document['version']!r}, and this istio-build knows {_VERSION}")
        entries = tuple(_read_entry(object_of(entry)) for entry in list_of(document["releases"]))
        return History(entries=entries, kept=manifest.children())
    except UnreadableHistory:
        raise
    except (ValueError, KeyError, TypeError, BuilderError) as error:
        raise UnreadableHistory(f"it is damaged ({type(error).__name__}: {str(error)[:100]})") from error


def _document(entries: Sequence[HistoryEntry]) -> str:
    releases = [
        {
            "id": entry.happening.release,
            "time": entry.happening.time,
            "by": entry.happening.by,
            "host": entry.happening.host,
            "builder": entry.happening.builder,
            **({"backTo": entry.happening.back_to} if entry.happening.back_to else {}),
            "version": entry.version,
            "commit": entry.commit,
            "beside": list(entry.beside),
            "images": [
                {"image": image.key, "digest": str(image.digest), "inputs": image.inputs, "tags": list(image.tags)}
                for image in entry.images
            ],
        }
        for entry in entries
    ]
    return json.dumps({"version": _VERSION, "releases": releases}, separators=(",", ":"))


def _read_entry(value: Mapping[str, Any]) -> HistoryEntry:
    texts = {name: text_of(value.get(name)) for name in ("id", "time", "by", "host", "builder", "backTo", "version", "commit")}
    if not texts["id"]:
        raise ValueError("a release has no id")
    images = tuple(
        HistoryImage(
            key=text_of(image["image"]),
            digest=Digest(text_of(image["digest"])),
            tags=texts_of(image["tags"]),
            inputs=text_of(image.get("inputs")),
        )
        for image in map(object_of, list_of(value["images"]))
    )
    happening = Happening(
        release=texts["id"],
        time=texts["time"],
        by=texts["by"],
        host=texts["host"],
        builder=texts["builder"],
        back_to=texts["backTo"],
    )
    return HistoryEntry(
        happening=happening,
        version=texts["version"],
        commit=texts["commit"],
        beside=texts_of(value["beside"]),
        images=images,
    )
