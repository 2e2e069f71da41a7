"""A blob on its way to a registry: found, mounted or sent (distribution-spec, "Pushing blobs")."""

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from builder.errors import AccessDenied, RegistryError
from builder.net.session import header_text
from builder.net.temporary import is_temporary_status
from builder.oci.manifest import Descriptor, FoundBlob
from builder.oci.reference import Digest, Repository
from builder.ports import UploadOutcome
from builder.registry.auth import pull_scope, push_scope
from builder.registry.checks import check_stored
from builder.registry.connection import Call, with_digest
from builder.registry.connections import RegistryConnections
from builder.registry.response import Answer
from builder.registry.upload import Upload
from builder.runtime.retry import RetryableError, RetryPolicy

# A registry that so answers a PUT of the whole blob may still take it by PATCH, as Docker sends it.
_NO_WHOLE_UPLOADS = (405, 501)
_LENGTH = re.compile(r"[0-9]{1,18}")
_UNKNOWN_UPLOADS = ("BLOB_UPLOAD_UNKNOWN", "BLOB_UPLOAD_INVALID")
# What an upload has so far, as first and last byte. "0-0" is also what nothing at all looks like.
_KEPT = re.compile(r"(?:bytes=)?0-([0-9]{1,19})")


class BlobPush:
    """Sends one blob to one repository. `open_body` is called only where it has to be sent, and once for all tries.

    Each request is tried again for itself. An upload that was cut off goes on where the registry says that it ended.
    """

    def __init__(
        self,
        connections: RegistryConnections,
        retry: RetryPolicy,
        repository: Repository,
        descriptor: Descriptor,
        open_body: Callable[[], Upload],
    ) -> None:
        self._connections = connections
        self._retry = retry
        self._repository = repository
        self._digest = descriptor.digest
        self._open_body = open_body
        self._start = Call(
            act=f"upload blob {descriptor.digest.short} ({descriptor.size} bytes) to {repository}",
            method="POST",
            url=f"{repository.path}/blobs/uploads/",
            scopes=push_scope(repository),
        )

    def run(self, mount_from: Sequence[Repository]) -> UploadOutcome:
        """Have it there."""
        if self._is_there():
            return UploadOutcome.PRESENT
        mount = self._mount(mount_from)
        if mount and mount[1].status == 201:
            return UploadOutcome.MOUNTED
        # Before an upload is begun, which the registry may not keep open for as long as it takes to get the content.
        body = self._open_body()
        call, session = mount or (self._start, self._begin())
        return self._retry.run(_Transfer(self, call, self._locate(session), body).attempt)

    def _is_there(self) -> bool:
        return (
            self._retry.run(lambda: find_blob(self._connections, self._repository, self._digest, self._start.scopes)) is not None
        )

    def _begin(self) -> Answer:
        return self._retry.run(lambda: self._send(self._start, accept=(202,)))

    def _mount(self, mount_from: Sequence[Repository]) -> tuple[Call, Answer] | None:
        """The answer to a mount, with the call that it answers: mounted (201), or an upload begun in its place (202)."""
        source = self._find_mountable(mount_from)
        if source:
            mount = replace(
                self._start,
                scopes=(*self._start.scopes, *pull_scope(source)),
                query=(("mount", str(self._digest)), ("from", source.path)),
            )
            # A registry that does not let us mount may well let us upload.
            with contextlib.suppress(AccessDenied):
                answer = self._retry.run(lambda: self._ask(mount))
                if answer.status in (201, 202):
                    return mount, answer
        return None

    def _find_mountable(self, candidates: Sequence[Repository]) -> Repository | None:
        """The first that has the blob. Asking first leaves no upload sessions behind, as failed mounts would."""
        for candidate in candidates:
            if candidate.registry != self._repository.registry or candidate == self._repository:
                continue
            try:
                if self._has(candidate):
                    return candidate
            except AccessDenied:
                continue
        return None

    def _has(self, source: Repository) -> bool:
        return self._retry.run(lambda: find_blob(self._connections, source, self._digest, pull_scope(source))) is not None

    def _ask(self, call: Call) -> Answer:
        """The answer, whatever it is, unless it is one that may pass."""
        answer = self._connections.to(self._repository).send(call)
        if is_temporary_status(answer.status):
            self._connections.refuse(self._repository, call, answer)
        return answer

    def _locate(self, session: Answer) -> str:
        location = self._connections.to(self._repository).resolve_location(session)
        if not location:
            message = f"cannot {self._start.act}: the registry names no place to upload to"
            raise RegistryError(message, status=session.status)
        return location

    def _send(self, call: Call, *, accept: tuple[int, ...]) -> Answer:
        return self._connections.send(self._repository, call, accept=accept)


class _Transfer:
    """The bytes of a blob on their way into an upload session, over as many tries and sessions as it takes."""

    def __init__(self, push: BlobPush, started: Call, location: str, body: Upload) -> None:
        self._push = push
        self._call = replace(
            started, method="PUT", query=(), headers={"Content-Type": "application/octet-stream"}, url=location, body=body
        )
        self._body = body
        self._offset = 0
        self._furthest = 0
        self._failed = False
        self._session_was_lost = False

    def attempt(self) -> UploadOutcome:
        """One try, at what the tries before it have left."""
        advanced = False
        if self._failed:
            # It may have arrived all the same, with only its answer lost: so look each time.
            if self._push._is_there():
                self._body.begin_at(0)
                return UploadOutcome.PRESENT
            self._resume()
            advanced = self._offset > self._furthest
            self._furthest = max(self._furthest, self._offset)
        self._failed = True
        try:
            self._send_rest()
        except RetryableError as error:
            error.progressed = advanced
            raise
        return UploadOutcome.UPLOADED

    def _resume(self) -> None:
        """Go on where the registry says that the upload ended, else begin another.

        Section "Pushing a blob in chunks". A token that has expired meanwhile is fetched anew with this request, which has no
        body to be cut off.
        """
        status = replace(self._call, act=f"resume {self._call.act}", method="GET", headers={}, body=None)
        self._offset = 0
        answer = None
        # A place elsewhere may be for sending alone.
        with contextlib.suppress(AccessDenied):
            answer = self._push._retry.run(lambda: self._push._ask(status))
        kept = _kept_bytes(answer) if answer else 0
        if answer and 0 < kept <= self._body.size:
            self._offset = kept
            if "Location" in answer.headers:
                self._call = replace(self._call, url=self._push._locate(answer))
        else:
            self._call = replace(self._call, url=self._push._locate(self._push._begin()))
        self._body.begin_at(self._offset)

    def _send_rest(self) -> None:
        """Section "POST then PUT"; PATCH before it for a rest, and where PUT takes no body."""
        if not self._offset:
            answer = self._put(self._body, accept=(201, 204, *_NO_WHOLE_UPLOADS))
            if answer.status not in _NO_WHOLE_UPLOADS:
                return
            self._body.seek(0)
        if self._offset < self._body.size:
            self._patch()
        self._put(None, accept=(201, 204))

    def _patch(self) -> None:
        headers = {**self._call.headers, "Content-Range": f"{self._offset}-{self._body.size - 1}"}
        patched = self._send(replace(self._call, method="PATCH", headers=headers if self._offset else self._call.headers), (202,))
        self._call = replace(self._call, url=self._push._locate(patched))

    def _put(self, body: Upload | None, accept: tuple[int, ...]) -> Answer:
        answer = self._send(replace(self._call, url=with_digest(self._call.url, self._push._digest), body=body), accept)
        if answer.status not in _NO_WHOLE_UPLOADS:
            check_stored(self._call.act, self._push._digest, answer)
        return answer

    def _send(self, call: Call, accept: tuple[int, ...]) -> Answer:
        """The answer. Raises RetryableError also where the session is lost, once, or has not got what we think (416)."""
        answer = self._push._ask(call)
        lost = answer.status == 404 and answer.code in _UNKNOWN_UPLOADS and not self._session_was_lost
        if answer.status == 416 or lost:
            self._session_was_lost = self._session_was_lost or lost
            refused = self._push._connections.to(self._push._repository).refusal(call, answer)
            raise RetryableError(refused) if isinstance(refused, RegistryError) else refused
        if answer.status not in accept:
            self._push._connections.refuse(self._push._repository, call, answer)
        return answer


def _kept_bytes(answer: Answer) -> int:
    """How much of an upload a registry has, by the status that it gives; 0 also where there is no such upload any more."""
    match = _KEPT.fullmatch(answer.headers.get("Range", "").strip()) if answer.status in (200, 202, 204) else None
    last = int(match[1]) if match else 0
    return last + 1 if last else 0


def find_blob(
    connections: RegistryConnections, repository: Repository, digest: Digest, scopes: tuple[str, ...]
) -> FoundBlob | None:
    """What a repository says of a blob that it has. `scopes` are those of the token that is used: one to push does as well."""
    call = Call(
        act=f"look for blob {digest.short} in {repository}",
        method="HEAD",
        url=f"{repository.path}/blobs/{digest}",
        scopes=scopes,
    )
    answer = connections.send(repository, call, accept=(200, 404))
    if answer.status != 200:
        return None
    length = header_text(answer.headers, "Content-Length")
    return FoundBlob(size=int(length) if _LENGTH.fullmatch(length) else None)
