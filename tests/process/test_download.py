"""Downloads of several processes at once, and onto disks that are full."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT
from tests.fakes.fault_server import FaultServer
from tests.fakes.file_server import CONTENT, SUM, Files


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def server(files: Files) -> Iterator[FaultServer]:
    with FaultServer(files).running() as running:
        yield running


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "envoy"


def part_of(into: Path) -> Path:
    into.parent.mkdir(exist_ok=True)
    return into.with_name("envoy.part")


DOWNLOAD = """
import sys, time
from pathlib import Path
from builder.net.download import HttpDownloader
from builder.errors import DiskFull
from builder.runtime.retry import RetryPolicy
try:
    HttpDownloader(retry=RetryPolicy(sleep=time.sleep)).download(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
except DiskFull as error:
    print(error.message, "|", error.hint)
"""


def download_argv(server: FaultServer, into: Path) -> list[str]:
    return [sys.executable, "-c", DOWNLOAD, f"{server.url}/envoy", SUM, str(into)]


def test_four_processes_at_once(server: FaultServer, into: Path) -> None:
    processes = [subprocess.Popen(download_argv(server, into), cwd=ROOT) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    assert into.read_bytes() == CONTENT
    assert os.listdir(into.parent) == ["envoy"]
    assert len(server.received) == 1


def test_a_full_disk(server: FaultServer, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = f"mount -t tmpfs -o size=1m tmpfs {small}"
    # A mount namespace of its own: nothing is left to unmount. Users other than root need a user namespace for it.
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "sh", "-c"]
    if subprocess.run([*unshare, mount], capture_output=True, check=False).returncode:
        pytest.skip("test_a_full_disk: cannot mount a small file system here")
    argv = [*unshare, f'{mount} && exec "$@"', "sh", *download_argv(server, small / "envoy")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert f"cannot write {small}/envoy: No space left on device; the file system at {small} has 0 MB" in done.stdout
    assert "Free some space" in done.stdout
    assert len(server.received) == 1


def test_a_limit_on_the_size_of_files(server: FaultServer, into: Path) -> None:
    # `ulimit -f` counts blocks of 512 bytes.
    argv = ["sh", "-c", 'ulimit -f 2000 && exec "$@"', "sh", *download_argv(server, into)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "File too large" in done.stdout
    assert 0 < part_of(into).stat().st_size <= 1_024_000
