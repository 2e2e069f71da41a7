"""Why proxyv2 is built anew at a real registry: said by a plan and by the push, each on a machine that has never seen it."""

import json
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests

from builder.oci.manifest import INDEX
from tests.real.program import Ended, istio_build
from tests.samples.programs import make_elf

KEY = "proxyv2-distroless"
BASE_TAG = "1.29-2026-02-04T19-02-21"


class Site:
    """A hub, and a new machine for each run, which shares with the others only what was compiled and fetched."""

    def __init__(self, registry: str, bases: str, work: Path) -> None:
        self.registry, self.bases, self.work = registry, bases, work
        self.path = f"why-{uuid.uuid4().hex[:8]}/istio"
        self.hub = f"{registry}/{self.path}"
        self.runs = 0

    def envoy(self, architecture: str, content: bytes) -> str:
        path = self.work / f"envoy-{architecture}-{len(content)}"
        path.write_bytes(make_elf(architecture) + content)
        return f"linux/{architecture}={path}"

    def run(self, command: str, tree: Path, *more: str) -> Ended:
        self.runs += 1
        settings = ("--source", tree, "--hub", self.hub, "--tag", "dev", "--base-registry", self.bases)
        chosen = ("--image", "proxyv2", "--variant", "distroless")
        env = {"ISTIO_BUILD_CACHE": str(self.work / f"machine-{self.runs}")}
        return istio_build(command, *settings, *chosen, *more, env=env)

    def reasons(self, tree: Path, *more: str) -> Sequence[dict[str, Any]]:
        """Why a push builds it, which the plan has said before, and progress says before the build."""
        planned = self.run("plan", tree, "--against-hub", "--format", "json", *more)
        assert planned.code == 0, planned.stderr
        [compared] = json.loads(planned.stdout)["against_hub"]["images"]
        pushed = self.run("push", tree, "--engine", "builtin", "--output-format", "json", *more)
        [image] = pushed.report()["images"]
        reasons: Sequence[dict[str, Any]] = image.get("reasons", [])
        assert (compared["state"], compared["reasons"]) == (image["state"], reasons)
        for reason in reasons:
            line = f"why: {reason['text']}: {KEY}\n"
            assert pushed.stderr.index(line) < pushed.stderr.index("compile ")
        assert ("why: " in pushed.stderr) is bool(reasons)
        return reasons

    def drop_a_platform(self) -> None:
        """As somebody does who makes an index by hand, of what is there."""
        url = f"http://{self.registry}/v2/{self.path}/proxyv2/manifests/dev-distroless"
        index = requests.get(url, headers={"Accept": INDEX}, timeout=30).json()
        index["manifests"] = [child for child in index["manifests"] if child["platform"]["architecture"] == "amd64"]
        put = requests.put(url, data=json.dumps(index), headers={"Content-Type": INDEX}, timeout=30)
        assert put.status_code == 201, put.text


@pytest.fixture
def site(registry: str, bases: str, tmp_path: Path) -> Site:
    return Site(registry, bases, tmp_path)


def test_each_change_is_told_by_its_name(site: Site, source: Path, tmp_path: Path) -> None:
    envoys = ["--envoy", site.envoy("amd64", b"1"), "--envoy", site.envoy("arm64", b"1")]
    assert [reason["kind"] for reason in site.reasons(source, *envoys)] == ["new"]
    assert site.reasons(source, *envoys) == []

    base = ["--base", f"iptables={site.bases}/base:{BASE_TAG}"]
    [moved] = site.reasons(source, *envoys, *base)
    assert (moved["kind"], moved["what"]) == ("base", "base iptables")
    assert moved["text"] == f"base image iptables moved from {moved['before'][:19]} to {moved['after'][:19]}"

    envoys[3] = site.envoy("arm64", b"another")
    [another] = site.reasons(source, *envoys, *base)
    assert (another["kind"], another["what"], another["platforms"]) == ("artifact", "artifact envoy", ["linux/arm64"])

    changed = Path(shutil.copytree(source, tmp_path / "changed", symlinks=True))
    main = changed / "pilot" / "cmd" / "pilot-agent" / "main.go"
    main.write_text(main.read_text() + "\nvar another = 1\n")
    [dirty] = site.reasons(changed, *envoys, *base)
    assert dirty["text"].endswith("-dirty (in pilot)")
    main.write_text(main.read_text() + "\nvar more = 1\n")
    [edited] = site.reasons(changed, *envoys, *base)
    assert (edited["kind"], edited["what"]) == ("source", "pilot")

    site.drop_a_platform()
    [lost] = site.reasons(changed, *envoys, *base)
    assert (lost["kind"], lost["text"]) == ("platform-lost", f"{site.hub} lost linux/arm64")
    assert site.reasons(changed, *envoys, *base) == []
