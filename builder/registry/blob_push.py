"""A blob on its way to a registry: found, mounted or sent (distribution-spec, "Pushing blobs")."""

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from builder.errors import AccessDenied, RegistryError
from builder.net.session import header_text
from builder.oci.manifest import Descriptor, FoundBlob
from builder.oci.reference import Digest, Repository
from builder.ports import UploadOutcome
from builder.registry.auth import pull_scope, push_scope
from builder.registry.checks import check_stored
from builder.registry.connection import Call, RegistryConnections, Upload, with_digest
from builder.registry.response import Answer

# A registry that so answers a PUT of the whole blob may still take it by PATCH, as Docker sends it.
_NO_WHOLE_UPLOADS = (405, 501)
_LENGTH = re.compile(r"[0-9]{1,18}")


class BlobPush:
    """Sends one blob to one repository. `open_body` is called only where it has to be sent, and once for all tries."""

    def __init__(
        self,
        connections: RegistryConnections,
        repository: Repository,
        descriptor: Descriptor,
        open_body: Callable[[], Upload],
    ) -> None:
        self._connections = connections
        self._repository = repository
        self._digest = descriptor.digest
        self._open_body = open_body
        self._body: Upload | None = None
        self._start = Call(
            act=f"upload blob {descriptor.digest.short} ({descriptor.size} bytes) to {repository}",
            method="POST",
            url=f"{repository.path}/blobs/uploads/",
            scopes=push_scope(repository),
        )

    def attempt(self, mount_from: Sequence[Repository]) -> UploadOutcome:
        """Try it once, with all that this takes."""
        if self._body:
            self._body.seek(0)
        # A failed try may have arrived all the same, with only its answer lost: so look each time.
        if find_blob(self._connections, self._repository, self._digest, self._start.scopes):
            return UploadOutcome.PRESENT
        mount = self._mount(mount_from)
        if mount and mount[1].status == 201:
            return UploadOutcome.MOUNTED
        # Before an upload is begun, which the registry may not keep open for as long as it takes to get the content.
        self._body = self._body or self._open_body()
        call, session = mount or (self._start, self._send(self._start, accept=(202,)))
        self._upload(call, session, self._body)
        return UploadOutcome.UPLOADED

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
                answer = self._connections.to(self._repository).send(mount)
                if answer.status in (201, 202):
                    return mount, answer
        return None

    def _find_mountable(self, candidates: Sequence[Repository]) -> Repository | None:
        """The first that has the blob. Asking first leaves no upload sessions behind, as failed mounts would."""
        for candidate in candidates:
            if candidate.registry != self._repository.registry or candidate == self._repository:
                continue
            try:
                if find_blob(self._connections, candidate, self._digest, pull_scope(candidate)):
                    return candidate
            except AccessDenied:
                continue
        return None

    def _upload(self, started: Call, session: Answer, body: Upload) -> None:
        """Send the blob into an upload session: section "POST then PUT", and PATCH between where PUT takes no body."""
        location = self._locate(session)
        whole = Call(
            act=started.act,
            method="PUT",
            url=with_digest(location, self._digest),
            scopes=started.scopes,
            headers={"Content-Type": "application/octet-stream"},
            body=body,
        )
        answer = self._send(whole, accept=(201, 204, *_NO_WHOLE_UPLOADS))
        if answer.status in _NO_WHOLE_UPLOADS:
            body.seek(0)
            patched = self._send(replace(whole, method="PATCH", url=location), accept=(202,))
            end = replace(whole, url=with_digest(self._locate(patched), self._digest), body=None)
            answer = self._send(end, accept=(201, 204))
        check_stored(started.act, self._digest, answer)

    def _locate(self, session: Answer) -> str:
        location = self._connections.to(self._repository).resolve_location(session)
        if not location:
            message = f"cannot {self._start.act}: the registry names no place to upload to"
            raise RegistryError(message, status=session.status)
        return location

    def _send(self, call: Call, *, accept: tuple[int, ...]) -> Answer:
        return self._connections.send(self._repository, call, accept=accept)


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
