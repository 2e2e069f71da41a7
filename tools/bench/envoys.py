"""Serves the tests' Envoy under the name that the measured release asks for, and can make it a new one."""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.bench.process import BenchError
from tools.bench.work import ROOT, read_dependency

_SUFFIXES = {"amd64": "", "arm64": "-arm64"}
_START_SECONDS = 10.0
_MEMBER = "usr/local/bin/envoy"


class Envoys:
    """Envoy for both platforms: as files, and as the archives of Istio's download site."""

    def __init__(self, directory: Path, sha: str) -> None:
        self._directory = directory
        self._sha = sha

    def fetch(self, url: str) -> None:
        """Take them from the tests' server, which has them under the sample's commit."""
        sample = read_dependency(ROOT / "examples" / "mini-istio", "PROXY_REPO_SHA")
        for architecture, suffix in _SUFFIXES.items():
            with urllib.request.urlopen(f"{url}/envoy-alpha-{sample}{suffix}.tar.gz") as answer:
                content = answer.read()
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                member = archive.extractfile(_MEMBER)
                assert member is not None
                self._place(architecture, member.read())
            self._serve(architecture, content)

    def renew(self) -> None:
        """Make each another file than before, as a new release of the proxy is: the same program, with other bytes behind it."""
        for architecture in _SUFFIXES:
            self.put(architecture, self.program(architecture).read_bytes() + os.urandom(16))

    def put(self, architecture: str, program: bytes) -> None:
        """Make this program the one that is there."""
        self._place(architecture, program)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            entry = tarfile.TarInfo(_MEMBER)
            entry.size, entry.mode = len(program), 0o755
            archive.addfile(entry, io.BytesIO(program))
        self._serve(architecture, gzip.compress(packed.getvalue(), compresslevel=1, mtime=0))

    def program(self, architecture: str) -> Path:
        """The program itself."""
        return self._directory / architecture / "envoy"

    @property
    def served(self) -> Path:
        """What a web server has to serve."""
        return self._directory / "www"

    def _place(self, architecture: str, program: bytes) -> None:
        path = self.program(architecture)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(program)
        path.chmod(0o755)

    def _serve(self, architecture: str, archive: bytes) -> None:
        name = f"envoy-alpha-{self._sha}{_SUFFIXES[architecture]}"
        folder = self.served / "proxy"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.tar.gz").write_bytes(archive)
        (folder / f"{name}.sha256").write_text(f"{hashlib.sha256(archive).hexdigest()}  {name}.tar.gz\n")


@contextmanager
def served(envoys: Envoys, scratch: Path) -> Iterator[str]:
    """A web server with these; gives the URL that istio-build takes as `--envoy-url`."""
    port_file = scratch / "envoys.port"
    argv = [sys.executable, str(ROOT / "tools" / "serve_artifacts.py"), str(envoys.served), "--port-file", str(port_file)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (port_file.exists() and port_file.read_text().strip()):
            if time.monotonic() > deadline or process.poll() is not None:
                raise BenchError("the server for Envoy did not start")
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text().strip()}/proxy"
    finally:
        process.kill()
        process.wait()
