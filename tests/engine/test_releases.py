"""Releases at a real registry: what it remembers of them, going back to the first, and promoting it to another hub."""

import json
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from builder.oci.manifest import CONFIG, INDEX, MANIFEST
from builder.oci.reference import Digest
from tests.real.program import Ended, istio_build

IMAGES = ("--image", "pilot,istioctl")


class Site:
    """A hub in the registry, and machines that know nothing of each other."""

    def __init__(self, registry: str, bases: str, work: Path) -> None:
        self.registry, self.bases, self.work = registry, bases, work
        self.path = f"releases-{uuid.uuid4().hex[:8]}"
        self.hub = f"{registry}/{self.path}/stage"

    def run(self, machine: str, *words: str | Path) -> Ended:
        return istio_build(*words, env={"ISTIO_BUILD_CACHE": str(self.work / machine)}, cwd=self.work)

    def push(self, source: Path, *more: str) -> dict[str, str]:
        settings = ("--base-registry", self.bases, "--engine", "builtin", "--output-format", "json", *IMAGES, *more)
        return self.run("pusher", "push", "--source", source, "--hub", self.hub, "--tag", "1.29.0", *settings).digests()

    def index(self, hub: str, image: str, tag: str) -> str:
        """The digest that the registry has, with no code of ours between."""
        answer = requests.get(self.url(hub, image, f"manifests/{tag}"), headers={"Accept": INDEX}, timeout=30)
        return answer.headers["Docker-Content-Digest"] if answer.ok else ""

    def url(self, hub: str, image: str, what: str) -> str:
        registry, _, path = hub.partition("/")
        return f"http://{registry}/v2/{path}/{image}/{what}"

    def history(self, *more: str) -> Sequence[dict[str, Any]]:
        ended = self.run("reader", "history", "--hub", self.hub, "--output-format", "json", *more)
        assert ended.code == 0, ended.stderr
        releases: Sequence[dict[str, Any]] = json.loads(ended.stdout)["releases"]
        return releases

    def sign(self, image: str, digest: str) -> str:
        """Put a signature of an image beside it, as `cosign` and `oras attach` do; gives its digest."""
        for content in (b"{}", b"signed"):
            begun = requests.post(self.url(self.hub, image, "blobs/uploads/"), timeout=30)
            place = begun.headers["Location"]
            place = place if place.startswith("http") else f"http://{self.registry}{place}"
            put = requests.put(place, params={"digest": str(Digest.of(content))}, data=content, timeout=30)
            assert put.status_code == 201, put.text
        index = requests.get(self.url(self.hub, image, f"manifests/{digest}"), headers={"Accept": INDEX}, timeout=30)
        document = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": "application/vnd.example.signature",
                "config": {"mediaType": CONFIG, "digest": str(Digest.of(b"{}")), "size": 2},
                "layers": [{"mediaType": "application/octet-stream", "digest": str(Digest.of(b"signed")), "size": 6}],
                "subject": {"mediaType": INDEX, "digest": digest, "size": len(index.content)},
            }
        ).encode()
        own = str(Digest.of(document))
        put = requests.put(
            self.url(self.hub, image, f"manifests/{own}"), data=document, headers={"Content-Type": MANIFEST}, timeout=30
        )
        assert put.status_code == 201, put.text
        if "OCI-Subject" not in put.headers:
            listed = {"mediaType": MANIFEST, "digest": own, "size": len(document)}
            text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [listed]})
            tag = self.url(self.hub, image, f"manifests/{digest.replace(':', '-')}")
            assert requests.put(tag, data=text, headers={"Content-Type": INDEX}, timeout=30).status_code == 201
        return own


@pytest.fixture
def site(registry: str, bases: str, tmp_path: Path) -> Site:
    return Site(registry, bases, tmp_path)


def test_two_releases_one_rollback_and_a_promotion(site: Site, source: Path, tmp_path: Path) -> None:
    first = site.push(source)
    changed = Path(shutil.copytree(source, tmp_path / "changed", symlinks=True))
    main = changed / "pilot" / "cmd" / "pilot-discovery" / "main.go"
    main.write_text(main.read_text() + "\nvar another = 1\n\nfunc init() { println(another) }\n")
    # Uncommitted changes may take a release over only where that is said.
    second = site.push(changed, "--replace")
    assert second["pilot-debug"] != first["pilot-debug"]
    # Nothing moves: nothing is written down.
    assert site.push(changed, "--replace") == second
    made = site.history()
    assert [release["by"] for release in made] == ["push", "push"]
    assert [{image["image"]: image["digest"] for image in release["images"]} for release in made] == [second, first]
    assert {image["present"] for release in made for image in release["images"]} == {True}

    shown = site.run("operator", "rollback", "--hub", site.hub, "--tag", "1.29.0", "--dry-run")
    assert shown.code == 0, shown.stderr
    assert f"back to release {made[1]['release'][:12]}" in shown.stdout
    assert site.index(site.hub, "pilot", "1.29.0") == second["pilot-debug"]
    back = site.run("operator", "rollback", "--hub", site.hub, "--tag", "1.29.0")
    assert back.code == 0, back.stderr
    for key, digest in first.items():
        image, _, variant = key.partition("-")
        assert site.index(site.hub, image, f"1.29.0-{variant}") == digest
        assert variant != "debug" or site.index(site.hub, image, "1.29.0") == digest
    assert site.history()[0]["by"] == f"rollback {made[1]['release'][:12]}"
    again = site.run("operator", "rollback", "--hub", site.hub, "--tag", "1.29.0")
    assert again.code == 2
    assert "no release before" in again.stderr

    signature = site.sign("pilot", first["pilot-debug"])
    production = f"{site.registry}/{site.path}/production"
    words = ("--from", f"{site.hub}:1.29.0", "--hub", production, "--tag", "prod", "--output-format", "json")
    promoted = site.run("promoter", "promote", *words)
    assert promoted.digests() == first
    assert promoted.report()["traffic"]["bytes_sent"] == 0
    assert site.index(production, "istioctl", "prod-distroless") == first["istioctl-distroless"]
    assert requests.get(site.url(production, "pilot", f"manifests/{signature}"), headers={"Accept": MANIFEST}, timeout=30).ok
    checked = site.run(
        "reader", "verify", "--hub", production, "--istio", "1.29.0", "--tag", "prod", *IMAGES, "--compare-with", "none"
    )
    assert checked.code == 0, checked.stdout + checked.stderr
