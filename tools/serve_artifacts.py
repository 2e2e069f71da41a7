"""Serve a directory over HTTP on 127.0.0.1, with byte ranges, so that resumed downloads can be tried for real.

The standard library's own file server ignores Range.
"""

import argparse
import re
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RANGE = re.compile(r"bytes=(\d+)-(\d*)")
BLOCK = 1 << 20


class ArtifactHandler(SimpleHTTPRequestHandler):
    """GET and HEAD of the base class; a GET with `Range: bytes=FIRST-[LAST]` is answered with 206 or 416."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        wanted = RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted is None or not path.is_file():
            super().do_GET()
            return
        size = path.stat().st_size
        first = int(wanted[1])
        last = min(int(wanted[2] or size - 1), size - 1)
        if first > last:
            self._send_range_headers(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, f"*/{size}", 0)
            return
        self._send_range_headers(HTTPStatus.PARTIAL_CONTENT, f"{first}-{last}/{size}", last - first + 1)
        self._send_bytes(path, first, last - first + 1)

    def _send_range_headers(self, status: HTTPStatus, content_range: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Range", f"bytes {content_range}")
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send_bytes(self, path: Path, first: int, left: int) -> None:
        with path.open("rb") as artifact:
            artifact.seek(first)
            while left and (block := artifact.read(min(BLOCK, left))):
                self.wfile.write(block)
                left -= len(block)

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        super().end_headers()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port-file", type=Path, required=True, help="where to write the port once it listens")
    arguments = parser.parse_args()
    handler = partial(ArtifactHandler, directory=str(arguments.directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        arguments.port_file.write_text(f"{server.server_port}\n")
        server.serve_forever()


if __name__ == "__main__":
    main()
