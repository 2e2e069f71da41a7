"""A hub is verified in a real registry: right as it was pushed, then with what careless tools do to it."""

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import requests

from builder.oci.manifest import INDEX, MANIFEST
from tests import ROOT
from tests.real.program import Ended, istio_build


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A pushed release, and a cache of the one who verifies it."""

    hub: str
    cache: Path

    def verify(self, *more: str) -> Ended:
        """Verify the release's pilot."""
        return istio_build(
            *("verify", "--hub", self.hub, "--istio", "1.29.0", "--image", "pilot", "--compare-with", "none", *more),
            env={"ISTIO_BUILD_CACHE": str(self.cache)},
        )

    def report(self, *more: str) -> dict[str, Any]:
        """The same as JSON, which is what its schema says."""
        ended = self.verify("--format", "json", *more)
        assert ended.stdout, ended.stderr
        document: dict[str, Any] = json.loads(ended.stdout)
        jsonschema_rs.validate(json.loads((ROOT / "docs" / "schemas" / "verify.json").read_text()), document)
        return document

    def url(self, what: str) -> str:
        """An address of the pilot's repository, to be asked with no code of ours between."""
        registry, _, path = self.hub.partition("/")
        return f"http://{registry}/v2/{path}/pilot/{what}"

    def keep_one_platform(self, tag: str) -> None:
        """As a copy by digest of what this machine pulled: the tag becomes the manifest of amd64."""
        index = requests.get(self.url(f"manifests/{tag}"), headers={"Accept": INDEX}, timeout=30).json()
        child = next(entry for entry in index["manifests"] if entry["platform"]["architecture"] == "amd64")
        manifest = requests.get(self.url(f"manifests/{child['digest']}"), headers={"Accept": MANIFEST}, timeout=30)
        put = requests.put(self.url(f"manifests/{tag}"), data=manifest.content, headers={"Content-Type": MANIFEST}, timeout=30)
        assert put.status_code == 201, put.text


@pytest.fixture
def release(registry: str, bases: str, source: Path, tmp_path: Path) -> Release:
    hub = f"{registry}/verify-{uuid.uuid4().hex[:8]}/istio"
    ended = istio_build(
        *("push", "--source", source, "--hub", hub, "--tag", "1.29.0", "--image", "pilot", "--base-registry", bases),
        env={"ISTIO_BUILD_CACHE": str(tmp_path / "pusher")},
    )
    assert ended.code == 0, ended.stderr
    return Release(hub=hub, cache=tmp_path / "verifier")


def findings(document: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (finding["kind"], finding["reference"].rpartition("/")[2], finding["platform"])
        for image in document["images"]
        for finding in image["findings"]
    ]


def test_a_pushed_release_is_right_and_one_that_lost_a_platform_is_not(release: Release, runs_arm64: bool) -> None:
    first = release.verify()
    assert first.code == 0, first.stdout + first.stderr
    assert "fetch " in first.stderr
    again = release.verify()
    assert (again.code, again.stdout) == (0, first.stdout)
    assert "fetch " not in again.stderr

    document = release.report("--run", "--deep")
    assert (document["ok"], findings(document)) == (True, [])
    platforms = [look for image in document["images"] for look in image["platforms"]]
    assert {(look["platform"], program["version"]) for look in platforms for program in look["programs"]} == {
        ("linux/amd64", "1.29.0"),
        ("linux/arm64", "1.29.0"),
    }
    started = {look["platform"] for look in platforms for entry in look["started"] if "1.29.0" in entry["output"]}
    assert started == {"linux/amd64", *(("linux/arm64",) if runs_arm64 else ())}

    release.keep_one_platform("1.29.0-distroless")
    lost = release.verify("--fix-hint")
    assert lost.code == 16
    assert "lost linux/arm64: pushed by a tool that copies one platform" in lost.stdout
    assert "1 fault in 1 of 2 images" in lost.stderr
    assert findings(release.report()) == [("missing-platform", "pilot:1.29.0-distroless", "linux/arm64")]
    # The debug variant is as it was.
    assert release.verify("--variant", "debug").code == 0
    assert release.verify("--platform", "linux/amd64").code == 0


def test_any_image_can_be_verified(bases: str, tmp_path: Path) -> None:
    registry, _, path = bases.partition("/")
    tags = requests.get(f"http://{registry}/v2/{path}/base/tags/list", timeout=30).json()["tags"]
    ended = istio_build("verify", *(f"{bases}/base:{tag}" for tag in tags), env={"ISTIO_BUILD_CACHE": str(tmp_path)})
    assert ended.code == 0, ended.stdout + ended.stderr
    assert " 0 faults" in ended.stdout
