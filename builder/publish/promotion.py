"""A release that is somewhere already, as what is to be published elsewhere: the same indexes, under other tags. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.oci.manifest import Manifest
from builder.oci.reference import Hub, ImageReference, Repository, parse_tag
from builder.plan.tags import check_references, plain_tag
from builder.ports import RegistryReader
from builder.publish.content import RepositoryContent
from builder.publish.history import name_of
from builder.publish.publication import Publication


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldRelease:
    """Images at a hub: for each tag the image that it is of, such as `pilot-distroless`, and the index that it is.

    `tag` is the plain one, `variants` what may stand behind it.
    """

    tag: str
    variants: Collection[str]
    images: tuple[tuple[ImageReference, str, Manifest], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a release goes: hubs, and the tags that take the place of the one that it has."""

    hubs: tuple[Hub, ...]
    tags: tuple[str, ...]


def promote(held: HeldRelease, destination: Destination, registry: RegistryReader, cache: Path) -> tuple[Publication, ...]:
    """What is to be published. Nothing is sent for a tag that moves within its own repository.

    Raises RequestError for tags that two images would share, or that get too long.
    """
    targets: dict[tuple[str, Repository, Manifest], list[ImageReference]] = {}
    for reference, key, index in held.images:
        own = targets.setdefault((key, reference.repository, index), [])
        for hub in destination.hubs:
            repository = hub.repository(name_of(reference.repository))
            own += [repository.at(tag) for tag in _new_tags(reference.tag, held, destination.tags)]
    publications = []
    for (key, source, index), references in targets.items():
        content = RepositoryContent(source, registry, cache)
        here = tuple(dict.fromkeys(reference for reference in references if reference.repository == source))
        elsewhere = tuple(dict.fromkeys(reference for reference in references if reference.repository != source))
        if here:
            publications.append(Publication(key=key, index=index, references=here, content=None))
        if elsewhere:
            publications.append(Publication(key=key, index=index, references=elsewhere, content=content))
    check_references(publications)
    return tuple(publications)


def sources_of(publications: Sequence[Publication]) -> dict[Publication, Repository]:
    """Of those that are copied, where from."""
    return {entry: entry.content.repository for entry in publications if isinstance(entry.content, RepositoryContent)}


def _new_tags(tag: str, held: HeldRelease, tags: Sequence[str]) -> tuple[str, ...]:
    """`prod-distroless` for `1.29.0-distroless`; a tag that is not the release's, as a base's, stays what it is."""
    if tag == held.tag:
        return tuple(map(parse_tag, tags))
    if plain_tag(tag, held.variants) == held.tag:
        return tuple(parse_tag(f"{new}{tag.removeprefix(held.tag)}") for new in tags)
    return (tag,)
