"""The HTTP session that the registry client and the downloader share, and what its failures mean to a user."""

import functools
import ipaddress
import ssl
import urllib.parse
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH, select_proxy

from builder import __version__
from builder.errors import RequestError
from builder.net.failure import Failure, explain_failure
from builder.net.live_connections import LiveConnections, peer_name
from builder.net.patience import Patience
from builder.oci.reference import redact_url

CHUNK_BYTES = 256 * 1024
# Seconds to connect (and, in urllib3, for one write), and between two reads. A registry that has taken a large blob may
# be silent for a good while as it stores it.
TIMEOUTS = (20.0, 120.0)
_CONNECTIONS_PER_HOST = 32


def _go_on() -> None:
    """Interrupt nothing."""


def _not_at_all(_: float) -> None:
    """Wait for nothing."""


def _say_nothing(_: str) -> None:
    """Warn of nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """How long hosts are waited for, what ends it sooner, and who is told what they warn of.

    `check_interrupted`, asked before each request and between chunks, raises Interrupted. `timeouts` are the seconds to
    connect and between two reads; `patience` is how long each host may be silent in all, whatever is asked of it.
    `sleep(seconds)` is how a host is waited for that asks us to; it ends with the run, and raises Interrupted then.
    """

    check_interrupted: Callable[[], None] = _go_on
    timeouts: tuple[float, float] = TIMEOUTS
    patience: Patience = field(default_factory=Patience)
    sleep: Callable[[float], None] = _not_at_all
    warn: Callable[[str], None] = _say_nothing


class _TrustingAdapter(HTTPAdapter):
    """Trusts what the system trusts, as Docker and git do, and not only what requests brings along.

    Its connections are those of `live`, and no request waits longer than the patience with its host lasts.
    """

    def __init__(self, live: LiveConnections, certificates: Path | None = None) -> None:
        # Before the rest, which makes the pools.
        self._live = live
        self._certificates = certificates
        super().__init__(pool_maxsize=_CONNECTIONS_PER_HOST)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:  # noqa: ANN401 - as in requests
        """Make pools of our connections."""
        super().init_poolmanager(*args, **more)
        self.poolmanager.pool_classes_by_scheme = self._live.pool_classes()

    def proxy_manager_for(self, proxy: Any, **more: Any) -> Any:  # noqa: ANN401 - as in requests
        """The same through a proxy; one that speaks SOCKS has connections of its own."""
        manager = super().proxy_manager_for(proxy, **more)
        if not str(proxy).lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._live.pool_classes()
        return manager

    def send(  # type: ignore[override]
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,  # noqa: ANN401 - as in requests
        **more: Any,  # noqa: ANN401 - as in requests
    ) -> requests.Response:
        """One request, of a redirect too. Raises HostSilent for a host that has been given up."""
        peer = _peer(str(request.url))
        with self._live.patience.asking(peer) as left:
            connect, read = timeout
            response = super().send(request, stream, (min(connect, left), min(read, left)), **more)
        self._live.patience.hear(peer)
        return response

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: str | tuple[str, str] | None = None
    ) -> Any:  # noqa: ANN401 - a private type of the stubs
        """Connect with our own context."""
        host, pool = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":
            pool["ssl_context"] = _tls_context(self._certificates)
        return host, pool

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:  # noqa: ANN401 - urllib3's own
        """As requests does it, but what it brings along is in our context already: reading it takes 20 ms each time."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        if verify is True:
            conn.ca_certs = None


@functools.cache
def _tls_context(certificates: Path | None) -> ssl.SSLContext:
    """Made at its first use, for it takes 80 ms; plain HTTP to this machine needs none."""
    context = ssl.create_default_context()
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    if certificates:
        _load_certificates(context, certificates)
    return context


class HttpSession(requests.Session):
    """A pooled session for many threads. It never keeps cookies, and never sends credentials to another host.

    `use_netrc` says whether credentials may come from netrc; a registry's come from Docker's configuration alone.
    `host` is trusted as Docker does: by `*.crt`, and with a client certificate `*.cert` and `*.key`, in `certificates`.
    Requests raise RequestError where one of these files is no certificate, and HostSilent where the `patience` with a
    host is at its end. Each needs a `timeout` to connect and to read.
    """

    def __init__(
        self,
        *,
        use_netrc: bool,
        host: str = "",
        certificates: Path | None = None,
        patience: Patience | None = None,
    ) -> None:
        super().__init__()
        self._use_netrc = use_netrc
        self._settings: dict[tuple[object, ...], Any] = {}
        self._patience = patience or Patience()
        self._live = LiveConnections(self._patience)
        # Bytes are hashed as they lie on the server, so nothing may be compressed on the way.
        self.headers.update({"User-Agent": f"istio-build/{__version__}", "Accept-Encoding": "identity"})
        # Harbor takes a client that returns its session cookie for a browser, and wants a CSRF token from it.
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.mount("https://", _TrustingAdapter(self._live))
        self.mount("http://", _TrustingAdapter(self._live))
        if host and certificates and certificates.is_dir():
            self.mount(f"https://{host}/", _TrustingAdapter(self._live, certificates))

    def abort(self) -> None:
        """End all requests, from any thread: each raises an error at once, and so do those that come later."""
        self._live.abort()

    def explain(self, url: str, error: Exception) -> Failure:
        """What a failed request to this URL means, and whether its host has now been silent for too long.

        Where nothing listens at a host that has never answered, most often its name or port is wrong. One that has answered
        may be restarting.
        """
        failure = explain_failure(error)
        if failure.refused and not self._patience.has_heard(_peer(url)):
            failure = replace(failure, brief=True)
        given_up = self._patience.give_up(_peer(url)) if failure.silent else ""
        return Failure(text=given_up, hint=failure.hint, silent=True) if given_up else failure

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: bool | str | None,
        cert: str | tuple[str, str] | None,
    ) -> Any:  # noqa: ANN401 - a private type of the stubs
        """As requests does it, but this machine is never reached through a proxy (as in Go, and so in Docker).

        The environment is looked through once for each host: it does not change in a run, and that takes 2 ms each time.
        """
        place = urllib.parse.urlsplit(str(url))
        key = (place.scheme, place.netloc, stream, verify, cert)
        if proxies or key not in self._settings:
            settings = super().merge_environment_settings(url, proxies, stream, verify, cert)
            if is_loopback(place.hostname or ""):
                settings["proxies"] = {}
            if proxies:
                return settings
            self._settings[key] = settings
        return {**self._settings[key], "proxies": dict(self._settings[key]["proxies"])}

    def proxy_for(self, url: str) -> str:
        """The proxy through which this URL is asked, without its password; "" where it is asked directly."""
        settings = self.merge_environment_settings(url, {}, False, None, None)
        return redact_url(select_proxy(url, settings["proxies"]) or "")

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Drop credentials when redirected to another host; without netrc, look for no others there."""
        if self._use_netrc:
            super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        elif origin(str(response.request.url)) != origin(str(prepared_request.url)):
            prepared_request.headers.pop("Authorization", None)


def is_loopback(host: str) -> bool:
    """Whether this host name or address, without a port, is this machine: what Docker talks plain HTTP to."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port: who is trusted with a credential. Raises ValueError for a malformed URL."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or (443 if parts.scheme == "https" else 80)


def _peer(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return peer_name(parts.hostname or "", parts.port)


def _load_certificates(context: ssl.SSLContext, directory: Path) -> None:
    for path in sorted(directory.iterdir()):
        try:
            if path.suffix == ".crt":
                context.load_verify_locations(cafile=path)
            elif path.suffix == ".cert":
                context.load_cert_chain(path, path.with_suffix(".key"))
        except (OSError, ssl.SSLError) as error:
            raise RequestError(f"cannot use the certificate {path}: {error}") from error


def header_text(headers: Mapping[str, str], name: str) -> str:
    """A header's value without parameters, in lower case; "" where there is none."""
    return headers.get(name, "").split(";", 1)[0].strip().lower()
