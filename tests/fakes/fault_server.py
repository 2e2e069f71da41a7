"""A loopback HTTP server that answers as a test says, faults included; and the least of a registry to put behind it."""

import hashlib
import re
import socket
import struct
import threading
import urllib.parse
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes = b""

    @property
    def authorization(self) -> str:
        return self.headers.get("Authorization", "")

    @property
    def form(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.body.decode()))


@dataclass(frozen=True)
class Reply:
    """An answer. With `sent`, only so many bytes of the body follow its head before the connection ends."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None


@dataclass(frozen=True)
class Reset:
    """Take so many bytes of the request's body, or handle all of it if `handled`, then reset the connection."""

    after: int = 0
    handled: bool = False


@dataclass(frozen=True)
class Stall:
    """Say nothing until the server is closed."""


@dataclass(frozen=True)
class Drop:
    """Take the whole request, and end the connection without a word. With `late`, what it asks for is done with `deliver`."""

    late: bool = False


@dataclass(frozen=True)
class Endless:
    """Answer with a body that has no end, until the client leaves."""


@dataclass(frozen=True)
class Altered:
    """Do what is asked for, and answer with what this makes of the answer."""

    change: Callable[[Reply], Reply]


Fault = Reply | Reset | Stall | Drop | Endless | Altered


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """Without the look-up of our own name that HTTPServer makes, which takes longer than a whole test."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave in the middle are part of the tests; what else goes wrong, they notice by the answer."""


class FaultServer:
    """Answers with `respond`, but for the faults that are queued; `received` has the requests in order."""

    def __init__(self, respond: Callable[[Received], Reply]) -> None:
        self.respond = respond
        self.received: list[Received] = []
        self.closing = threading.Event()
        self._late: list[Received] = []
        self._faults: list[tuple[str, str, Fault]] = []
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def inject(self, method: str, path: str, *faults: Fault) -> None:
        """Answer the next requests of this method, whose path has this pattern in it, with these; one each."""
        self._faults += [(method, path, fault) for fault in faults]

    def requests(self, method: str, path: str = "") -> list[Received]:
        """What arrived of this method with this pattern in its path."""
        with self._lock:
            return [r for r in self.received if r.method == method and re.search(path, r.path)]

    def take_fault(self, method: str, path: str) -> Fault | None:
        with self._lock:
            for index, (wanted, pattern, fault) in enumerate(self._faults):
                if wanted == method and re.search(pattern, path):
                    del self._faults[index]
                    return fault
        return None

    def keep(self, received: Received) -> None:
        """It has been on its way ever since its client was cut off."""
        with self._lock:
            self._late.append(received)

    def deliver(self) -> None:
        """Let all that is still on its way arrive; nobody hears the answers."""
        with self._lock:
            late, self._late = self._late, []
        for received in late:
            self.respond(received)

    def record(self, received: Received) -> None:
        with self._lock:
            self.received.append(received)

    @contextmanager
    def running(self) -> Iterator["FaultServer"]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fault_server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are two writes; the second would wait 40 ms for the client to acknowledge the first.
            disable_nagle_algorithm = True

            def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - do_GET and so on
                if name.startswith("do_"):
                    return lambda: _handle(self, fault_server)
                raise AttributeError(name)

            def log_message(self, format: str, *args: object) -> None:
                """The test says what it saw."""

        return Handler


def _handle(handler: BaseHTTPRequestHandler, server: FaultServer) -> None:
    try:
        path, _, query = handler.path.partition("?")
        fault = server.take_fault(handler.command, path)
        length = int(handler.headers.get("Content-Length") or 0)
        if isinstance(fault, Reset) and not fault.handled:
            length = min(length, fault.after)
        received = Received(
            handler.command,
            path,
            dict(urllib.parse.parse_qsl(query)),
            handler.headers,
            handler.rfile.read(length),
        )
        server.record(received)
        if isinstance(fault, Stall):
            server.closing.wait()
            handler.close_connection = True
        elif isinstance(fault, Reset):
            if fault.handled:
                server.respond(received)
            _reset(handler)
        elif isinstance(fault, Drop):
            if fault.late:
                server.keep(received)
            handler.close_connection = True
        elif isinstance(fault, Endless):
            _send_without_end(handler)
        elif isinstance(fault, Altered):
            _send(handler, fault.change(server.respond(received)))
        else:
            _send(handler, fault or server.respond(received))
    except ConnectionError:
        handler.close_connection = True


def _send(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
    handler.send_response(reply.status)
    if not any(name.lower() == "content-length" for name in reply.headers):
        handler.send_header("Content-Length", str(len(reply.body)))
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(reply.body if reply.sent is None else reply.body[: reply.sent])
    if reply.sent is not None:
        handler.close_connection = True


def _send_without_end(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    while True:
        handler.wfile.write(bytes(1 << 16))


def _reset(handler: BaseHTTPRequestHandler) -> None:
    # A linger time of 0 makes closing send RST.
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    raise ConnectionResetError


class TinyRegistry:
    """Enough of a registry to take an image: OCI distribution-spec v1.1, without its checks."""

    def __init__(self) -> None:
        self.blobs: dict[str, dict[str, bytes]] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.sessions = 0
        self.upload_base = ""

    def __call__(self, received: Received) -> Reply:
        if match := re.fullmatch(r"/v2/(.+)/blobs/uploads/(.*)", received.path):
            return self._upload(received, match[1], match[2])
        if match := re.fullmatch(r"/v2/(.+)/blobs/(sha256:.+)", received.path):
            blob = self.blobs.get(match[1], {}).get(match[2])
            return Reply(200, blob) if blob is not None else error_reply(404, "BLOB_UNKNOWN", "blob unknown")
        if match := re.fullmatch(r"/v2/(.+)/manifests/(.+)", received.path):
            return self._manifest(received, f"{match[1]}:{match[2]}")
        return error_reply(404, "NAME_UNKNOWN", "no such thing")

    def _upload(self, received: Received, repository: str, session: str) -> Reply:
        blobs = self.blobs.setdefault(repository, {})
        if received.method == "POST":
            wanted = received.query.get("mount", "")
            source = self.blobs.get(received.query.get("from", ""), {})
            if wanted in source:
                blobs[wanted] = source[wanted]
                return Reply(201)
            self.sessions += 1
            where = f"{self.upload_base}/v2/{repository}/blobs/uploads/{self.sessions}?state=a%3Db"
            return Reply(202, headers={"Location": where})
        digest = "sha256:" + hashlib.sha256(received.body).hexdigest()
        if received.query.get("digest") != digest or received.query.get("state") != "a=b":
            return error_reply(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        blobs[digest] = received.body
        return Reply(201, headers={"Docker-Content-Digest": digest})

    def _manifest(self, received: Received, name: str) -> Reply:
        if received.method == "PUT":
            self.manifests[name] = (received.headers["Content-Type"], received.body)
            return Reply(201)
        if received.method == "DELETE":
            return Reply(202) if self.manifests.pop(name, None) else error_reply(404, "MANIFEST_UNKNOWN", "unknown")
        if name not in self.manifests:
            return error_reply(404, "MANIFEST_UNKNOWN", "manifest unknown")
        media_type, content = self.manifests[name]
        return Reply(200, content, {"Content-Type": media_type})


class TokenService:
    """Puts a token service before a registry, on the same server. It gives out `tokens` in order.

    With a user it wants that password, or that identity token; without one it serves everybody.
    """

    def __init__(self, registry: Callable[[Received], Reply], *, user: str = "", password: str = "") -> None:
        self._registry = registry
        self._basic = "Basic " + b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._identity = password
        self.realm = ""
        self.valid: set[str] = set()
        self.expires_in = 300
        self._lock = threading.Lock()
        self._count = 0

    def __call__(self, received: Received) -> Reply:
        if received.path == "/token":
            return self._give_token(received)
        if received.authorization.removeprefix("Bearer ") in self.valid:
            return self._registry(received)
        repository = received.path.removeprefix("/v2/").split("/blobs/")[0].split("/manifests/")[0]
        actions = "pull" if received.method in ("GET", "HEAD") else "pull,push"
        challenge = f'Bearer realm="{self.realm}",service="tests, and more",scope="repository:{repository}:{actions}"'
        reply = error_reply(401, "UNAUTHORIZED", "authentication required")
        return Reply(401, reply.body, {**reply.headers, "WWW-Authenticate": challenge})

    def _give_token(self, received: Received) -> Reply:
        if received.method == "POST":
            granted = not self._basic or received.form.get("refresh_token") == self._identity
            if not granted:
                return Reply(400, b'{"error":"invalid_grant","error_description":"stale"}')
        elif self._basic and received.authorization != self._basic:
            return error_reply(401, "UNAUTHORIZED", "incorrect username or password")
        with self._lock:
            self._count += 1
            token = f"token-{self._count}"
            self.valid.add(token)
        return Reply(200, f'{{"token":"{token}","expires_in":{self.expires_in}}}'.encode())


def error_reply(status: int, code: str, message: str) -> Reply:
    """An error as registries write it."""
    body = f'{{"errors":[{{"code":"{code}","message":"{message}"}}]}}'
    return Reply(status, body.encode(), {"Content-Type": "application/json"})
