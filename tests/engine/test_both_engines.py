"""The same push with either engine: the same digests, and nothing of Docker is asked for the one that does without."""

import json
import uuid
from pathlib import Path

import pytest

from tests.real.program import Ended, istio_build

# No program of this name, and no engine at this address.
NO_DOCKER = {"DOCKER_HOST": "unix:///nonexistent/docker.sock", "DOCKER_CONFIG": "/nonexistent"}


class Site:
    """All images of the sample tree that need no packages, pushed to hubs of this session's own."""

    def __init__(self, registry: str, bases: str, envoy_url: str, source: Path, work: Path) -> None:
        self.hub = f"{registry}/engines-{uuid.uuid4().hex[:8]}"
        self.settings = ("--source", source, "--base-registry", bases, "--envoy-url", envoy_url, "--hub", self.hub)
        self.work = work

    def run(self, command: str, cache: str, *more: str | Path, **environment: str) -> Ended:
        """Of all images, or of those that `more` names besides."""
        return self.run_some(command, cache, "--image", "core", "--image", "app", *more, **environment)

    def run_some(self, command: str, cache: str, *more: str | Path, **environment: str) -> Ended:
        """With a cache of its own, so that nothing of one engine is found by the other."""
        env = {"ISTIO_BUILD_CACHE": str(self.work / cache), **environment}
        return istio_build(command, *self.settings, "--output-format", "json", *more, env=env)


@pytest.fixture(scope="module")
def site(registry: str, bases: str, small_envoy_url: str, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(registry, bases, small_envoy_url, source, tmp_path_factory.mktemp("engines"))


@pytest.fixture
def site_with_a_real_envoy(registry: str, bases: str, envoy_url: str, source: Path, tmp_path: Path) -> Site:
    return Site(registry, bases, envoy_url, source, tmp_path)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_all_images_have_the_same_digests(site: Site, compression: str) -> None:
    how = ("--compression", compression, "--rebuild", "--replace")
    # One for each engine: programs and downloads have nothing to do with how layers are compressed.
    buildx = site.run("push", "buildx", "--engine", "buildx", *how)
    builtin = site.run("push", "builtin", "--engine", "builtin", *how, **NO_DOCKER)
    assert len(buildx.digests()) == 8
    assert builtin.digests() == buildx.digests()
    assert {image["state"] for image in builtin.report()["images"]} == {"built"}
    # The hub had it all already, to the last blob.
    assert builtin.report()["traffic"]["bytes_sent"] == 0


def test_so_they_have_with_a_real_envoy(site_with_a_real_envoy: Site) -> None:
    """Of a hundred pieces and more."""
    words = ("--image", "proxyv2", "--variant", "distroless", "--rebuild")
    buildx = site_with_a_real_envoy.run_some("push", "buildx", "--engine", "buildx", *words)
    builtin = site_with_a_real_envoy.run_some("push", "builtin", "--engine", "builtin", *words, **NO_DOCKER)
    assert len(buildx.digests()) == 1
    assert builtin.digests() == buildx.digests()


def test_a_push_fetches_no_layer_of_a_base_that_the_registry_can_mount(site: Site) -> None:
    ended = site.run(
        "push",
        "mounts",
        "--engine",
        "builtin",
        "--tag",
        "mounts",
        "--hub",
        f"{site.hub}/second",
        "--progress",
        "json",
        **NO_DOCKER,
    )
    assert ended.code == 0, ended.stderr
    fetched = [event["subject"] for event in map(json.loads, ended.stderr.splitlines()) if event.get("stage") == "fetch"]
    assert fetched
    assert not [subject for subject in fetched if subject.startswith("layer ")]
    assert ended.report()["traffic"]["blobs_mounted"] > 0


def test_without_docker_auto_does_without_and_says_so(site: Site) -> None:
    ended = site.run("push", "auto", "--rebuild", "--image", "istioctl", "--progress", "plain", **NO_DOCKER)
    assert ended.code == 0, ended.stderr
    assert "Images are assembled without Docker: no Docker engine answers" in ended.stderr


def test_where_the_named_builder_is_not_there_auto_does_without_and_says_so(site: Site) -> None:
    ended = site.run("push", "auto", "--rebuild", "--image", "istioctl", "--progress", "plain", "--builder", "nobody")
    assert ended.code == 0, ended.stderr
    assert "Images are assembled without Docker: " in ended.stderr
    assert "nobody" in ended.stderr


def test_with_docker_auto_takes_buildx_and_says_so(site: Site) -> None:
    ended = site.run("push", "auto", "--rebuild", "--image", "istioctl", "--progress", "plain")
    assert ended.code == 0, ended.stderr
    assert "Images are assembled by Docker's buildx, which answers." in ended.stderr


def test_a_layout_of_the_built_in_engine_is_whole(site: Site, tmp_path: Path) -> None:
    """Another tool can take it up: the base's layers are in it."""
    out = tmp_path / "layouts"
    ended = site.run("build", "layouts", "--engine", "builtin", "--output", out, **NO_DOCKER)
    assert ended.code == 0, ended.stderr
    pushed = istio_build("push", "--from", out, "--hub", f"{site.hub}/carried", "--output-format", "json", env=NO_DOCKER)
    assert pushed.digests() == ended.digests()


def test_what_needs_docker_is_told_before_any_work(site: Site, tmp_path: Path) -> None:
    load = ("--load", "linux/amd64", "--output", tmp_path, "--progress", "plain")
    ended = site.run("build", "told", "--engine", "builtin", *load, **NO_DOCKER)
    assert ended.code == 2
    assert "--load needs Docker, which --engine builtin does without" in ended.stderr
    assert "compile " not in ended.stderr
