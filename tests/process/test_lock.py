"""`istio-build lock`, --locked and --offline as a user runs them: a checkout, a registry, a place with Envoy."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.oci.layout import Layout
from builder.oci.reference import ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests import ROOT
from tests.fakes.fault_server import FaultServer, TinyRegistry
from tests.real.program import Ended, istio_build
from tests.samples.images import AMD64, ARM64, SampleFile, add_image, make_config, make_tar, write_image_index
from tests.samples.seeding import seed

NAMES = ("base", "distroless", "iptables")
HUB = ("--hub", "hub.test/istio")


@dataclass
class Site:
    """A directory to work in, with a checkout, and a registry beside it."""

    directory: Path
    server: FaultServer

    @property
    def lock(self) -> Path:
        return self.directory / "istio-build.lock"

    def settings(self) -> list[str]:
        bases = [word for name in NAMES for word in ("--base", f"{name}={self.server.host}/istio/{name}:1")]
        return ["--source", "src", "--go", "machine", "--envoy-url", (self.directory / "proxy").as_uri(), *bases]

    def run(self, command: str, *more: str) -> Ended:
        env = {"ISTIO_BUILD_CACHE": str(self.directory / "cache")}
        return istio_build(command, *self.settings(), *more, cwd=self.directory, env=env)

    def plan(self, *more: str) -> dict[str, Any]:
        ended = self.run("plan", *HUB, "--format", "json", *more)
        assert ended.code == 0, ended.stderr
        document: dict[str, Any] = json.loads(ended.stdout)
        document.pop("settings")
        return document

    def put_base(self, name: str, content: bytes) -> None:
        """A base for both platforms under the tag that is asked for."""
        directory = self.directory / "bases" / f"{name}-{hashlib.sha256(content).hexdigest()}"
        layer = make_tar([SampleFile(path="/etc/os-release", content=content, mode=0o644)])
        children = {p: add_image(Layout(directory), make_config(p), [layer]) for p in (AMD64, ARM64)}
        registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(attempts=1, sleep=lambda _: None))
        seed(registry, write_image_index(directory, children), ImageReference.parse(f"{self.server.host}/istio/{name}:1"))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with FaultServer(TinyRegistry()).running() as server:
        site = Site(tmp_path, server)
        subprocess.run([ROOT / "examples" / "make-source", tmp_path / "src"], check=True)
        [entry] = [e for e in json.loads((tmp_path / "src/istio.deps").read_text()) if e["name"] == "PROXY_REPO_SHA"]
        for suffix in ("", "-arm64"):
            archive = tmp_path / "proxy" / f"envoy-alpha-{entry['lastStableSHA']}{suffix}.tar.gz"
            archive.parent.mkdir(exist_ok=True)
            archive.write_bytes(f"an archive{suffix}".encode())
            sums = Path(str(archive).replace(".tar.gz", ".sha256"))
            sums.write_text(hashlib.sha256(archive.read_bytes()).hexdigest())
        for name in NAMES:
            site.put_base(name, b"first")
        yield site


def test_a_plan_stays_when_a_base_has_moved_and_without_a_network(site: Site) -> None:
    written = site.run("lock")
    assert written.code == 0, written.stderr
    assert "istio-build.lock: written" in written.stdout
    first = site.plan()
    assert site.plan("--locked") == first
    site.put_base("iptables", b"second")
    assert site.plan() != first
    site.server.received.clear()
    assert site.plan("--locked") == first
    assert site.plan("--locked", "--offline") == first
    # All of it was in the cache already; and the cache is all that is needed.
    assert site.server.received == []
    shutil.rmtree(site.directory / "cache")
    assert site.plan("--locked") == first
    assert [request.path for request in site.server.received if "sha256:" not in request.path] == []
    refused = site.run("plan", *HUB, "--offline")
    assert refused.code == 25
    assert "istio/base:1 is not in the cache" in refused.stderr


def test_what_changed_is_told_and_why_it_matters(site: Site) -> None:
    site.run("lock")
    before = site.lock.read_text()
    assert site.run("lock").stdout == "istio-build.lock: nothing changed\n"
    assert site.run("lock", "--check").code == 0
    site.put_base("iptables", b"second")
    site.put_base("base", b"second")
    checked = site.run("lock", "--update", "--check")
    assert checked.code == 24
    assert "istio-build.lock: would be another" in checked.stdout
    assert site.lock.read_text() == before
    updated = site.run("lock", "--update", "iptables", "--output-format", "json")
    document = json.loads(updated.stdout)
    assert (document["lock"], document["changed"]) == ("istio-build.lock", True)
    [change] = document["changes"]
    assert (change["name"], change["what"]) == ("iptables", "base iptables")
    assert change["why"] == "proxyv2 (distroless) is built anew"
    assert change["before"] in before
    assert change["after"] in site.lock.read_text()
    assert "base base sha256:" in site.run("lock", "--update").stdout


def test_what_it_refuses(site: Site) -> None:
    missing = site.run("plan", *HUB, "--locked")
    assert (missing.code, "there is no istio-build.lock" in missing.stderr) == (24, True)
    site.run("lock")
    other = site.run("plan", *HUB, "--locked", "--base-registry", "x.test", "--image", "pilot", "--base", "base=x.test/y:1")
    assert other.code == 2
    other = site.run("plan", *HUB, "--locked", "--go-env", "GOAMD64=v3", "--image", "core,mesh")
    assert other.code == 24
    assert "istio-build lock --update" in other.stderr
    unknown = site.run("lock", "--update", "iptable")
    assert unknown.code == 2
    assert "Did you mean iptables?" in unknown.stderr
    assert site.run("lock", "iptables").code == 2
    (site.directory / "src/VERSION").write_text("1.29\n\n")
    for dirty in (site.run("plan", *HUB, "--locked"), site.run("lock")):
        assert (dirty.code, "changes that are not committed" in dirty.stderr) == (24, True)


def test_it_may_not_lie_in_the_tree_that_it_binds(site: Site) -> None:
    inside = site.run("lock", "--lock", "src/istio-build.lock")
    assert inside.code == 24
    assert "would lie in src" in inside.stderr.replace(str(site.directory) + "/", "")


def test_a_later_commit_is_refused_until_the_source_is_bound_anew(site: Site) -> None:
    site.run("lock")
    git = ["git", "-C", str(site.directory / "src"), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "more"], check=True)
    refused = site.run("plan", *HUB, "--locked")
    assert (refused.code, "source.commit: the lock has" in refused.stderr) == (24, True)
    assert site.run("lock", "--update", "iptables").code == 24
    assert "source" in site.run("lock", "--update", "source").stdout
    assert site.plan("--locked")["commit"] != ""


def test_a_build_that_is_fetched_before_needs_nobody(site: Site) -> None:
    some = ("--image", "pilot", "--variant", "debug")
    fetched = site.run("lock", "--fetch", *some)
    assert fetched.code == 0, fetched.stderr
    site.server.received.clear()
    built = site.run("build", *HUB, *some, "--locked", "--offline", "--output-format", "json", "--output", "out")
    assert built.code == 0, built.stderr
    assert site.server.received == []
    [image] = built.report()["images"]
    assert sorted(image["platforms"]) == ["linux/amd64", "linux/arm64"]
