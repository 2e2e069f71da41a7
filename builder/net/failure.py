"""What a request without an answer means to a user, and whether it may pass."""

import http.client
import re
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from builder.net.live_connections import is_lookup_failure, says_no_such_name
from builder.net.patience import HostSilent

# Where Docker keeps the certificate authorities of single registries:
# https://docs.docker.com/engine/security/certificates/
DOCKER_CERTIFICATES = Path("/etc/docker/certs.d")
_SILENCE_HINT = "Is the network slow, or a firewall in between? --timeout says how long is waited."
# What requests and, for bodies that are read as they lie on the server, urllib3 raise when a connection is lost.
_LOST_CONNECTION = (
    requests.ConnectionError,
    requests.exceptions.ChunkedEncodingError,
    urllib3.exceptions.ProtocolError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A request without an answer: what happened, what to do about it, and whether it may pass.

    `silent` says that nothing came for as long as was waited; `brief`, that it seldom passes (`RetryableError`);
    `speaks_tls`, that it wants TLS where it was spoken to without; `refused`, that nothing listens there;
    `closed`, that the connection was closed without a word.
    """

    text: str
    hint: str = ""
    temporary: bool = False
    silent: bool = False
    brief: bool = False
    speaks_tls: bool = False
    refused: bool = False
    closed: bool = False


def explain_failure(error: Exception) -> Failure:
    """What a failed request means. The text holds no URL: urllib3's own messages show query strings."""
    causes = tuple(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _explain_tls(cause)
        if isinstance(cause, http.client.BadStatusLine) and "\\x15\\x03" in repr(cause):
            return Failure(text="it answered plain HTTP with TLS", hint=speaks_tls_hint(), speaks_tls=True)
    if isinstance(error, HostSilent):
        return Failure(text=str(error), hint=_SILENCE_HINT, silent=True)
    text = _describe_root(causes)
    # A write that times out comes as a lost connection, with this as its cause.
    timeouts = requests.Timeout | urllib3.exceptions.TimeoutError
    if isinstance(error, timeouts) or any(isinstance(cause, TimeoutError) for cause in causes):
        return Failure(text="it did not answer in time", hint=_SILENCE_HINT, temporary=True, silent=True)
    brief, exists = any(map(is_lookup_failure, causes)), not any(map(says_no_such_name, causes))
    if isinstance(error, requests.exceptions.ProxyError):
        # The proxy's own refusals (407, 403) stay; that it cannot be reached may pass.
        refused = re.search(r"Tunnel connection failed: 4\d\d", text) is not None
        return Failure(
            text=f"proxy: {text}", hint="Look at HTTPS_PROXY and NO_PROXY.", temporary=exists and not refused, brief=brief
        )
    if isinstance(error, _LOST_CONNECTION):
        refused = any(isinstance(cause, ConnectionRefusedError) for cause in causes)
        closed = any(isinstance(cause, http.client.RemoteDisconnected) for cause in causes)
        return Failure(text=text, hint=_connection_hint(causes), temporary=exists, brief=brief, refused=refused, closed=closed)
    return Failure(text=text)


def shows_certificate(error: Exception) -> bool:
    """Whether a host has shown a certificate, though one that is not trusted."""
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error))


def speaks_tls_hint() -> str:
    """What to do about a server that wants HTTPS where we spoke plain HTTP."""
    return "It speaks HTTPS: leave it out of --insecure-registry."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and all it wraps, outermost first: urllib3 hides causes in arguments and attributes."""
    seen: list[BaseException] = []
    pending: list[object] = [error]
    while pending:
        cause = pending.pop(0)
        if isinstance(cause, BaseException) and not any(cause is other for other in seen):
            seen.append(cause)
            yield cause
            pending += [*cause.args, getattr(cause, "reason", None), cause.__cause__]


def _describe_root(causes: tuple[BaseException, ...]) -> str:
    for cause in reversed(causes):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return " ".join(str(causes[-1]).split())[:200] or type(causes[-1]).__name__


def _explain_tls(error: ssl.SSLError) -> Failure:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Failure(
            text=f"its TLS certificate is not trusted: {error.verify_message}",
            hint=(
                f"Put the certificate authority into the system's store, into {DOCKER_CERTIFICATES}/HOST/ca.crt "
                "(registries), or name it in REQUESTS_CA_BUNDLE."
            ),
        )
    reason = str(error.reason or error)
    # How OpenSSL before and since 3.2 names the first bytes of a plain HTTP answer.
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason.upper().replace(" ", "_"):
        return Failure(
            text="server gave HTTP response to HTTPS client",
            hint="If it is meant to speak plain HTTP, say so with --insecure-registry HOST[:PORT].",
        )
    return Failure(text=f"TLS failed: {reason}", temporary="EOF" in reason)


def _connection_hint(causes: tuple[BaseException, ...]) -> str:
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "Nothing listens there: is it running, and is the port right?"
    if any(map(is_lookup_failure, causes)):
        return "Is the host name right, and does DNS work here?"
    return ""
