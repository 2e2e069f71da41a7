"""OCI registries over HTTP: OCI distribution-spec v1.1.

Every request is tried again while it fails in ways that may pass; `BlobPush` and `BlobPull` go on where one was cut off.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from builder.errors import RegistryError
from builder.net.failure import DOCKER_CERTIFICATES
from builder.net.partial_file import PartialFile, file_sha256
from builder.net.session import Waiting
from builder.oci.manifest import INDEX, INDEX_TYPES, MANIFEST_TYPES, Descriptor, FoundBlob, Manifest
from builder.oci.reference import Digest, ImageReference, Repository
from builder.ports import UploadOutcome
from builder.registry.auth import CredentialSource, pull_scope, push_scope
from builder.registry.blob_pull import BlobPull
from builder.registry.blob_push import BlobPush, find_blob
from builder.registry.checks import (
    check_digest,
    check_document,
    check_manifest,
    check_size,
    check_stored,
    is_confirmed,
    unconfirmed,
)
from builder.registry.connection import Call, RegistryConnection
from builder.registry.connections import RegistryConnections
from builder.registry.response import Answer, media_type_of, next_page
from builder.registry.tag_list import list_tags
from builder.registry.upload import Upload
from builder.runtime.retry import RetryableError, RetryPolicy

_ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))
# The specification has registries take manifests of 4 MiB, and no registry in use takes larger ones from everybody; get_blob is
# for configurations, which are smaller still. What is small here may be thirty times as large when it is read.
_LARGEST_DOCUMENT = 4 * 1024 * 1024
_SHORTEST_ANSWER = 64 * 1024
# Of a list; an image has a handful of referrers, and a page some hundred.
_MOST_PAGES = 50
_MOST_REFERRERS = 2000


class HttpRegistry:
    """Implements `ports.Registry`. One object serves any number of registries and threads.

    `insecure` names hosts reached by plain HTTP besides this machine. `certificates` is where Docker keeps those of single
    registries. By `clock` tokens expire.
    """

    def __init__(
        self,
        *,
        credentials: CredentialSource,
        retry: RetryPolicy,
        insecure: Collection[str] = (),
        waiting: Waiting | None = None,
        certificates: Path = DOCKER_CERTIFICATES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        waiting = replace(waiting or Waiting(), sleep=retry.sleep)

        def connect(host: str, plain: bool) -> RegistryConnection:
            return RegistryConnection(
                host, plain=plain, credentials=credentials, certificates=certificates, waiting=waiting, clock=clock
            )

        self._connections = RegistryConnections(connect, insecure)
        self._retry = retry
        self._check_interrupted = waiting.check_interrupted

    def abort(self) -> None:
        """End all requests, from any thread, once `check_interrupted` raises: then so do all operations."""
        self._connections.abort()

    def clock_ahead(self, repository: Repository) -> float | None:
        """By how many seconds the clock of its registry was ahead of ours when it last answered; None where it has not said."""
        return self._connections.to(repository).clock_ahead

    def get_manifest(self, reference: ImageReference) -> Manifest | None:
        """See `ports.ImageReader.get_manifest`."""
        repository = reference.repository
        call = Call(
            act=f"read {reference}",
            method="GET",
            url=f"{repository.path}/manifests/{reference.key}",
            scopes=pull_scope(repository),
            headers={"Accept": _ACCEPT},
            limit=_LARGEST_DOCUMENT,
        )
        answer = self._retry.run(lambda: self._get_manifest(reference, call))
        if answer.status == 404:
            return None if answer.says_not_found else self._connections.refuse(repository, call, answer)
        manifest = Manifest(media_type=media_type_of(answer), content=answer.content)
        if manifest.media_type not in (*INDEX_TYPES, *MANIFEST_TYPES):
            raise RegistryError(
                f"cannot {call.act}: it is {manifest.media_type or 'of no type'}, not an image index or manifest",
                hint="Is there a registry at this address, and is this an image pushed in the last years?",
                status=answer.status,
                damaged=True,
            )
        # A manifest that is taken for what a tag was is put back some day: it has to be one.
        _ = manifest.children() if manifest.is_index else (manifest.config(), *manifest.layers())
        return manifest

    def _get_manifest(self, reference: ImageReference, call: Call) -> Answer:
        """The answer, its bytes checked against the digest asked for, or else against the one the registry announces."""
        answer = self._connections.send(reference.repository, call, accept=(200, 404))
        if answer.status == 200:
            check_document(call.act, answer, _LARGEST_DOCUMENT)
            check_manifest(call.act, reference.digest, answer)
        return answer

    def find_referrers(self, repository: Repository, digest: Digest) -> tuple[Descriptor, ...] | None:
        """The manifests whose subject it is, None where the registry cannot tell.

        Distribution-spec v1.1, "Listing Referrers"; builder.publish.referrers says what to do where it cannot.
        """
        found: list[Descriptor] = []
        url = f"{repository.path}/referrers/{digest}"
        for _ in range(_MOST_PAGES):
            call = Call(
                act=f"list what refers to {repository.at(digest)}",
                method="GET",
                url=url,
                scopes=pull_scope(repository),
                headers={"Accept": INDEX},
                limit=_LARGEST_DOCUMENT,
            )
            # Registries of before there was this list say so in various ways.
            answer = self._retry.run(partial(self._connections.send, repository, call, accept=(200, 400, 404, 405, 501)))
            check_document(call.act, answer, _LARGEST_DOCUMENT)
            if answer.status != 200 or media_type_of(answer) != INDEX:
                return None
            found += Manifest(media_type=INDEX, content=answer.content).children()
            url = next_page(answer)
            if not url or len(found) > _MOST_REFERRERS:
                break
        return tuple(dict.fromkeys(found))

    def list_tags(self, repository: Repository) -> tuple[str, ...]:
        """See `ports.TagLister.list_tags`."""
        return list_tags(self._connections, self._retry, repository)

    def get_blob(self, repository: Repository, descriptor: Descriptor) -> bytes:
        """See `ports.ImageReader.get_blob`. Raises RegistryError for one of another size than its descriptor says."""
        if descriptor.size > _LARGEST_DOCUMENT:
            raise RegistryError(
                f"blob {descriptor.digest.short} of {repository} is too large: {descriptor.size} bytes", damaged=True
            )
        call = Call(
            act=f"read blob {descriptor.digest.short} from {repository}",
            method="GET",
            url=f"{repository.path}/blobs/{descriptor.digest}",
            scopes=pull_scope(repository),
            # Of a refusal, which may come in its place, enough to explain it.
            limit=max(descriptor.size, _SHORTEST_ANSWER),
        )
        content = self._retry.run(lambda: self._connections.send(repository, call, accept=(200,))).content
        if len(content) > descriptor.size:
            raise RegistryError(
                f"cannot {call.act}: the registry sent more than the {descriptor.size} bytes that it should have", damaged=True
            )
        check_digest(call.act, descriptor.digest, content)
        return content

    def pull_blob(
        self,
        repository: Repository,
        descriptor: Descriptor,
        into: Path,
        *,
        on_bytes: Callable[[int], None] | None = None,
    ) -> None:
        """See `ports.RegistryReader.pull_blob`. `into` is left as it is where it is that blob already."""
        act = f"fetch blob {descriptor.digest.short} ({descriptor.size} bytes) from {repository}"
        with PartialFile.open(into, self._wait) as part:
            # Another process may have fetched it while we waited for it.
            if file_sha256(into) == descriptor.digest.hex:
                part.clear()
                return
            pull = BlobPull(act, descriptor, part, on_bytes or (lambda _: None))
            self._retry.run(lambda: self._pull(repository, descriptor, part, pull))
            part.finish()

    def has_blob(self, repository: Repository, digest: Digest) -> bool:
        """See `ports.RegistryReader.has_blob`."""
        return self._retry.run(lambda: find_blob(self._connections, repository, digest, pull_scope(repository))) is not None

    def find_blob(self, repository: Repository, digest: Digest) -> FoundBlob | None:
        """See `ports.BlobFinder.find_blob`."""
        return self._retry.run(lambda: find_blob(self._connections, repository, digest, pull_scope(repository)))

    def check_push(self, repository: Repository) -> None:
        """See `ports.RegistryWriter.check_push`: an upload is begun, and cancelled again where the registry can do that."""
        call = Call(
            act=f"push to {repository}",
            method="POST",
            url=f"{repository.path}/blobs/uploads/",
            scopes=push_scope(repository),
        )
        answer = self._retry.run(lambda: self._connections.send(repository, call, accept=(202,)))
        # What is left of an upload that cannot be cancelled goes with the registry's next clean-up.
        with contextlib.suppress(RegistryError, RetryableError):
            connection = self._connections.to(repository)
            location = connection.resolve_location(answer)
            if location:
                connection.send(Call(act=f"cancel an upload to {repository}", method="DELETE", url=location, scopes=call.scopes))

    def push_blob(
        self,
        repository: Repository,
        descriptor: Descriptor,
        content: Callable[[], Path],
        *,
        mount_from: Sequence[Repository] = (),
        on_bytes: Callable[[int], None] | None = None,
    ) -> UploadOutcome:
        """See `ports.RegistryWriter.push_blob`.

        `on_bytes` is given what is sent as it is sent. What a failed try had sent is given back as a negative number,
        so the sum is the blob's size after UPLOADED, and 0 after PRESENT or MOUNTED. Raises CheckError where the file
        is not of the descriptor's size.
        """

        def open_body() -> Upload:
            path = content()
            check_size(descriptor, path)
            return Upload(path, descriptor.size, on_bytes or (lambda _: None), self._check_interrupted)

        return BlobPush(self._connections, self._retry, repository, descriptor, open_body).run(mount_from)

    def has_manifest(self, repository: Repository, digest: Digest) -> bool:
        """See `ports.RegistryWriter.has_manifest`."""
        call = Call(
            act=f"look for {repository.at(digest)}",
            method="HEAD",
            url=f"{repository.path}/manifests/{digest}",
            # Who asks is about to push it.
            scopes=push_scope(repository),
            headers={"Accept": _ACCEPT},
        )
        answer = self._retry.run(lambda: self._connections.send(repository, call, accept=(200, 404)))
        return answer.status == 200

    def put_manifest(self, repository: Repository, manifest: Manifest) -> None:
        """See `ports.RegistryWriter.put_manifest`."""
        self._put(repository.at(manifest.digest), manifest)

    def put_tag(self, reference: ImageReference, manifest: Manifest) -> None:
        """See `ports.TagStore.put_tag`. Raises ValueError for a reference without a tag."""
        self._put(_tag_of(reference), manifest)

    def _put(self, reference: ImageReference, manifest: Manifest) -> None:
        repository = reference.repository
        call = Call(
            act=f"push {manifest.digest.short} as {reference}",
            method="PUT",
            url=f"{repository.path}/manifests/{reference.key}",
            scopes=push_scope(repository),
            headers={"Content-Type": manifest.media_type},
            body=manifest.content,
        )
        answer = self._retry.run(lambda: self._connections.send(repository, call, accept=(201, 200, 202)))
        check_stored(call.act, manifest.digest, answer)
        if not is_confirmed(answer):
            found = self.get_manifest(reference)
            if found is None or found.digest != manifest.digest:
                raise unconfirmed(call.act, answer)

    def delete_tag(self, reference: ImageReference) -> bool:
        """See `ports.TagStore.delete_tag`; section "Deleting tags". Raises ValueError for a reference without a tag."""
        tag = _tag_of(reference)
        repository = tag.repository
        call = Call(
            act=f"delete tag {tag}",
            method="DELETE",
            url=f"{repository.path}/manifests/{tag.key}",
            scopes=(f"repository:{repository.path}:delete",),
        )
        # Registries that cannot do it say so in various ways: 2.8 of the CNCF one takes the tag for a malformed digest.
        cannot = (400, 405, 501)
        answer = self._retry.run(lambda: self._connections.send(repository, call, accept=(202, 200, 204, 404, *cannot)))
        if answer.status == 404:
            # Either the tag is gone, perhaps by a try whose answer was lost, or this is one more way to say "cannot".
            return self.get_manifest(tag) is None
        return answer.status not in cannot

    def _pull(self, repository: Repository, descriptor: Descriptor, part: PartialFile, pull: BlobPull) -> None:
        try:
            self._pull_rest(repository, descriptor, part, pull)
            pull.check()
        except RetryableError as error:
            error.progressed = pull.has_advanced()
            raise

    def _pull_rest(self, repository: Repository, descriptor: Descriptor, part: PartialFile, pull: BlobPull) -> None:
        if not pull.is_complete:
            call = Call(
                act=pull.act,
                method="GET",
                url=f"{repository.path}/blobs/{descriptor.digest}",
                scopes=pull_scope(repository),
                headers=part.range_headers(),
                receiver=pull,
            )
            answer = self._connections.send(repository, call, accept=(200, 206, *((416,) if part.size else ())))
            if answer.status == 416:
                pull.refuse_range()

    def _wait(self, seconds: float) -> None:
        self._check_interrupted()
        self._retry.sleep(seconds)


def _tag_of(reference: ImageReference) -> ImageReference:
    """The tag alone, without a digest that the reference may be bound to. Raises ValueError where it has none."""
    if not reference.tag:
        raise ValueError(f"{reference} has no tag")
    return reference.repository.at(reference.tag)
