"""One release from two machines for real: it joins at the registry to the digests that one machine's push gives."""

import json
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest
import requests

from builder.oci.manifest import INDEX_TYPES
from tests.real.program import Ended, istio_build

MIRROR = """\
image: distroless
istio: 1.12+
group: mesh
mirror: "{{ base_registry }}/distroless:{{ base_version }}"
variants: { debug: {}, distroless: {} }
"""
# pilot and istioctl share a platform's compile step, proxyv2 has a download, distroless is copied.
IMAGES = ("--image", "core,distroless")


class Site:
    """The sample tree, a registry, and machines with a cache of their own each."""

    def __init__(self, registry: str, bases: str, envoy_url: str, source: Path, work: Path) -> None:
        self.registry, self.work = registry, work
        (work / "recipes").mkdir()
        (work / "recipes" / "distroless.yaml").write_text(MIRROR)
        self.run_name = f"shards-{uuid.uuid4().hex[:8]}"
        self.hub = f"{registry}/{self.run_name}"
        self.settings: Sequence[str | Path] = (
            *("--source", source, "--recipes", work / "recipes", "--base-registry", bases, "--envoy-url", envoy_url),
            *("--hub", self.hub, *IMAGES),
        )

    def run(self, command: str, machine: str, *more: str | Path) -> Ended:
        env = {"ISTIO_BUILD_CACHE": str(self.work / machine / "cache")}
        return istio_build(command, *self.settings, *more, env=env)

    def build(self, machine: str, *more: str | Path) -> Path:
        """The directory that a machine leaves, carried elsewhere."""
        out = self.work / machine / "images"
        ended = self.run("build", machine, "--output", out, *more)
        assert ended.code == 0, ended.stderr
        shutil.rmtree(self.work / machine / "cache")
        return out.rename(self.work / f"carried-{machine}")

    def push(self, *directories: Path, more: Sequence[str] = ()) -> Ended:
        named = [word for directory in directories for word in ("--from", str(directory))]
        return istio_build("push", *named, "--output-format", "json", *more)

    def index(self, image: str, tag: str) -> str:
        """The digest that the registry has, with no code of ours between."""
        url = f"http://{self.registry}/v2/{self.run_name}/{image}/manifests/{tag}"
        answer = requests.get(url, headers={"Accept": ", ".join(INDEX_TYPES)}, timeout=30)
        return answer.headers["Docker-Content-Digest"] if answer.ok else ""


@pytest.fixture(scope="module")
def site(registry: str, bases: str, small_envoy_url: str, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(registry, bases, small_envoy_url, source, tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def whole(site: Site) -> dict[str, str]:
    """What one machine's push gives, at another hub's tags so that nothing is there yet."""
    out = site.build("whole", "--engine", "builtin")
    ended = site.push(out, more=("--hub", f"{site.hub}/whole"))
    assert len(ended.digests()) == 7
    return ended.digests()


@pytest.mark.parametrize("engine", ["builtin", "buildx"])
def test_by_platform(site: Site, whole: dict[str, str], engine: str) -> None:
    one = site.build(f"{engine}-amd64", "--engine", engine, "--platform", "linux/amd64")
    other = site.build(f"{engine}-arm64", "--engine", engine, "--platform", "linux/arm64")
    assert site.push(one, other, more=("--replace",)).digests() == whole
    assert site.index("pilot", "1.29.0-distroless") == whole["pilot-distroless"]
    assert site.index("distroless", "1.29.0") == whole["distroless"]
    # The hub takes it for what a build of everything gives, so that there is nothing to do.
    again = site.run("push", f"{engine}-again", "--engine", engine, "--output-format", "json")
    assert again.digests() == whole
    assert {image["state"] for image in again.report()["images"]} == {"unchanged"}


def test_by_shards_of_the_matrix(site: Site, whole: dict[str, str]) -> None:
    planned = site.run("plan", "planner", "--format", "matrix", "--shards", "3")
    assert planned.code == 0, planned.stderr
    rows = json.loads(planned.stdout)["include"]
    assert [row["shard"] for row in rows] == ["1/3", "2/3", "3/3"]
    parts = [site.build(row["name"], "--engine", "builtin", "--shard", row["shard"]) for row in rows]
    refused = site.push(*parts[:-1])
    assert refused.code == 12
    assert "parts of the release are missing, of shard 3/3: " in refused.stderr
    assert site.push(*parts, more=("--hub", f"{site.hub}/sharded")).digests() == whole


def test_a_part_of_another_build_is_refused_by_name(site: Site) -> None:
    one = site.build("alike", "--engine", "builtin", "--image", "istioctl", "--platform", "linux/amd64")
    other = site.build(
        "unlike", "--engine", "builtin", "--image", "istioctl", "--platform", "linux/arm64", "--compression", "zstd"
    )
    ended = site.push(one, other)
    assert ended.code == 12
    assert f"{other} is of another build than {one}: --compression is zstd" in ended.stderr
    assert "Traceback" not in ended.stderr
