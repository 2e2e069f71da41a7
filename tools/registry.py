"""A small OCI registry on loopback, for the demo and for tests where none is installed: distribution-spec v1.1.

It keeps what a registry promises: a blob is its digest, a manifest is taken only once all that it names is in its
repository, and tags move in one step. It has no login, no encryption and no memory: what was pushed goes with it.
`tests/contract/test_registry.py` holds it to what the CNCF's own does.
"""

import hashlib
import json
import re
import shutil
import socket
import threading
import urllib.parse
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from pathlib import Path
from socketserver import TCPServer

_BLOCK = 1 << 20
_TLS_HANDSHAKE = b"\x16"
_LARGEST_MANIFEST = 4 << 20
_NAME = r"(?P<name>[a-z0-9][a-z0-9._/-]*)"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Refused(Exception):
    """A request that cannot be met: its status, and the code that the specification has for it."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(slots=True)
class _Repository:
    """What one repository has: blobs by digest (their bytes are in the store), manifests by digest, tags."""

    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


class Store:
    """All repositories: blobs as files below a directory, everything else in memory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._repositories: defaultdict[str, _Repository] = defaultdict(_Repository)
        self._uploads: dict[str, str] = {}
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)

    def blob(self, name: str, digest: str) -> Path:
        """The file of a blob that this repository has. Raises Refused."""
        with self._lock:
            if digest not in self._repositories[name].blobs:
                raise Refused(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", f"{name} has no blob {digest}")
        return self._file(digest)

    def mount(self, name: str, digest: str, source: str) -> bool:
        """Whether the blob of another repository is this one's now, too."""
        with self._lock:
            if digest not in self._repositories[source].blobs:
                return False
            self._repositories[name].blobs.add(digest)
            return True

    def begin_upload(self, name: str) -> str:
        """A new upload's id."""
        upload = uuid.uuid4().hex
        with self._lock:
            self._uploads[upload] = name
        self._part(upload).touch()
        return upload

    def append(self, name: str, upload: str, body: BufferedIOBase, length: int) -> int:
        """Take so many bytes more, and give how many there are now. Raises Refused."""
        with self._lock:
            if self._uploads.get(upload) != name:
                raise Refused(HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", f"no upload {upload} to {name}")
        with self._part(upload).open("ab") as file:
            while length and (block := body.read(min(_BLOCK, length))):
                file.write(block)
                length -= len(block)
            if length:
                raise ConnectionError("the client left in the middle")
            return file.tell()

    def finish_upload(self, name: str, upload: str, digest: str) -> None:
        """Make a blob of an upload. Raises Refused where it is not the digest that its sender says."""
        part = self._part(upload)
        with part.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        if found != digest:
            part.unlink()
            raise Refused(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", f"what came is {found}, not {digest or 'without a digest'}")
        part.replace(self._file(digest))
        with self._lock:
            del self._uploads[upload]
            self._repositories[name].blobs.add(digest)

    def manifest(self, name: str, key: str) -> tuple[str, str, bytes]:
        """Digest, media type and bytes of a manifest, by tag or digest. Raises Refused."""
        with self._lock:
            repository = self._repositories[name]
            digest = repository.tags.get(key, key)
            if digest not in repository.manifests:
                raise Refused(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", f"{name} has no manifest {key}")
            return (digest, *repository.manifests[digest])

    def put_manifest(self, name: str, key: str, media_type: str, content: bytes) -> str:
        """Keep a manifest, by its digest and perhaps a tag. Raises Refused where something that it names is missing."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        is_tag = _TAG.fullmatch(key) is not None
        if not is_tag and key != digest:
            raise Refused(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", f"this manifest is {digest}, not {key}")
        blobs, children = _named_by(content)
        with self._lock:
            repository = self._repositories[name]
            missing = [*(blobs - repository.blobs), *(children - repository.manifests.keys())]
            if missing:
                raise Refused(HTTPStatus.NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", f"{name} lacks {missing[0]}")
            repository.manifests[digest] = (media_type, content)
            if is_tag:
                repository.tags[key] = digest
        return digest

    def delete_manifest(self, name: str, key: str) -> None:
        """Take away a tag; or, by its digest, a manifest with all its tags. Raises Refused."""
        with self._lock:
            repository = self._repositories[name]
            gone: object = repository.tags.pop(key, None) or repository.manifests.pop(key, None)
            if gone:
                repository.tags = {tag: digest for tag, digest in repository.tags.items() if digest in repository.manifests}
                return
        raise Refused(HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", f"{name} has no manifest {key}")

    def tags(self, name: str) -> list[str]:
        """All tags of a repository, sorted."""
        with self._lock:
            return sorted(self._repositories[name].tags)

    def _file(self, digest: str) -> Path:
        return self._directory / digest.removeprefix("sha256:")

    def _part(self, upload: str) -> Path:
        return self._directory / f"{upload}.part"


def _named_by(content: bytes) -> tuple[set[str], set[str]]:
    """The digests of blobs, and of other manifests, that a manifest names. Raises Refused."""
    try:
        document = json.loads(content)
        children = {str(entry["digest"]) for entry in document.get("manifests", ())}
        parts = [document["config"], *document["layers"]] if "manifests" not in document else []
        return {str(part["digest"]) for part in parts}, children
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", f"no image and no index: {error!r}") from error


class _Handler(BaseHTTPRequestHandler):
    """One connection. Each route is a pattern, and a method by the HTTP method and its name."""

    protocol_version = "HTTP/1.1"
    # Head and body are two writes; the second would wait 40 ms for the client to acknowledge the first.
    disable_nagle_algorithm = True
    store: Store
    _routes = (
        (re.compile(r"/v2/"), "root"),
        (re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<key>[0-9a-f]*)"), "upload"),
        (re.compile(rf"/v2/{_NAME}/blobs/(?P<key>sha256:[0-9a-f]{{64}})"), "blob"),
        (re.compile(rf"/v2/{_NAME}/manifests/(?P<key>[^/]+)"), "manifest"),
        (re.compile(rf"/v2/{_NAME}/tags/(?P<key>list)"), "tags"),
    )

    def handle(self) -> None:
        """Docker tries TLS first, also on loopback, and goes on without where the answer is one of plain HTTP."""
        if self.connection.recv(1, socket.MSG_PEEK) != _TLS_HANDSHAKE:
            super().handle()
            return
        # What is not read makes closing a reset, and the answer is lost.
        self.connection.recv(_BLOCK)
        self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def _answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(url.query))
        self._left = int(self.headers.get("Content-Length") or 0)
        try:
            if self.headers.get("Transfer-Encoding"):
                raise Refused(HTTPStatus.LENGTH_REQUIRED, "SIZE_INVALID", "say how long the body is")
            self._find(url.path)()
        except Refused as refused:
            # What was not read of the body would be taken for the next request.
            self.close_connection = bool(self._left or self.headers.get("Transfer-Encoding"))
            body = json.dumps({"errors": [{"code": refused.code, "message": str(refused)}]}).encode()
            self._reply(refused.status, body, {"Content-Type": "application/json"})
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

    def _find(self, path: str) -> Callable[[], None]:
        for pattern, name in self._routes:
            match = pattern.fullmatch(path)
            if match is None:
                continue
            self.name, self.key = match.groupdict().get("name", ""), match.groupdict().get("key", "")
            method = "get" if self.command == "HEAD" else self.command.lower()
            found: Callable[[], None] | None = getattr(self, f"{method}_{name}", None)
            if found is None:
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "UNSUPPORTED", f"{self.command} is not for {path}")
            return found
        raise Refused(HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", f"there is nothing at {path}")

    def get_root(self) -> None:
        """Says that a registry is here."""
        self._reply(HTTPStatus.OK, b"{}", {"Docker-Distribution-Api-Version": "registry/2.0"})

    def get_tags(self) -> None:
        """Section "Listing tags", all on one page."""
        body = json.dumps({"name": self.name, "tags": self.store.tags(self.name)}).encode()
        self._reply(HTTPStatus.OK, body, {"Content-Type": "application/json"})

    def get_blob(self) -> None:
        """A blob, whole or from some byte on."""
        path = self.store.blob(self.name, self.key)
        size = path.stat().st_size
        headers = {"Docker-Content-Digest": self.key, "Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        first, last = (int(wanted[1]), min(int(wanted[2] or size - 1), size - 1)) if wanted else (0, size - 1)
        if wanted and first > last:
            headers["Content-Range"] = f"bytes */{size}"
            self._reply(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", headers)
            return
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        self._head(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK, last - first + 1, headers)
        if self.command == "GET":
            with path.open("rb") as file:
                self.connection.sendfile(file, first, last - first + 1) if size else None

    def post_upload(self) -> None:
        """Begin an upload, or take the blob of another repository in its place."""
        digest, source = self.query.get("mount", ""), self.query.get("from", "")
        if digest and self.store.mount(self.name, digest, source):
            self._created("blobs", digest)
            return
        upload = self.store.begin_upload(self.name)
        if "digest" in self.query:
            self._finish(upload)
            return
        self._reply(HTTPStatus.ACCEPTED, b"", {"Location": self._upload_url(upload), "Range": "0-0"})

    def patch_upload(self) -> None:
        """A part of a blob."""
        size = self._append(self.key)
        self._reply(HTTPStatus.ACCEPTED, b"", {"Location": self._upload_url(self.key), "Range": f"0-{max(size - 1, 0)}"})

    def put_upload(self) -> None:
        """The last part of a blob, or all of it."""
        self._finish(self.key)

    def get_manifest(self) -> None:
        """A manifest, with its digest in the head."""
        digest, media_type, content = self.store.manifest(self.name, self.key)
        self._reply(HTTPStatus.OK, content, {"Content-Type": media_type, "Docker-Content-Digest": digest})

    def put_manifest(self) -> None:
        """A manifest."""
        if self._left > _LARGEST_MANIFEST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", f"a manifest of {self._left} bytes")
        content = self.rfile.read(self._left)
        self._left = 0
        self._created("manifests", self.store.put_manifest(self.name, self.key, self.headers.get("Content-Type", ""), content))

    def delete_manifest(self) -> None:
        """A tag or a manifest, gone."""
        self.store.delete_manifest(self.name, self.key)
        self._reply(HTTPStatus.ACCEPTED, b"", {})

    def _append(self, upload: str) -> int:
        size = self.store.append(self.name, upload, self.rfile, self._left)
        self._left = 0
        return size

    def _finish(self, upload: str) -> None:
        self._append(upload)
        digest = self.query.get("digest", "")
        if not _DIGEST.fullmatch(digest):
            raise Refused(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", f"{digest or 'nothing'} is no sha256 digest")
        self.store.finish_upload(self.name, upload, digest)
        self._created("blobs", digest)

    def _upload_url(self, upload: str) -> str:
        return f"/v2/{self.name}/blobs/uploads/{upload}"

    def _created(self, kind: str, digest: str) -> None:
        headers = {"Location": f"/v2/{self.name}/{kind}/{digest}", "Docker-Content-Digest": digest}
        self._reply(HTTPStatus.CREATED, b"", headers)

    def _reply(self, status: HTTPStatus, body: bytes, headers: dict[str, str]) -> None:
        self._head(status, len(body), headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.flush()

    def log_message(self, format: str, *arguments: object) -> None:
        """Whoever asks sees the answer."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def server_bind(self) -> None:
        """Without the look-up of our own name that HTTPServer makes, which can take seconds."""
        TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in the middle is no error of ours."""


@contextmanager
def serving(directory: Path, port: int = 0) -> Iterator[str]:
    """Run a registry with its blobs below this directory, which goes with it; gives 127.0.0.1:PORT.

    Raises OSError where the port is taken.
    """
    handler = type("Handler", (_Handler,), {"store": Store(directory)})
    server = _Server(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        shutil.rmtree(directory, ignore_errors=True)
