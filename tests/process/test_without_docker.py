"""What a push imports: with `--engine builtin` nothing of Docker, which is not asked either; and where nothing has changed
nothing of what makes images."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from builder.oci.layout import Layout
from builder.oci.reference import ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests.real.program import environment
from tests.samples.images import AMD64, ARM64, BASE_LAYER, add_image, make_config, write_image_index
from tests.samples.seeding import seed
from tools.registry import serving

# Of files alone, so that neither Go nor Envoy has a part in it.
RECIPE = """\
image: note
istio: 1.12+
summary: the version in a file
template: note.Dockerfile.j2
files:
  - { source: VERSION, path: /etc/note }
variants:
  debug: { base: base }
entrypoint: [/bin/true]
"""
TEMPLATE = """\
{% import "_parts.j2" as parts %}
FROM {{ image.base }}
{{ parts.layers(image) -}}
{{ parts.env(image) -}}
{{ parts.labels(image) -}}
ENTRYPOINT {{ image.entrypoint | exec_form }}
"""
BASE_TAG = "1.29-2026-02-04T19-02-21"
# What makes images, and what only some settings need.
MAKES_IMAGES = {
    "builder.build.assemble",
    "builder.build.compile",
    "builder.build.fetch",
    "builder.build.scheduler",
    "builder.engine.builtin",
    "builder.images.check",
    "builder.images.compress",
    "builder.images.finish",
    "builder.oci.layer",
    "builder.oci.tar_stream",
    "builder.rootfs.bootstrap",
    "deflate",
    "elftools",
    "isal",
    "tarfile",
}
FOR_SOME = {
    "apprise",
    "builder.cli.commands",
    "builder.cli.schedule_command",
    "builder.cli.verify_command",
    "builder.cache.prune",
    "builder.config.project_schema",
    "builder.engine.buildx",
    "builder.engine.either",
    "builder.host.git_patches",
    "builder.plan.archives",
    "builder.recipe.support",
    "builder.report.record",
    "builder.resolve.lock_file",
    "builder.verify.verification",
    "docker",
    "rich",
    "tenacity",
}


@dataclass
class FalseDocker:
    """A socket where Docker's would be. It counts who connects, and hangs up."""

    address: str
    connections: list[bool] = field(default_factory=list)


@pytest.fixture
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FalseDocker]:
    path = tmp_path_factory.mktemp("s") / "docker.sock"
    found = FalseDocker(f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        thread = threading.Thread(target=count_connections, args=(server, found.connections))
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def count_connections(server: socket.socket, connections: list[bool]) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        connections.append(True)
        connection.close()


@contextmanager
def hub_with_a_base(work: Path) -> Iterator[str]:
    with serving(work / "registry") as host:
        layout = Layout(work / "base")
        images = {platform: add_image(layout, make_config(platform), [BASE_LAYER]) for platform in (AMD64, ARM64)}
        registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=lambda _: None))
        seed(registry, write_image_index(layout.root, images), ImageReference.parse(f"{host}/istio-base/base:{BASE_TAG}"))
        yield host


def push(host: str, source: Path, work: Path, docker: FalseDocker, *more: str) -> subprocess.CompletedProcess[str]:
    recipes = work / "recipes"
    recipes.mkdir(exist_ok=True)
    (recipes / "note.yaml").write_text(RECIPE)
    (recipes / "note.Dockerfile.j2").write_text(TEMPLATE)
    what = ("--source", source, "--recipes", recipes, "--image", "note", "--base-registry", f"{host}/istio-base")
    argv: Sequence[str | Path] = (sys.executable, "-X", "importtime", "-m", "builder", "push", *what, "--hub", f"{host}/istio")
    # No login of whoever runs the tests: what stands in config.json is read by Docker's SDK.
    env = {"DOCKER_HOST": docker.address, "DOCKER_CONFIG": str(work), "ISTIO_BUILD_CACHE": str(work / "cache")}
    run = subprocess.run([*argv, *more], env=environment(env), capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    assert f"{host}/istio/note:1.29.0@sha256:" in run.stdout
    return run


def imports_of(run: subprocess.CompletedProcess[str]) -> set[str]:
    """The modules that the process imported, as `-X importtime` tells."""
    return set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", run.stderr, re.MULTILINE))


def test_the_built_in_engine_imports_nothing_of_docker_and_asks_no_engine(
    source: Path, tmp_path: Path, docker: FalseDocker
) -> None:
    with hub_with_a_base(tmp_path) as host:
        run = push(host, source, tmp_path, docker, "--engine", "builtin")
    imported = imports_of(run)
    assert "builder.engine.builtin" in imported
    assert {name for name in imported if name.partition(".")[0] == "docker"} == set()
    assert docker.connections == []


def test_auto_asks_and_does_without(source: Path, tmp_path: Path, docker: FalseDocker) -> None:
    """By this the test above is known to see what it looks for."""
    with hub_with_a_base(tmp_path) as host:
        run = push(host, source, tmp_path, docker)
    assert "docker" in imports_of(run)
    assert docker.connections
    assert "Images are assembled without Docker" in run.stderr


@pytest.mark.parametrize("engine", ["builtin", "buildx", "auto"])
def test_where_nothing_has_changed_nothing_is_imported_that_makes_images(
    source: Path, tmp_path: Path, docker: FalseDocker, engine: str
) -> None:
    with hub_with_a_base(tmp_path) as host:
        made = push(host, source, tmp_path, docker, "--engine", "builtin")
        unchanged = push(host, source, tmp_path, docker, "--engine", engine)
    assert "look      1 image at the hub: 1 unchanged" in unchanged.stderr
    assert MAKES_IMAGES - imports_of(made) == set()
    assert imports_of(unchanged) & (MAKES_IMAGES | FOR_SOME) == set()
    assert docker.connections == []
