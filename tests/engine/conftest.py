"""What several modules of these tests share."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.engine.buildx import find_plugin
from builder.runtime.file_lock import locked
from tests.real.nodes import NoSecondEngine, TwoNodes, running_nodes
from tests.samples.programs import make_elf
from tools.bench.envoys import Envoys, served
from tools.bench.work import read_dependency


@pytest.fixture(scope="session")
def go_image(registry: str, bases: str, go: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with this machine's Go, as golang's own are; it needs no network to compile the sample tree."""
    name = f"{registry}/compile-in/golang:1"
    # It is the same for all processes that share the tests out, whose directories are side by side.
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with locked(shared / "go-image.lock", time.sleep):
        if not (shared / "go-image").exists():
            push_go_image(name, bases, go, tmp_path_factory.mktemp("go-image"))
            (shared / "go-image").touch()
    return name


def push_go_image(name: str, bases: str, go: Path, context: Path) -> None:
    """Make it in a directory, which is empty."""
    asked = [str(go), "env", "GOROOT", "GOVERSION"]
    root, version = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()[:2]
    parts = ("VERSION", "go.env", "bin/go", "pkg/include", "pkg/tool", "src", "lib")
    # What `go build` has no use for is half of it.
    skipped = (
        "*_test.go",
        "testdata",
        "src/cmd",
        *(f"pkg/tool/*/{tool}" for tool in ("cgo", "cover", "fix", "preprofile", "vet")),
    )
    subprocess.run(["tar", "-C", root, *(f"--exclude={each}" for each in skipped), "-cf", context / "go.tar", *parts], check=True)
    (context / "Dockerfile").write_text(
        f"FROM {bases}/base:1.29-2026-02-04T19-02-21\nADD go.tar /usr/local/go/\n"
        f"ENV PATH=/usr/local/go/bin:/usr/bin:/bin GOLANG_VERSION={version.removeprefix('go')}\n"
    )
    output = f"type=image,name={name},push=true,compression=zstd,compression-level=1"
    argv = [str(find_plugin(os.environ)), "build", "--provenance=false", "--output", output, str(context)]
    subprocess.run(argv, check=True, capture_output=True)


@pytest.fixture(scope="session")
def small_envoy_url(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Like `envoy_url`, with a program of some bytes: to pack a real one takes longer than all else, and not all start it."""
    directory = tmp_path_factory.mktemp("envoy")
    envoys = Envoys(directory, read_dependency(source, "PROXY_REPO_SHA"))
    for architecture in ("amd64", "arm64"):
        envoys.put(architecture, make_elf(architecture))
    with served(envoys, directory) as url:
        yield url


@pytest.fixture(scope="session")
def second_engines(engine_env: dict[str, str]) -> Iterator[TwoNodes | NoSecondEngine]:
    """The nodes, or why there are none."""
    try:
        with running_nodes() as nodes:
            yield nodes
    except NoSecondEngine as error:
        yield error


@pytest.fixture
def two_nodes(second_engines: TwoNodes | NoSecondEngine, request: pytest.FixtureRequest) -> TwoNodes:
    """A builder of two nodes, neither of them the engine that DOCKER_HOST means."""
    if isinstance(second_engines, NoSecondEngine):
        pytest.skip(f"{request.node.nodeid}: NO SECOND ENGINE: {second_engines}")
    return second_engines
