"""A push to two registries of which one takes nothing: the other has its release, and the same again does what is missing."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from builder.oci.reference import RESERVED_TAGS
from tests.fakes.fault_server import FaultServer, Received, Reply, error_reply
from tests.process.test_without_docker import RECIPE, TEMPLATE, hub_with_a_base
from tests.real.program import Ended, istio_build
from tests.real.said_twice import said_twice
from tools.registry import serving

READS = ("GET", "HEAD")


class Front:
    """Stands before a registry and passes requests on; those that write are refused while it is `read_only`."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.read_only = True

    def __call__(self, received: Received) -> Reply:
        if self.read_only and received.method not in READS:
            return error_reply(403, "DENIED", "this registry is read-only")
        connection = http.client.HTTPConnection(self.host, timeout=30)
        try:
            query = "&".join(f"{name}={value}" for name, value in received.query.items())
            path = f"{received.path}?{query}" if query else received.path
            headers = {name: value for name, value in received.headers.items() if name.lower() != "host"}
            connection.request(received.method, path, received.body or None, headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), {k: v for k, v in answer.getheaders() if k.lower() != "transfer-encoding"})
        finally:
            connection.close()


@dataclass
class Site:
    """Two hubs, the second behind a front, and what is pushed to them."""

    work: Path
    source: Path
    first: str
    second: FaultServer
    front: Front

    def push(self, *more: str) -> Ended:
        hubs = ("--hub", f"{self.first}/istio", "--hub", f"{self.second.host}/istio")
        what = ("--source", self.source, "--recipes", self.work / "recipes", "--image", "note", "--engine", "builtin")
        env = {"ISTIO_BUILD_CACHE": str(self.work / "cache"), "DOCKER_CONFIG": str(self.work)}
        bases = ("--base-registry", f"{self.first}/istio-base")
        return istio_build("push", *hubs, *what, *bases, *more, env=env, timeout=120)

    def writes(self) -> list[str]:
        """What was written at the second hub, or would have been."""
        return [received.method for received in self.second.received if received.method not in READS]


@contextmanager
def running(work: Path, source: Path) -> Iterator[Site]:
    (work / "recipes").mkdir()
    (work / "recipes" / "note.yaml").write_text(RECIPE)
    (work / "recipes" / "note.Dockerfile.j2").write_text(TEMPLATE)
    with hub_with_a_base(work) as first, serving(work / "second") as behind:
        front = Front(behind)
        with FaultServer(front).running() as second:
            yield Site(work, source, first, second, front)


@pytest.fixture
def site(tmp_path: Path, source: Path) -> Iterator[Site]:
    with running(tmp_path, source) as site:
        yield site


def tags(host: str) -> dict[str, str]:
    """As the registry has them, with no code of ours between."""
    listed = requests.get(f"http://{host}/v2/istio/note/tags/list", timeout=30)
    names = sorted(set(listed.json().get("tags") or []) - set(RESERVED_TAGS)) if listed.ok else []
    manifests = {name: f"http://{host}/v2/istio/note/manifests/{name}" for name in names}
    accept = {"Accept": "application/vnd.oci.image.index.v1+json"}
    return {
        name: requests.head(url, headers=accept, timeout=30).headers["Docker-Content-Digest"] for name, url in manifests.items()
    }


def test_the_first_has_its_release_and_the_same_again_does_the_rest(site: Site) -> None:
    failed = site.push()
    assert failed.code == 14, failed.stderr
    assert "1 of 2 hubs do not have this release:" in failed.stderr
    assert f"  {site.first}/istio: all 2 tags are at this release" in failed.stderr
    assert f"  {site.second.host}/istio: no tag has moved: " in failed.stderr
    assert "Traceback" not in failed.stderr
    assert said_twice(failed) == []
    # Told before anything is made, and the others' table and references are there all the same.
    assert failed.stderr.index("has failed, and the other hubs go on") < failed.stderr.index("assemble")
    assert {line.partition("/")[0] for line in failed.stdout.splitlines()} == {site.first}
    assert f"{site.first}/istio/note:1.29.0 " in failed.stderr
    there = tags(site.first)
    assert set(there) == {"1.29.0", "1.29.0-debug"}
    assert tags(site.front.host) == {}
    site.front.read_only = False
    done = site.push("--output-format", "json")
    assert [(hub["hub"], hub["state"], hub["tags_moved"]) for hub in done.report()["hubs"]] == [
        (f"{site.first}/istio", "unchanged", 0),
        (f"{site.second.host}/istio", "moved", 2),
    ]
    assert tags(site.first) == tags(site.front.host) == there
    site.second.received.clear()
    again = site.push("--output-format", "json")
    assert [hub["state"] for hub in again.report()["hubs"]] == ["unchanged", "unchanged"]
    assert site.writes() == []


def test_programs_are_told_of_each_image_platform_and_hub(site: Site) -> None:
    failed = site.push("--progress", "json", "--output-format", "json")
    lines = [json.loads(line) for line in failed.stderr.splitlines()]
    assert [line["event"] for line in lines if line["event"] in ("result", "error")] == ["error"]
    told = lines[-1]
    assert told["exit_code"] == 14
    assert {(entry["image"], entry["platform"], entry["hub"], entry["state"]) for entry in told["images"]} == {
        ("note-debug", platform, f"{host}/istio", state)
        for platform in ("linux/amd64", "linux/arm64")
        for host, state in ((site.first, "moved"), (site.second.host, "failed"))
    }
    assert all(("read-only" in entry["error"]) is (entry["state"] == "failed") for entry in told["images"])
    report = json.loads(failed.stdout)
    assert [hub["state"] for hub in report["hubs"]] == ["moved", "failed"]
    assert {reference.partition("/")[0] for image in report["images"] for reference in image["references"]} == {site.first}


def test_with_fail_fast_nothing_is_made(site: Site) -> None:
    failed = site.push("--fail-fast")
    assert failed.code == 14, failed.stderr
    assert "assemble" not in failed.stderr
    assert tags(site.first) == {}


def test_a_hub_where_nothing_listens_keeps_nobody_waiting(site: Site) -> None:
    failed = site.push("--hub", "127.0.0.1:1/istio", "--fail-fast")
    assert failed.code == 13, failed.stderr
    site.front.read_only = False
    failed = site.push("--hub", "127.0.0.1:1/istio")
    assert failed.code == 13, failed.stderr
    assert "1 of 3 hubs do not have this release:" in failed.stderr
    assert tags(site.first) == tags(site.front.host) != {}
