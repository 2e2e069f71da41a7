"""Connections for urllib3's pools that another thread can end at once, and that tell of every byte that moves.

A thread that waits in a look-up, in connecting, in a TLS handshake, in sending or in reading gets an error when they
are aborted. What is asked for here of urllib3 (pool_classes_by_scheme, ConnectionCls, _new_conn) is what its
documentation has for such ends: https://urllib3.readthedocs.io/en/stable/advanced-usage.html
"""

import contextlib
import functools
import http.client
import io
import socket
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, ClassVar

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError

from builder.net.patience import Patience

_POLL_SECONDS = 0.1
# One write of so much must succeed in time; a TLS record holds no more either.
_PIECE_BYTES = 16 * 1024
# A connection that nobody used for so long may have been forgotten by a router on the way, which then swallows all.
_STALE_SECONDS = 50.0
# What the resolver says of a name that there is not, or that has no address (getaddrinfo(3)). EAI_NODATA is not everywhere.
_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
# A peer that has gone without a word is noticed before a silence becomes long: it does not even confirm what it gets.
_DEAD_PEER_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 5),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
)


class LiveConnections:
    """The sockets of one session. For many threads at once."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._aborted = False

    def abort(self) -> None:
        """End all of them, and those that begin later. Whoever waits on one gets an error."""
        with self._lock:
            self._aborted = True
            live = list(self._sockets)
        for each in live:
            with contextlib.suppress(OSError):
                # Not SSLSocket's own, which takes apart what another thread is reading with.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    def add(self, new: socket.socket) -> None:
        """End this one too when asked to. Raises ConnectionAbortedError where that has been asked already."""
        with self._lock:
            self._sockets.add(new)
        self.check()

    def check(self) -> None:
        """Raises ConnectionAbortedError after `abort`."""
        if self._aborted:
            raise ConnectionAbortedError("the run has been interrupted")

    def pool_classes(self) -> dict[str, Any]:
        """What a PoolManager makes its pools of, by scheme."""
        return {
            "http": _bind(HTTPConnectionPool, _PlainConnection, self),
            "https": _bind(HTTPSConnectionPool, _TlsConnection, self),
        }


def _bind(pool: type[HTTPConnectionPool], connection: "type[_Live]", live: LiveConnections) -> type[HTTPConnectionPool]:
    bound = type(connection.__name__, (connection,), {"live": live})
    return type(pool.__name__, (pool,), {"ConnectionCls": bound})


class _Live(HTTPConnection):
    """Where our own goes in between urllib3's steps."""

    live: ClassVar[LiveConnections]
    _used = 0.0

    @property
    def peer(self) -> str:
        return peer_name(self._tunnel_host or self.host, self.port)

    @property
    def response_class(self) -> Any:  # type: ignore[override]  # noqa: ANN401 - what makes one, not a class
        return functools.partial(_HeardResponse, self.live, self.peer)

    @property
    def is_connected(self) -> bool:
        """Whether it can be used once more."""
        return super().is_connected and time.monotonic() - self._used < _STALE_SECONDS

    def connect(self) -> None:
        """Connect, with the socket in reach of `abort` through the handshake too, which takes it apart."""
        self._raw: socket.socket | None = None
        try:
            super().connect()
            if isinstance(self.sock, socket.socket):
                self.live.add(self.sock)
        finally:
            if self._raw:
                self._raw.close()

    def _new_conn(self) -> socket.socket:
        self.live.check()
        found: Future[socket.socket] = Future()
        # A look-up cannot be ended, only left alone.
        threading.Thread(target=_fulfil, args=(found, super()._new_conn), daemon=True).start()
        limit = time.monotonic() + max(self.live.patience.seconds, float(self.timeout or 0))
        while not wait([found], timeout=_POLL_SECONDS).done:
            if time.monotonic() > limit:
                found.add_done_callback(_close)
                raise ConnectTimeoutError(self, "no connection in time")
            try:
                self.live.check()
            except ConnectionAbortedError:
                found.add_done_callback(_close)
                raise
        connected = found.result()
        for level, name, value in _DEAD_PEER_OPTIONS:
            if hasattr(socket, name):
                connected.setsockopt(level, getattr(socket, name), value)
        self._raw = connected.dup()
        self.live.add(self._raw)
        return connected

    def send(self, data: Any) -> None:  # noqa: ANN401 - as in the standard library
        """Send; a long body in pieces, each of which may take as long as a silence."""
        if not isinstance(data, bytes) or len(data) <= _PIECE_BYTES or self.sock is None:
            super().send(data)
            return
        self.sock.settimeout(self.live.patience.seconds)
        view = memoryview(data)
        for start in range(0, len(data), _PIECE_BYTES):
            super().send(view[start : start + _PIECE_BYTES])
            self.live.patience.hear(self.peer)

    def getresponse(self) -> Any:  # noqa: ANN401 - urllib3's own
        """The answer's head."""
        response = super().getresponse()
        self._used = time.monotonic()
        return response


class _PlainConnection(_Live):
    pass


class _TlsConnection(_Live, HTTPSConnection):
    pass


class _HeardResponse(http.client.HTTPResponse):
    """Tells of what is read, and takes the end of an aborted connection for no end of a body."""

    def __init__(self, live: LiveConnections, peer: str, sock: socket.socket, **more: Any) -> None:  # noqa: ANN401
        super().__init__(sock, **more)
        self.fp = io.BufferedReader(_Heard(live, peer, self.fp.detach()))


class _Heard(io.RawIOBase):
    def __init__(self, live: LiveConnections, peer: str, raw: io.RawIOBase) -> None:
        self._live = live
        self._peer = peer
        self._raw = raw

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._raw.fileno()

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        count: int | None = self._raw.readinto(buffer)
        if count:
            self._live.patience.hear(self._peer)
        else:
            self._live.check()
        return count

    def close(self) -> None:
        super().close()
        self._raw.close()


def is_lookup_failure(cause: BaseException) -> bool:
    """Whether this says that a host name could not be looked up."""
    return isinstance(cause, socket.gaierror)


def says_no_such_name(cause: BaseException) -> bool:
    """Whether this says that there is no such host name, or none with an address: asking again does not help."""
    return isinstance(cause, socket.gaierror) and cause.errno in _NO_SUCH_NAME


def peer_name(host: str, port: int | None) -> str:
    """How a host is called in messages, and known to its clock: without the usual ports."""
    name = host.strip("[]").lower()
    name = f"[{name}]" if ":" in name else name
    return name if port in (None, 80, 443) else f"{name}:{port}"


def _fulfil(found: "Future[socket.socket]", connect: Callable[[], socket.socket]) -> None:
    try:
        found.set_result(connect())
    except BaseException as error:  # Whatever it is, it is for who waits.
        found.set_exception(error)


def _close(found: "Future[socket.socket]") -> None:
    """A connection that nobody waits for any more."""
    if not found.exception():
        found.result().close()
