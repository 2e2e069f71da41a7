"""Real registries, of several makers, for tests marked `process`.

The CNCF distribution's `docker-registry` (or `registry`) and crane's are installed by `tools/engine up`, which also compiles
the two of `tools/registries`.
"""

import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_START_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Maker:
    """Whose registry it is: how its program is found ("" where it is missing) and started, and where it differs.

    docs/registries.md tells of these differences. `shares_blobs`: a blob of one repository is in all of them, so that nothing
    is ever mounted. `checks_blobs`: a manifest is refused whose blobs are not there.
    """

    find: Callable[[], str]
    command: Callable[[str, Path, int], Sequence[str | Path]]
    lacking: str
    deletes_tags: bool = True
    shares_blobs: bool = False
    checks_blobs: bool = True
    lists_referrers: bool = True


def _find_distribution() -> str:
    return shutil.which("docker-registry") or shutil.which("registry") or ""


def _serve_distribution(program: str, directory: Path, port: int) -> Sequence[str | Path]:
    config = directory / "config.yml"
    if not config.exists():
        config.write_text(_CONFIG.format(root=directory / "data", port=port))
    return program, "serve", config


def _serve_crane(program: str, directory: Path, port: int) -> Sequence[str | Path]:
    # It puts blobs into their place from the directory for temporary files, which has to be of the same file system.
    return program, "registry", "serve", "--address", f"127.0.0.1:{port}", "--disk", directory / "data"


def _of_module(name: str) -> Maker:
    """One of `tools/registries`."""
    return Maker(
        find=lambda: os.environ.get("ISTIO_BUILD_TEST_REGISTRIES", ""),
        command=lambda program, _, port: (program, name, f"127.0.0.1:{port}"),
        lacking="no ISTIO_BUILD_TEST_REGISTRIES (tools/engine registries prints it)",
    )


MAKERS: Mapping[str, Maker] = {
    "distribution": Maker(
        find=_find_distribution,
        command=_serve_distribution,
        lacking="no docker-registry on PATH (Debian: apt install docker-registry)",
        deletes_tags=False,
        lists_referrers=False,
    ),
    "crane": Maker(
        find=lambda: shutil.which("crane") or "",
        command=_serve_crane,
        lacking="no crane on PATH (Debian: apt install crane)",
        shares_blobs=True,
        checks_blobs=False,
        lists_referrers=False,
    ),
    "olareg": _of_module("olareg"),
    "ociregistry": _of_module("ociregistry"),
}


def registry_program(needed_by: str, maker: str = "distribution") -> str:
    """The program; without one the test that needs it is skipped by name, or fails where CI says that it must run."""
    program = MAKERS[maker].find()
    if program:
        return program
    message = f"{needed_by}: {MAKERS[maker].lacking}"
    if os.environ.get("ISTIO_BUILD_REQUIRE_ENGINE") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running_registry(
    program: str, directory: Path, port: int = 0, *, maker: str = "distribution", certificate: Path | None = None
) -> Iterator[str]:
    """Run it on loopback, with its data in the directory; gives 127.0.0.1:PORT.

    A `config.yml` that is in the directory already is what distribution's obeys; `certificate` is what it then shows.
    """
    port = port or free_port()
    (directory / "data").mkdir(exist_ok=True)
    words = MAKERS[maker].command(program, directory, port)
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(directory / "data")})
    try:
        _wait_until_up(process, port, directory / "log", certificate)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    """A port of this machine where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: Path, certificate: Path | None) -> None:
    context = ssl.create_default_context(cafile=certificate) if certificate else None
    url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}/v2/"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1, context=context):
                return
        except urllib.error.HTTPError:
            # It wants a password: it is there.
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    pytest.fail(f"the registry did not start: {log.read_text()[-2000:]}")
