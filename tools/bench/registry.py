"""A registry of the benchmark's own: what it holds can be thrown away, and what it is asked can be counted."""

import hashlib
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tools.bench.process import BenchError

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: false}}}}
storage: {{filesystem: {{rootdirectory: "{root}"}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
# Apache's combined log format, in which distribution's registry writes its access log to stdout.
_REQUEST = re.compile(r'"([A-Z]+) (/v2/\S*) HTTP/[\d.]+" \d{3} ')
_START_SECONDS = 20.0
_SETTLE_SECONDS = 0.1


def count_requests(log: str) -> dict[str, int]:
    """Requests in an access log, by method."""
    return dict(Counter(match[1] for match in _REQUEST.finditer(log)))


class BenchRegistry:
    """The CNCF distribution's registry on loopback, always at the same port, with its data below a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._port = int(server.getsockname()[1])
        self.host = f"127.0.0.1:{self._port}"
        self._config = directory / "config.yml"
        self._config.write_text(_CONFIG.format(root=directory / "data", port=self._port))
        self._log = directory / "access.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = shutil.which("docker-registry") or shutil.which("registry")
        if program is None:
            raise BenchError("no docker-registry on PATH: run this with `make bench`, or install it (Debian: docker-registry)")
        with self._log.open("ab") as log, (self._directory / "errors.log").open("ab") as errors:
            self._process = subprocess.Popen([program, "serve", str(self._config)], stdout=log, stderr=errors)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"http://{self.host}/v2/", timeout=1):
                return
            time.sleep(0.02)
        raise BenchError(f"the registry did not start:\n{(self._directory / 'errors.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def remember(self) -> None:
        """Keep what it holds now; `reset` comes back to it."""
        shutil.copytree(self._directory / "data", self._directory / "seed")

    def reset(self) -> None:
        """Throw away all that was pushed since `remember`."""
        self.stop()
        shutil.rmtree(self._directory / "data")
        shutil.copytree(self._directory / "seed", self._directory / "data")
        self.start()

    def mark(self) -> int:
        """A place in the access log to count from."""
        time.sleep(_SETTLE_SECONDS)
        return self._log.stat().st_size

    def requests_since(self, mark: int) -> dict[str, int]:
        """Requests since the mark, by method. An entry is written once its answer is, hence the moment's wait."""
        time.sleep(_SETTLE_SECONDS)
        with self._log.open("rb") as log:
            log.seek(mark)
            return count_requests(log.read().decode(errors="replace"))


def read_platforms(reference: str) -> tuple[str, frozenset[str]]:
    """The digest of a reference at a registry over plain HTTP, and the platforms that a puller finds there.

    Each manifest's configuration is read, so that an index cannot promise what its images are not. What is for
    unknown/unknown is an attestation and no image.
    """
    repository, tag = _split(reference)
    content, digest = _get(f"{repository}/manifests/{tag}")
    document = json.loads(content)
    manifests = [document] if "config" in document else []
    for entry in document.get("manifests", ()):
        if entry.get("platform", {}).get("os") != "unknown":
            manifests.append(json.loads(_get(f"{repository}/manifests/{entry['digest']}")[0]))
    platforms = set()
    for manifest in manifests:
        config = json.loads(_get(f"{repository}/blobs/{manifest['config']['digest']}")[0])
        platforms.add(f"{config['os']}/{config['architecture']}")
    return digest, frozenset(platforms)


def copy_image(source: str, target: str) -> None:
    """Copy an image for all its platforms between registries that speak plain HTTP."""
    from_repository, from_tag = _split(source)
    to_repository, to_tag = _split(target)
    content, _ = _get(f"{from_repository}/manifests/{from_tag}")
    document = json.loads(content)
    for entry in document.get("manifests", ()):
        manifest, _ = _get(f"{from_repository}/manifests/{entry['digest']}")
        _copy_blobs(from_repository, to_repository, json.loads(manifest))
        _put_manifest(to_repository, entry["digest"], manifest)
    if "manifests" not in document:
        _copy_blobs(from_repository, to_repository, document)
    _put_manifest(to_repository, to_tag, content)


def _split(reference: str) -> tuple[str, str]:
    name, _, tag = reference.rpartition(":")
    host, _, path = name.partition("/")
    return f"http://{host}/v2/{path}", tag


def _get(url: str) -> tuple[bytes, str]:
    request = urllib.request.Request(url, headers={"Accept": ", ".join((*_INDEXES, *_MANIFESTS))})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise BenchError(f"{url}: {error}") from error
    return content, f"sha256:{hashlib.sha256(content).hexdigest()}"


def _put_manifest(repository: str, name: str, content: bytes) -> None:
    media_type = json.loads(content)["mediaType"]
    _send(f"{repository}/manifests/{name}", "PUT", content, media_type)


def _copy_blobs(from_repository: str, to_repository: str, manifest: dict[str, Any]) -> None:
    for blob in (manifest["config"], *manifest["layers"]):
        content, _ = _get(f"{from_repository}/blobs/{blob['digest']}")
        start = f"{to_repository}/blobs/uploads/"
        location = urljoin(start, _send(start, "POST", b"", "application/octet-stream"))
        joint = "&" if "?" in location else "?"
        _send(f"{location}{joint}digest={blob['digest']}", "PUT", content, "application/octet-stream")


def _send(url: str, method: str, content: bytes, media_type: str) -> str:
    request = urllib.request.Request(url, data=content, method=method, headers={"Content-Type": media_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return str(answer.headers.get("Location", ""))
    except (urllib.error.URLError, OSError) as error:
        raise BenchError(f"{method} {url}: {error}") from error
