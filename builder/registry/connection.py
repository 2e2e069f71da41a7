"""One registry: where it is reached, how, and with which credentials. Sends single requests; retries nothing."""

import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import requests
import urllib3

from builder.errors import RegistryError
from builder.net.failure import shows_certificate
from builder.net.pace import Pace
from builder.net.session import CHUNK_BYTES, HttpSession, Waiting, is_loopback, origin
from builder.net.temporary import now_utc, read_date
from builder.oci.reference import Digest, redact_url
from builder.registry.auth import Authorizer, CredentialSource
from builder.registry.response import (
    Answer,
    ClosedAtOnce,
    SpeaksTls,
    is_asked_too_much,
    lost,
    refusal,
    retry_after_of,
    warnings_of,
)
from builder.registry.upload import Upload
from builder.runtime.retry import RetryableError

# Docker Hub is called docker.io and answers elsewhere: https://docs.docker.com/registry/spec/api/
_DOCKER_HUB = ("docker.io", "index.docker.io")
_DOCKER_HUB_API = "registry-1.docker.io"
_ERROR_BYTES = 64 * 1024
_LONGEST_SHOWN = 200
_MOST_WARNINGS = 20
_PROBE_SECONDS = (2.0, 5.0)


class Receiver(Protocol):
    """Takes a body that is too large to be kept in memory."""

    def start(self, status: int, headers: Mapping[str, str]) -> None:
        """A body comes now, whole (200) or in part (206)."""
        ...

    def take(self, chunk: bytes) -> None:
        """Some more of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `act` says what it is for, as in `cannot <act>: …`; `scopes` are those of a token for it.

    `url` is a path below /v2/, or an absolute URL that the registry gave. At most `limit` bytes of the body are read; a
    `receiver` is given the body of an answer that holds what was asked for.
    """

    act: str
    method: str
    url: str
    scopes: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Upload | bytes | None = None
    limit: int = _ERROR_BYTES
    receiver: Receiver | None = None


class _Authorization(requests.auth.AuthBase):
    """Sets just this header; being there, it also keeps requests from reading netrc."""

    def __init__(self, header: str) -> None:
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._header:
            request.headers["Authorization"] = self._header
        return request


class RegistryConnection:
    """Sends requests to one registry and logs in where it asks for it. For many threads at once.

    `clock_ahead` is by how many seconds its clock was ahead of ours at its last answer, None where it has not said.
    """

    def __init__(
        self,
        host: str,
        *,
        plain: bool,
        credentials: CredentialSource,
        certificates: Path,
        waiting: Waiting,
        clock: Callable[[], float],
    ) -> None:
        address = _DOCKER_HUB_API if host in _DOCKER_HUB else host
        self.host = host
        self.base = f"{'http' if plain else 'https'}://{address}/v2/"
        self._session = HttpSession(use_netrc=False, host=address, certificates=certificates / address, patience=waiting.patience)
        self._authorizer = Authorizer(host, credentials, self._request_token, clock)
        self._waiting = waiting
        self._pace = Pace(waiting.sleep, longest=waiting.patience.seconds, clock=clock)
        self._warnings: set[str] = set()
        self.clock_ahead: float | None = None
        # Docker has registries on this machine speak either; which one, the first answer tells.
        self._may_speak_tls = plain and is_loopback(urllib.parse.urlsplit(self.base).hostname or "")

    def send(self, call: Call) -> Answer:
        """The registry's answer, whatever its status; a 401 only where logging in did not help.

        Raises RegistryError, AccessDenied, RetryableError or Interrupted.
        """
        if self._may_speak_tls:
            try:
                answer = self._send(call)
                if not answer.speaks_tls:
                    self._may_speak_tls = False
                    return answer
            except SpeaksTls:
                pass
            except RetryableError as failure:
                if not (isinstance(failure.error, ClosedAtOnce) and self._takes_tls()):
                    raise
            self.base = self._tls_base
            if isinstance(call.body, Upload):
                call.body.seek(0)
        return self._send(call)

    @property
    def _tls_base(self) -> str:
        return self.base.replace("http://", "https://", 1)

    def _takes_tls(self) -> bool:
        try:
            self._session.head(self._tls_base, auth=_Authorization(""), timeout=_PROBE_SECONDS, allow_redirects=False).close()
        except (requests.RequestException, OSError) as error:
            return shows_certificate(error)
        return True

    def _send(self, call: Call) -> Answer:
        url = urllib.parse.urljoin(self.base, call.url)
        # An upload may go to a storage service elsewhere; it is not to see what the registry is told.
        is_registry = origin(url) == origin(self.base)
        sent = self._authorizer.header(call.scopes) if is_registry else ""
        answer = self._exchange(call, url, sent)
        if answer.status != 401 or origin(answer.url) != origin(self.base):
            return answer
        header = self._authorizer.answer(call.act, call.scopes, sent, answer)
        if not header:
            return answer
        if isinstance(call.body, Upload):
            call.body.seek(0)
        return self._exchange(call, url, header)

    def abort(self) -> None:
        """End all requests to it, from any thread: once the run is interrupted, they raise Interrupted at once."""
        self._session.abort()

    def refusal(self, call: Call, answer: Answer) -> RegistryError | RetryableError:
        """The exception to raise for this answer."""
        return refusal(call.act, self.host, answer, had_credentials=self._authorizer.is_personal(call.scopes))

    def resolve_location(self, answer: Answer) -> str:
        """Where an answer's Location header points to; "" where it has none. It may be relative.

        Raises RegistryError for one that is no address.
        """
        location = answer.headers.get("Location", "")
        if not location:
            return ""
        try:
            parts = urllib.parse.urlsplit(urllib.parse.urljoin(answer.url, location))
            origin(parts.geturl())
        except ValueError as error:
            raise RegistryError(
                f"the registry {self.host} names a place that is no address: {redact_url(location[:_LONGEST_SHOWN])!r} ({error})",
                hint="The registry, or a proxy before it, sends a malformed Location header.",
                status=answer.status,
            ) from error
        base = urllib.parse.urlsplit(self.base)
        if parts.scheme == "http" and base.scheme == "https" and parts.netloc == base.netloc:
            # A registry behind a proxy that ends TLS often does not know that it is reached by HTTPS.
            parts = parts._replace(scheme="https")
        return parts.geturl()

    def _exchange(self, call: Call, url: str, authorization: str) -> Answer:
        headers = dict(call.headers)
        body: Upload | bytes | None = call.body
        if isinstance(body, Upload) and not len(body):
            # requests sends an empty stream in chunks, and registries want a length.
            body = b""
        if not body and call.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = "0"
        return self._request(
            call.act,
            requests.Request(
                call.method,
                url,
                params=list(call.query),
                headers=headers,
                data=body,
                auth=_Authorization(authorization),
            ),
            limit=call.limit,
            receiver=call.receiver,
        )

    def _request_token(
        self,
        act: str,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        authorization: str = "",
    ) -> Answer:
        request = requests.Request(method, url, params=query, data=form, auth=_Authorization(authorization))
        return self._request(act, request, limit=_ERROR_BYTES, redirects=method == "GET")

    def _request(
        self,
        act: str,
        request: requests.Request,
        *,
        limit: int,
        redirects: bool = True,
        receiver: Receiver | None = None,
    ) -> Answer:
        self._waiting.check_interrupted()
        method, url = str(request.method), str(request.url)
        try:
            prepared = self._session.prepare_request(request)
            settings = self._session.merge_environment_settings(prepared.url, {}, True, None, None)
            with self._pace.turn() as began:
                # It may have been a while.
                self._waiting.check_interrupted()
                with self._session.send(
                    prepared, timeout=self._waiting.timeouts, allow_redirects=redirects, **settings
                ) as response:
                    content = self._take(response, limit, receiver)
                refused = is_asked_too_much(response.status_code, response.headers)
                self._pace.hear(began, refused=refused, retry_after=retry_after_of(response.headers))
        # ValueError is what a redirect to no address, such as `http://[::1/x`, ends in.
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            # An aborted request is not a lost one.
            self._waiting.check_interrupted()
            raise lost(act, method, url, self._session.explain(url, error)) from error
        self._tell_warnings(response.headers)
        date = read_date(response.headers.get("Date", ""))
        if date is not None and origin(str(response.request.url)) == origin(self.base):
            self.clock_ahead = date - now_utc()
        return Answer(
            # Of the last request, where there was a redirect: what an error message has to name.
            method=str(response.request.method),
            url=response.url,
            status=response.status_code,
            headers=response.headers,
            content=content,
        )

    def _take(self, response: requests.Response, limit: int, receiver: Receiver | None) -> bytes:
        """The body; what a receiver is given is not kept."""
        if receiver is None or response.status_code not in (200, 206):
            return self._read(response, limit)
        receiver.start(response.status_code, response.headers)
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            self._waiting.check_interrupted()
            receiver.take(chunk)
        return b""

    def _read(self, response: requests.Response, limit: int) -> bytes:
        """The body, one byte past the limit at most."""
        content = bytearray()
        for chunk in response.raw.stream(CHUNK_BYTES, decode_content=False):
            self._waiting.check_interrupted()
            content += chunk
            if len(content) > limit:
                break
        return bytes(content[: limit + 1])

    def _tell_warnings(self, headers: Mapping[str, str]) -> None:
        """Each text once (distribution-spec v1.1, section "Warnings")."""
        for text in warnings_of(headers):
            if text not in self._warnings and len(self._warnings) < _MOST_WARNINGS:
                self._warnings.add(text)
                self._waiting.warn(f"the registry {self.host} warns: {text}")


def with_digest(location: str, digest: Digest) -> str:
    """The location, whose query belongs to the registry and must stay as it is, with the digest added."""
    parts = urllib.parse.urlsplit(location)
    query = f"{parts.query}&" if parts.query else ""
    return parts._replace(query=f"{query}{urllib.parse.urlencode({'digest': str(digest)})}").geturl()
