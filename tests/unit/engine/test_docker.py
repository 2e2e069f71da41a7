"""What the engine is asked before any work, against a local server that answers as Docker's API does."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from builder.engine.docker import DockerEngine
from builder.errors import EngineError

# What `docker info` says of the two image stores (Docker 28).
CONTAINERD = {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}


CLASSIC = {"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]]}


ServeInfo = Callable[[Mapping[str, object]], DockerEngine]


@pytest.fixture
def serve_info() -> Iterator[ServeInfo]:
    """Starts an engine whose `/info` is the given document."""
    servers: list[ThreadingHTTPServer] = []

    def serve(info: Mapping[str, object]) -> DockerEngine:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b"OK" if self.path == "/_ping" else json.dumps(info).encode()
                if self.path == "/version":
                    body = json.dumps({"ApiVersion": "1.51", "Version": "28.5.2"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return DockerEngine({"DOCKER_HOST": f"tcp://127.0.0.1:{server.server_port}"})

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_containerd_image_store_is_fine(serve_info: ServeInfo) -> None:
    serve_info(CONTAINERD).check()


def test_the_classic_image_store_is_refused_with_how_to_change_it(serve_info: ServeInfo) -> None:
    with pytest.raises(EngineError, match=r"image store \(overlay2\) cannot export") as raised:
        serve_info(CLASSIC).check()
    assert '{"features": {"containerd-snapshotter": true}}' in raised.value.hint
    assert "docker buildx create" in raised.value.hint
