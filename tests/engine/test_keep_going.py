"""One image that cannot be built: the others are, and are at the registry; no tag moves until all are there."""

import json
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
import requests

from builder.oci.reference import RESERVED_TAGS
from tests.real.program import Ended, istio_build

BROKEN = "pilot/cmd/pilot-discovery/main.go"


class Site:
    """The sample tree with a mistake in pilot, pushed to a hub of its own."""

    def __init__(self, registry: str, bases: str, envoy_url: str, source: Path, work: Path) -> None:
        self.registry, self.path = registry, f"going-{uuid.uuid4().hex[:8]}"
        self.tree = work / "tree"
        shutil.copytree(source, self.tree, symlinks=True)
        self.settings = ("--base-registry", bases, "--envoy-url", envoy_url, "--engine", "builtin", "--source", self.tree)
        self.env = {"ISTIO_BUILD_CACHE": str(work / "cache")}

    def push(self, *more: str) -> Ended:
        hub = f"{self.registry}/{self.path}"
        return istio_build("push", "--hub", hub, "--tag", "dev", *self.settings, *more, env=self.env)

    def commit(self, text: str) -> None:
        (self.tree / BROKEN).write_text(text, encoding="utf-8")
        who = ("-c", "user.name=me", "-c", "user.email=me@example.com")
        subprocess.run(["git", "-C", self.tree, *who, "commit", "--quiet", "--all", "--message", "a change"], check=True)

    def tags(self, image: str) -> list[str]:
        """As the registry lists them, with no code of ours between."""
        answer = requests.get(f"http://{self.registry}/v2/{self.path}/{image}/tags/list", timeout=30)
        tags = set(answer.json().get("tags") or []) if answer.ok else set()
        # What a run writes down of itself is no tag of an image, and this registry cannot delete it.
        return sorted(tags - set(RESERVED_TAGS))


@pytest.fixture
def site(registry: str, bases: str, small_envoy_url: str, source: Path, tmp_path: Path) -> Site:
    return Site(registry, bases, small_envoy_url, source, tmp_path)


def test_the_others_are_built_and_sent_and_the_next_run_has_the_rest_to_do(site: Site) -> None:
    right = (site.tree / BROKEN).read_text(encoding="utf-8")
    site.commit(f"{right}\nvar _ = notThere\n")
    failed = site.push("--progress", "json")
    assert failed.code == 7, failed.stderr
    told = json.loads(failed.stderr.splitlines()[-1])
    assert told["message"].count("undefined: notThere") == 1, "the same on each platform"
    assert all(f"pilot-distroless on {platform}" in told["message"] for platform in ("linux/amd64", "linux/arm64"))
    assert "No tag has moved" in told["message"]
    states = {(entry["image"], entry["platform"]): entry["state"] for entry in told["images"]}
    assert {state for (image, _), state in states.items() if image.startswith("pilot-")} == {"failed"}
    assert {state for (image, _), state in states.items() if not image.startswith("pilot-")} == {"sent"}
    assert {entry["hub"] for entry in told["images"] if entry["state"] == "sent"} == {f"{site.registry}/{site.path}"}
    assert len(states) == 12
    assert [site.tags(image) for image in ("istioctl", "pilot", "proxyv2")] == [[], [], []]
    # The mistake is mended where it was made, so the others' programs are the same but for the commit stamped into them.
    (site.tree / BROKEN).write_text(right, encoding="utf-8")
    subprocess.run(["git", "-C", site.tree, "reset", "--quiet", "--hard", "HEAD^"], check=True)
    done = site.push("--output-format", "json")
    assert done.code == 0, done.stderr
    assert site.tags("pilot") == ["dev", "dev-debug", "dev-distroless"]


def test_fail_fast_ends_with_the_first(site: Site) -> None:
    site.commit((site.tree / BROKEN).read_text(encoding="utf-8") + "\nvar _ = notThere\n")
    failed = site.push("--fail-fast", "--progress", "json")
    assert failed.code == 7, failed.stderr
    told = json.loads(failed.stderr.splitlines()[-1])
    assert "images" not in told
    assert told["message"].count("undefined: notThere") == 1
