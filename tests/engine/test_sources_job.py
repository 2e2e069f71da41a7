"""Envoy for real, out of an image that was pushed before: for each platform its own, and the same layer as ever."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.real.program import Ended, istio_build


class Site:
    """One user's settings, and what the registry says with no code of ours between."""

    def __init__(self, registry: str, bases: str, source: Path, cache: Path) -> None:
        self.registry = registry
        self.bases = bases
        self.source = source
        self.cache = cache
        self.run = f"sources-{uuid.uuid4().hex[:8]}"

    def push(self, hub: str, *more: str, command: str = "push") -> Ended:
        return istio_build(
            *(command, "--source", self.source, "--hub", f"{self.registry}/{self.run}/{hub}", "--base-registry", self.bases),
            *("--image", "proxyv2", "--variant", "distroless", *more),
            env={"ISTIO_BUILD_CACHE": str(self.cache)},
        )

    def get(self, path: str) -> Any:  # noqa: ANN401 - JSON
        accept = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"
        answer = requests.get(f"http://{self.registry}/v2/{self.run}/{path}", headers={"Accept": accept}, timeout=30)
        assert answer.ok, answer.text
        return answer.json()

    def layers(self, hub: str) -> dict[str, list[str]]:
        """The digests of all layers by architecture."""
        index = self.get(f"{hub}/proxyv2/manifests/1.29.0-distroless")
        return {
            child["platform"]["architecture"]: [
                layer["digest"] for layer in self.get(f"{hub}/proxyv2/manifests/{child['digest']}")["layers"]
            ]
            for child in index["manifests"]
        }


@pytest.fixture
def site(registry: str, bases: str, source: Path, tmp_path: Path) -> Site:
    return Site(registry, bases, source, tmp_path / "cache")


def test_envoy_comes_out_of_an_image_where_it_is_nowhere_else(site: Site, small_envoy_url: str) -> None:
    first = site.push("first", "--envoy-url", small_envoy_url)
    assert first.code == 0, first.stderr
    image = f"{site.registry}/{site.run}/first/proxyv2:1.29.0-distroless"
    nowhere = f"{small_envoy_url}/nowhere"

    second = site.push("second", "--envoy-url", nowhere, "--envoy-image", image)
    assert second.code == 0, second.stderr
    assert f"envoy for linux/arm64 is taken from {image}@sha256:" in second.stderr
    assert f"{nowhere}/envoy-alpha-" in second.stderr
    # pilot-agent is stamped for another hub; Envoy and the base are the same, for each platform.
    before, after = site.layers("first"), site.layers("second")
    for architecture in ("amd64", "arm64"):
        assert len(before[architecture]) == len(after[architecture])
        differing = [pair for pair in zip(before[architecture], after[architecture], strict=True) if pair[0] != pair[1]]
        assert len(differing) == 1

    again = site.push("second", "--envoy-url", nowhere, "--envoy-image", image, "--output-format", "json")
    assert [entry["state"] for entry in again.report()["images"]] == ["unchanged"]


def test_a_plan_shows_where_it_would_come_from(site: Site, small_envoy_url: str) -> None:
    assert site.push("first", "--envoy-url", small_envoy_url).code == 0
    image = f"{site.registry}/{site.run}/first/proxyv2:1.29.0-distroless"
    settings = ["--envoy-from", "image,url", "--envoy-image", image]
    shown = site.push("second", *settings, "--format", "json", command="plan")
    assert shown.code == 0, shown.stderr
    artifacts = json.loads(shown.stdout)["artifacts"]
    assert [(entry["kind"], entry["member"]) for entry in artifacts] == [("image", "/usr/local/bin/envoy")] * 2
    assert all(entry["url"].startswith(f"{image}@sha256:") for entry in artifacts)
    assert "is taken from" not in shown.stderr


def test_an_envoy_that_is_nowhere_names_the_ways_out(site: Site, small_envoy_url: str) -> None:
    ended = site.push("none", "--envoy-url", f"{small_envoy_url}/nowhere", "--envoy-image", f"{site.registry}/none/proxyv2:1")
    assert ended.code == 8
    assert f"image {site.registry}/none/proxyv2:1 does not exist" in ended.stderr
    assert "--envoy linux/a" in ended.stderr
