"""An in-memory `ports.Registry` for tests, as strict as a real one about what a manifest refers to.

`tests/contract/test_registry.py` runs the same cases on it and on a real registry.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from builder.errors import RegistryError
from builder.oci.manifest import Descriptor, FoundBlob, Manifest
from builder.oci.reference import RECORD_TAG, Digest, ImageReference, Repository
from builder.ports import UploadOutcome
from builder.runtime.atomic_file import whole_file


class FakeRegistry:
    """Any number of registries in dictionaries.

    `log` has every call as (operation, key), in order: the operation is the method's name, the key a reference such as
    `hub.test/istio/pilot:1.29` or `hub.test/istio/pilot@sha256:…`. `fail_on` sees the same before the call takes effect,
    and may give an exception to raise. `fail_after` does so once it has taken effect, as when an answer is lost.
    `refuses_records` is the status with which records of runs are refused, 0 where they are taken.
    """

    def __init__(self, *, can_delete_tags: bool = True, refuses_records: int = 0, lists_referrers: bool = True) -> None:
        self.manifests: defaultdict[Repository, dict[str, Manifest]] = defaultdict(dict)
        self.blobs: defaultdict[Repository, dict[Digest, bytes]] = defaultdict(dict)
        self.log: list[tuple[str, str]] = []
        self.fail_on: Callable[[str, str], Exception | None] = lambda operation, key: None
        self.fail_after: Callable[[str, str], Exception | None] = lambda operation, key: None
        self.can_delete_tags = can_delete_tags
        self.refuses_records = refuses_records
        self.lists_referrers = lists_referrers
        self._lock = threading.RLock()

    def operations(self, name: str) -> list[str]:
        """The keys of all calls of this operation, in order."""
        return [key for operation, key in self.log if operation == name]

    def tags(self, repository: Repository) -> dict[str, Digest]:
        """What each tag of an image points to in a repository."""
        found = tuple(self.manifests[repository].items())
        return {key: manifest.digest for key, manifest in found if not key.startswith("sha256:") and key != RECORD_TAG}

    def record(self, repository: Repository) -> Manifest | None:
        """What a run has left there of itself."""
        return self.manifests[repository].get(RECORD_TAG)

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        with self._call("get_manifest", str(reference)):
            return self.manifests[reference.repository].get(reference.key)

    def find_referrers(self, repository: Repository, digest: Digest) -> tuple[Descriptor, ...] | None:
        with self._call("find_referrers", str(repository.at(digest))):
            if not self.lists_referrers:
                return None
            stored = {manifest.digest: manifest for manifest in self.manifests[repository].values()}
            subjects = {manifest: (manifest.json().get("subject") or {}).get("digest") for manifest in stored.values()}
            return tuple(manifest.descriptor for manifest, subject in subjects.items() if subject == str(digest))

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        with self._call("list_tags", str(repository)):
            return tuple(sorted(key for key in self.manifests[repository] if not key.startswith("sha256:")))

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        with self._call("get_blob", str(repository.at(descriptor.digest))):
            if descriptor.digest not in self.blobs[repository]:
                raise RegistryError(f"BLOB_UNKNOWN: {descriptor.digest}", status=404)
            data = self.blobs[repository][descriptor.digest]
            if Digest.of(data) != descriptor.digest:
                raise RegistryError("the registry sent other bytes", damaged=True)
            return data

    def pull_blob(
        self,
        repository: Repository,
        descriptor: Descriptor,
        into: Path,
        *,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        with self._call("pull_blob", str(repository.at(descriptor.digest))):
            if descriptor.digest not in self.blobs[repository]:
                raise RegistryError(f"BLOB_UNKNOWN: {descriptor.digest}", status=404)
            data = self.blobs[repository][descriptor.digest]
            if Digest.of(data) != descriptor.digest:
                raise RegistryError("the registry sent other bytes", damaged=True)
            into.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(into) as partial:
                partial.write_bytes(data)
            if on_bytes:
                on_bytes(len(data))

    def check_push(self, repository: Repository) -> None:
        with self._call("check_push", str(repository)):
            pass

    def push_blob(
        self,
        repository: Repository,
        descriptor: Descriptor,
        content: Callable[[], Path],
        *,
        mount_from: Sequence[Repository] = (),
        on_bytes: Callable[[int], None] | None = None,
    ) -> UploadOutcome:
        with self._call("push_blob", str(repository.at(descriptor.digest))):
            if descriptor.digest in self.blobs[repository]:
                return UploadOutcome.PRESENT
            for other in mount_from:
                if other.registry == repository.registry and descriptor.digest in self.blobs[other]:
                    self.blobs[repository][descriptor.digest] = self.blobs[other][descriptor.digest]
                    return UploadOutcome.MOUNTED
            data = content().read_bytes()
            if Digest.of(data) != descriptor.digest or len(data) != descriptor.size:
                raise RegistryError("DIGEST_INVALID: provided digest did not match uploaded content", status=400)
            self.blobs[repository][descriptor.digest] = data
            if on_bytes:
                on_bytes(len(data))
            return UploadOutcome.UPLOADED

    def has_blob(self, repository: Repository, digest: Digest) -> bool:
        with self._call("has_blob", str(repository.at(digest))):
            return digest in self.blobs[repository]

    def find_blob(self, repository: Repository, digest: Digest) -> FoundBlob | None:
        with self._call("find_blob", str(repository.at(digest))):
            found = self.blobs[repository].get(digest)
            return None if found is None else FoundBlob(size=len(found))

    def has_manifest(self, repository: Repository, digest: Digest) -> bool:
        with self._call("has_manifest", str(repository.at(digest))):
            return str(digest) in self.manifests[repository]

    def put_manifest(self, repository: Repository, manifest: Manifest) -> None:
        with self._call("put_manifest", str(repository.at(manifest.digest))):
            self._store(repository, manifest)

    def put_tag(self, reference: ImageReference, manifest: Manifest) -> None:
        with self._call("put_tag", f"{reference.repository}:{reference.tag}"):
            if self.refuses_records and reference.tag == RECORD_TAG:
                raise RegistryError("TAG_INVALID: tags are immutable", status=self.refuses_records)
            self._store(reference.repository, manifest)
            self.manifests[reference.repository][reference.tag] = manifest

    def delete_tag(self, reference: ImageReference) -> bool:
        with self._call("delete_tag", str(reference)):
            if self.can_delete_tags:
                self.manifests[reference.repository].pop(reference.tag, None)
            return self.can_delete_tags

    def _store(self, repository: Repository, manifest: Manifest) -> None:
        self._check_references(repository, manifest)
        self.manifests[repository][str(manifest.digest)] = manifest

    def _check_references(self, repository: Repository, manifest: Manifest) -> None:
        if manifest.is_index:
            missing = [c.digest for c in manifest.children() if str(c.digest) not in self.manifests[repository]]
        else:
            needed = (manifest.config(), *manifest.layers())
            missing = [blob.digest for blob in needed if blob.digest not in self.blobs[repository]]
        if missing:
            raise RegistryError(f"MANIFEST_BLOB_UNKNOWN: {missing[0]}", status=404)

    def _call(self, operation: str, key: str) -> "_Call":
        return _Call(self, self._lock, operation, key)


class _Call:
    """One call: logged, made to fail where the test wants it, and alone."""

    def __init__(self, registry: FakeRegistry, lock: threading.RLock, operation: str, key: str) -> None:
        self._registry = registry
        self._lock = lock
        self._operation = operation
        self._key = key

    def __enter__(self) -> None:
        with self._lock:
            self._registry.log.append((self._operation, self._key))
        # Outside the lock, so that a test may block one call in here while others go on.
        self._raise(self._registry.fail_on)
        self._lock.acquire()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._lock.release()
        if error is None:
            self._raise(self._registry.fail_after)

    def _raise(self, hook: Callable[[str, str], Exception | None]) -> None:
        failure = hook(self._operation, self._key)
        if failure is not None:
            raise failure
