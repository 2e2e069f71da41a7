"""A git server on loopback, for tests marked `process` or `engine`: `git daemon`, which comes with git."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.registry import free_port

_START_SECONDS = 15.0


@contextmanager
def running_git_server(directory: Path) -> Iterator[str]:
    """Serve all repositories below a directory; gives the URL that they are below."""
    port = free_port()
    # Not by way of `git`, which would be ended alone.
    programs = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    words = [
        f"{programs}/git-daemon",
        "--export-all",
        f"--base-path={directory}",
        "--listen=127.0.0.1",
        f"--port={port}",
        "--reuseaddr",
    ]
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as process:
        try:
            _wait_until_up(process, port)
            yield f"git://127.0.0.1:{port}"
        finally:
            process.kill()


def _wait_until_up(process: "subprocess.Popen[bytes]", port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    pytest.fail("git daemon did not start")
