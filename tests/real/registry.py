"""A real registry (the CNCF distribution's `docker-registry` or `registry` program) for tests marked `process`."""

import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_START_SECONDS = 15.0


def registry_program(needed_by: str) -> str:
    """The program; without one the test that needs it is skipped by name, or fails where CI says that it must run."""
    program = shutil.which("docker-registry") or shutil.which("registry")
    if program:
        return program
    message = f"{needed_by}: no docker-registry on PATH (Debian: apt install docker-registry)"
    if os.environ.get("ISTIO_BUILD_REQUIRE_ENGINE") == "1":
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def running_registry(program: str, directory: Path, port: int = 0) -> Iterator[str]:
    """Run it on loopback, with its data in the directory; gives 127.0.0.1:PORT."""
    port = port or _free_port()
    config = directory / "config.yml"
    config.write_text(_CONFIG.format(root=directory / "data", port=port))
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
    try:
        _wait_until_up(process, port, directory / "log")
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    pytest.fail(f"the registry did not start: {log.read_text()[-2000:]}")
