"""Runs that have something to complain of say each thing once; those of several hubs and releases are with their own tests."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.oci.layout import Layout
from builder.oci.reference import ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests.process.test_without_docker import BASE_TAG, RECIPE, TEMPLATE, hub_with_a_base
from tests.real.program import Ended, istio_build
from tests.real.said_twice import said_twice
from tests.samples.images import AMD64, BASE_LAYER, add_image, make_config, write_image_index
from tests.samples.seeding import seed

VARIANTS = "  debug: { base: base }\n  distroless: { base: base }\n"


class Site:
    """A registry with a base image, and an image of files in two variants that is made on it."""

    def __init__(self, work: Path, source: Path, host: str) -> None:
        self.work, self.source, self.host = work, source, host
        (work / "recipes").mkdir()
        (work / "recipes" / "note.yaml").write_text(RECIPE.replace("  debug: { base: base }\n", VARIANTS))
        (work / "recipes" / "note.Dockerfile.j2").write_text(TEMPLATE)

    def run(self, *words: str | Path, hub: str = "", source: Path | None = None, image: str = "note") -> Ended:
        what = ("--source", source or self.source, "--recipes", self.work / "recipes", "--image", image)
        how = ("--base-registry", f"{self.host}/istio-base", "--engine", "builtin", "--timeout", "5")
        env = {"ISTIO_BUILD_CACHE": str(self.work / "cache"), "DOCKER_CONFIG": str(self.work)}
        return istio_build(*words, *what, *how, "--hub", hub or f"{self.host}/istio", env=env, timeout=120)


@pytest.fixture
def site(tmp_path: Path, source: Path) -> Iterator[Site]:
    with hub_with_a_base(tmp_path) as host:
        yield Site(tmp_path, source, host)


def test_a_push_of_two_variants_and_the_same_again(site: Site) -> None:
    for _ in range(2):
        done = site.run("push")
        assert done.code == 0, done.stderr
        assert said_twice(done) == []


def test_two_hubs(site: Site) -> None:
    done = site.run("push", "--hub", f"{site.host}/other")
    assert done.code == 0, done.stderr
    assert said_twice(done) == []


def test_a_hub_that_is_down(site: Site) -> None:
    failed = site.run("push", hub="127.0.0.1:1/istio")
    assert failed.code == 13, failed.stderr
    assert said_twice(failed) == []


def test_two_hubs_that_are_down(site: Site) -> None:
    failed = site.run("push", "--hub", "127.0.0.1:2/istio", hub="127.0.0.1:1/istio")
    assert failed.code == 13, failed.stderr
    assert said_twice(failed) == []


def test_a_tree_with_changes(site: Site, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(site.source, changed, symlinks=True)
    (changed / "VERSION").write_text("1.29\n\n")
    done = site.run("push", source=changed)
    assert done.code == 0, done.stderr
    assert "changes that are not committed" in done.stderr
    assert said_twice(done) == []


def test_a_base_without_arm64(site: Site) -> None:
    layout = Layout(site.work / "narrow")
    images = {AMD64: add_image(layout, make_config(AMD64), [BASE_LAYER])}
    registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=lambda _: None))
    seed(registry, write_image_index(layout.root, images), ImageReference.parse(f"{site.host}/istio-base/base:{BASE_TAG}"))
    failed = site.run("push")
    assert failed.code == 10, failed.stderr
    assert said_twice(failed) == []


def test_a_program_that_does_not_compile_and_is_in_two_variants(site: Site, tmp_path: Path, go: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(site.source, broken, symlinks=True)
    (broken / "istioctl/cmd/istioctl/main.go").write_text("package main\n\nfunc main() { no }\n")
    git = ("git", "-C", str(broken), "-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run([*git, "commit", "--quiet", "--all", "--message", "broken"], check=True)
    base = f"{site.host}/istio-base/base:{BASE_TAG}"
    failed = site.run("push", "--go", "machine", "--base", f"distroless={base}", source=broken, image="istioctl")
    assert failed.code == 7, failed.stderr
    assert said_twice(failed) == []
