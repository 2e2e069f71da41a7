"""Copies what refers to an image, such as signatures and bills of materials, along with it.

Distribution-spec v1.1: registries list referrers ("Listing Referrers"); where one cannot, clients keep the list themselves,
as an index under a tag that is made of the digest ("Referrers Tag Schema"). Each referrer names its subject by digest, which
is the same wherever the subject is copied to.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from builder.errors import RegistryError
from builder.oci.manifest import INDEX, Descriptor, Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.ports import ReferrerFinder, RegistryReader, RegistryWriter, TagStore
from builder.publish.content import RepositoryContent
from builder.runtime.json_document import list_of, object_of, text_of
from builder.runtime.progress import Progress

# An image has a handful; a list without end is somebody's joke.
_MOST = 1000


class ReferrerRegistry(RegistryReader, RegistryWriter, TagStore, ReferrerFinder, Protocol):
    """A registry that may know what refers to a manifest."""


@dataclass(frozen=True, slots=True)
class Referrers:
    """Copies referrers; blobs that have to be sent are fetched into `cache` first."""

    registry: ReferrerRegistry
    progress: Progress
    cache: Path

    def copy(self, source: Repository, target: Repository, subjects: Sequence[Digest]) -> int:
        """Copy all that refers to these manifests, and to that in turn; gives how many there were. Raises RegistryError."""
        content = RepositoryContent(source, self.registry, self.cache)
        seen: dict[Digest, None] = {}
        left = list(subjects)
        while left:
            subject = left.pop()
            own = [manifest for manifest in self._find(content, subject) if manifest.digest not in seen]
            for manifest in own:
                self._copy(content, target, manifest)
                seen[manifest.digest] = None
                left.append(manifest.digest)
            if own and self.registry.find_referrers(target, subject) is None:
                self._list(target, subject, own)
            if len(seen) > _MOST:
                raise RegistryError(f"more than {_MOST} manifests refer to the image in {source}", hint="Can that be meant?")
        return len(seen)

    def _find(self, content: RepositoryContent, subject: Digest) -> list[Manifest]:
        listed = self.registry.find_referrers(content.repository, subject)
        if listed is None:
            index = self.registry.get_manifest(_list_of(content.repository, subject))
            listed = index.children() if index and index.is_index else ()
        return [manifest for descriptor in listed if (manifest := self._get(content, descriptor, subject))]

    def _get(self, content: RepositoryContent, descriptor: Descriptor, subject: Digest) -> Manifest | None:
        """A referrer, None where it is none, or not there any more."""
        reference = content.repository.at(descriptor.digest)
        try:
            manifest = self.registry.get_manifest(reference)
        except RegistryError as error:
            if not error.damaged:
                raise
            self.progress.warn(f"{reference} refers to the image, and is not copied: {error.message}")
            return None
        if manifest is None:
            self.progress.warn(f"{reference} refers to the image, as is said, but is not there.")
            return None
        return manifest if _subject_of(manifest) == str(subject) else None

    def _copy(self, content: RepositoryContent, target: Repository, manifest: Manifest) -> None:
        children = [content.manifest(child) for child in manifest.children()] if manifest.is_index else []
        for part in (*children, manifest):
            if part.is_index and part is not manifest:
                raise RegistryError(f"{content.repository.at(part.digest)} is an index within an index, which is not copied")
            for blob in () if part.is_index else dict.fromkeys((part.config(), *part.layers())):
                mounts = content.mount_from if content.repository.registry == target.registry else ()
                self.registry.push_blob(target, blob, lambda blob=blob: content.blob(blob), mount_from=mounts)  # type: ignore[misc]
            self.registry.put_manifest(target, part)

    def _list(self, target: Repository, subject: Digest, referrers: Sequence[Manifest]) -> None:
        """Keep the list where the registry does not: what it has stays, and these are added."""
        reference = _list_of(target, subject)
        there = self.registry.get_manifest(reference)
        entries = {_digest_of(entry): entry for entry in list_of(there.json().get("manifests"))} if there else {}
        entries |= {str(manifest.digest): _entry(manifest) for manifest in referrers if str(manifest.digest) not in entries}
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries.values())}
        index = Manifest(media_type=INDEX, content=json.dumps(document, separators=(",", ":")).encode())
        if there is None or there.digest != index.digest:
            self.registry.put_tag(reference, index)


def _list_of(repository: Repository, subject: Digest) -> ImageReference:
    return repository.at(f"sha256-{subject.hex}")


def _subject_of(manifest: Manifest) -> str:
    try:
        return text_of(object_of(manifest.json().get("subject")).get("digest"))
    except ValueError:
        return ""


def _digest_of(entry: Any) -> str:  # noqa: ANN401 - JSON
    return str(object_of(entry).get("digest"))


def _entry(manifest: Manifest) -> Mapping[str, Any]:
    """How a list of referrers names one: with its artifactType and annotations, which is how it is chosen."""
    document = manifest.json()
    kind = document.get("artifactType") or object_of(document.get("config")).get("mediaType")
    more = {"artifactType": kind, "annotations": document.get("annotations")}
    return {**manifest.descriptor.to_json(), **{name: value for name, value in more.items() if value}}
