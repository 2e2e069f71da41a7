"""A builder of two nodes: each platform is compiled and assembled on its own, and no Docker engine is asked for anything."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.nodes import Build, TwoNodes
from tests.real.program import Ended, istio_build

NO_ENGINE = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}


class Site:
    """Pushes pilot to a hub of its own, where Docker's own engine does not answer."""

    def __init__(self, hub: str, bases: str, work: Path) -> None:
        self.settings = ("--hub", hub, "--base-registry", bases, "--image", "pilot", "--rebuild", "--replace")
        self.work = work

    def push(self, source: Path, cache: str, *more: str | Path) -> Ended:
        env = {"ISTIO_BUILD_CACHE": str(self.work / cache), **NO_ENGINE}
        return istio_build("push", "--source", source, *self.settings, *more, "--output-format", "json", env=env)


@pytest.fixture
def site(registry: str, bases: str, tmp_path: Path) -> Site:
    return Site(f"{registry}/nodes-{uuid.uuid4().hex[:8]}", bases, tmp_path)


@contextmanager
def watched(two_nodes: TwoNodes) -> Iterator[dict[str, list[Build]]]:
    """What each node has built in the meantime, by the platform that it was given, at the end."""
    before = {node.name: node.builds() for node in two_nodes.nodes}
    found: dict[str, list[Build]] = {}
    yield found
    for node in two_nodes.nodes:
        found[node.platform] = [build for build in node.builds() if build not in before[node.name]]


def test_each_platform_is_assembled_on_its_own_node(site: Site, source: Path, two_nodes: TwoNodes) -> None:
    alone = site.push(source, "alone", "--engine", "builtin")
    with watched(two_nodes) as built:
        # The default engine, `auto`: the builder answers, and that is all it needs.
        ended = site.push(source, "nodes", "--builder", two_nodes.name)
    assert ended.digests() == alone.digests()
    assert "Images are assembled by Docker's buildx, which answers." in ended.stderr
    # Two variants each.
    assert {platform: [build.platform for build in builds] for platform, builds in built.items()} == {
        "linux/amd64": ["linux/amd64"] * 2,
        "linux/arm64": ["linux/arm64"] * 2,
    }


def test_each_platform_is_compiled_on_its_own_node(
    site: Site, source: Path, two_nodes: TwoNodes, go_image: str, tmp_path: Path
) -> None:
    tree = shutil.copytree(source, tmp_path / "tree")
    # Of the standard library it needs next to nothing, which these nodes would have to compile first.
    main = tree / "pilot/cmd/pilot-discovery"
    shutil.rmtree(main)
    main.mkdir()
    (main / "main.go").write_text("package main\n\nfunc main() {}\n")
    assert site.push(tree, "alone", "--engine", "builtin", "--go", "machine", "--tag", "x").code == 0
    with watched(two_nodes) as built:
        ended = site.push(tree, "nodes", "--compile-in", go_image, "--builder", two_nodes.name, "--tag", "x")
    # Programs, layers and configurations are those that this machine makes: the hub has them all.
    assert ended.report()["traffic"]["bytes_sent"] == 0
    compiled = {platform: [build.platform for build in builds if build.uses(go_image)] for platform, builds in built.items()}
    assert compiled == {"linux/amd64": ["linux/amd64"], "linux/arm64": ["linux/arm64"]}


def test_a_node_that_is_down_is_named(site: Site, source: Path, two_nodes: TwoNodes) -> None:
    relays = two_nodes.another("frail")
    relays["arm"].cut()
    down = "builder frail: a node does not answer [arm (unix://"
    asked = site.push(source, "cache", "--engine", "buildx", "--builder", "frail")
    assert asked.code == 6, asked.stderr
    assert down in asked.stderr
    assert "docker buildx create --name frail --node arm --leave" in asked.stderr
    found = site.push(source, "cache", "--builder", "frail")
    assert found.code == 0, found.stderr
    assert f"Images are assembled without Docker: {down}" in found.stderr
    relays["amd"].cut()
