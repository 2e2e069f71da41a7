"""A download site with an Envoy of a few bytes, for tests that start none: to pack a real one takes longer than all else."""

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.samples.programs import make_elf
from tools.serve_artifacts import ArtifactHandler

_SUFFIXES = {"amd64": "", "arm64": "-arm64"}


@contextmanager
def serving_small_envoy(directory: Path, source: Path) -> Iterator[str]:
    """The URL below which it is, by the name that this source asks for."""
    dependencies = json.loads((source / "istio.deps").read_text())
    commit = next(entry["lastStableSHA"] for entry in dependencies if entry["name"] == "PROXY_REPO_SHA")
    for architecture, suffix in _SUFFIXES.items():
        packed = _pack(make_elf(architecture))
        name = directory / f"envoy-alpha-{commit}{suffix}"
        name.with_suffix(".tar.gz").write_bytes(packed)
        name.with_suffix(".sha256").write_text(f"{hashlib.sha256(packed).hexdigest()}  {name.name}.tar.gz\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_QuietHandler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _QuietHandler(ArtifactHandler):
    def log_message(self, *_: object) -> None:
        """What is asked for is nobody's business."""


def _pack(program: bytes) -> bytes:
    """As Istio packs it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("usr/local/bin/envoy")
        member.mode, member.size = 0o755, len(program)
        tar.addfile(member, io.BytesIO(program))
    return packed.getvalue()
