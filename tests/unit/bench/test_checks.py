"""A contestant is held to its work: what is at the registry, what was compiled, and how often the registry was asked."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.oci.elf import read_executable
from tests.fakes.fault_server import FaultServer, Received, Reply
from tools.bench.blobs import write_blob
from tools.bench.docker_builder import parse_duration
from tools.bench.peak import peak_bytes
from tools.bench.process import BenchError, plain_environment
from tools.bench.registry import count_requests, read_platforms
from tools.bench.work import PushCheck, Work, check_program

LOG = """\
127.0.0.1 - - [25/Nov/2026:09:00:00 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "istio-build"
127.0.0.1 - - [25/Nov/2026:09:00:00 +0000] "HEAD /v2/a/pilot/blobs/sha256:aa HTTP/1.1" 404 157 "" "istio-build"
127.0.0.1 - - [25/Nov/2026:09:00:00 +0000] "GET /v2/a/pilot/manifests/bench HTTP/1.1" 200 600 "" "a "GET /v2/" of an agent"
time="2026-11-25T09:00:00Z" level=error msg="response completed" http.request.method=GET
"""


class TestRequests:
    def test_are_counted_in_the_access_log_by_method(self) -> None:
        assert count_requests(LOG) == {"GET": 2, "HEAD": 1}

    def test_none(self) -> None:
        assert count_requests("") == {}


class Hub:
    """A registry with images of one tag, made of what each manifest's configuration says."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def add(self, document: object) -> str:
        content = json.dumps(document).encode()
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.contents[digest] = content
        return digest

    def image(self, operating_system: str, architecture: str) -> dict[str, object]:
        config = self.add({"os": operating_system, "architecture": architecture})
        digest = self.add({"config": {"digest": config}, "layers": []})
        return {"digest": digest, "platform": {"os": operating_system, "architecture": architecture}}

    def tag(self, document: object, tag: str = "bench-debug") -> str:
        digest = self.add(document)
        self.contents[tag] = self.contents[digest]
        return digest

    def __call__(self, received: Received) -> Reply:
        content = self.contents.get(received.path.rpartition("/")[2])
        return Reply(404) if content is None else Reply(200, content)


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def host(hub: Hub) -> Iterator[str]:
    with FaultServer(hub).running() as server:
        yield server.host


class TestPlatforms:
    def test_of_an_index(self, hub: Hub, host: str) -> None:
        digest = hub.tag({"manifests": [hub.image("linux", "amd64"), hub.image("linux", "arm64")]})
        assert read_platforms(f"{host}/x/pilot:bench-debug") == (digest, frozenset({"linux/amd64", "linux/arm64"}))

    def test_an_attestation_is_no_platform(self, hub: Hub, host: str) -> None:
        attestation = {"digest": "sha256:aa", "platform": {"os": "unknown", "architecture": "unknown"}}
        hub.tag({"manifests": [hub.image("linux", "amd64"), attestation]})
        assert read_platforms(f"{host}/x/pilot:bench-debug")[1] == {"linux/amd64"}

    def test_what_an_index_promises_does_not_count(self, hub: Hub, host: str) -> None:
        promised = {**hub.image("linux", "amd64"), "platform": {"os": "linux", "architecture": "arm64"}}
        hub.tag({"manifests": [hub.image("linux", "amd64"), promised]})
        assert read_platforms(f"{host}/x/pilot:bench-debug")[1] == {"linux/amd64"}

    def test_of_an_image_without_an_index(self, hub: Hub, host: str) -> None:
        config = hub.add({"os": "linux", "architecture": "arm64"})
        hub.tag({"config": {"digest": config}, "layers": []})
        assert read_platforms(f"{host}/x/pilot:bench-debug")[1] == {"linux/arm64"}


class TestPushCheck:
    WORK = Work(name="changed", go_cache=Path("unused"), images=("pilot",), variants=("debug",))

    def test_both_platforms_are_there(self, hub: Hub, host: str) -> None:
        hub.tag({"manifests": [hub.image("linux", "amd64"), hub.image("linux", "arm64")]})
        PushCheck().check("somebody", f"{host}/x", self.WORK, is_new=True)

    def test_one_is_missing(self, hub: Hub, host: str) -> None:
        hub.tag({"manifests": [hub.image("linux", "arm64")]})
        with pytest.raises(
            BenchError, match=r"somebody did not do the work: .*/x/pilot:bench-debug has linux/arm64, not linux/amd64"
        ):
            PushCheck().check("somebody", f"{host}/x", self.WORK, is_new=False)

    def test_the_image_is_missing(self, host: str) -> None:
        with pytest.raises(BenchError, match="404"):
            PushCheck().check("somebody", f"{host}/x", self.WORK, is_new=False)

    def test_new_work_makes_another_image(self, hub: Hub, host: str) -> None:
        both = [hub.image("linux", "amd64"), hub.image("linux", "arm64")]
        check = PushCheck()
        hub.tag({"manifests": both})
        check.check("somebody", f"{host}/x", self.WORK, is_new=False)
        check.check("somebody", f"{host}/x", self.WORK, is_new=False)
        with pytest.raises(BenchError, match=r"is still sha256:.*although the source changed"):
            check.check("somebody", f"{host}/x", self.WORK, is_new=True)
        hub.tag({"manifests": both, "annotations": {"another": "one"}})
        check.check("somebody", f"{host}/x", self.WORK, is_new=True)


class TestPrograms:
    @pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
    def test_a_blob_is_a_program_of_its_size(self, tmp_path: Path, platform: str) -> None:
        blob = write_blob(tmp_path / "blob", platform.partition("/")[2], 2)
        check_program("go build", blob, platform)
        assert blob.stat().st_size == 2_000_000
        with blob.open("rb") as file:
            found = read_executable(file)
        assert found is not None
        assert found.architecture == platform.partition("/")[2]

    def test_a_blob_is_another_each_time(self, tmp_path: Path) -> None:
        first = write_blob(tmp_path / "blob", "amd64", 1).read_bytes()
        assert write_blob(tmp_path / "blob", "amd64", 1).read_bytes() != first

    @pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", None], ids=["empty", "script", "other platform"])
    def test_no_program_for_the_platform(self, tmp_path: Path, content: bytes | None) -> None:
        path = write_blob(tmp_path / "pilot-discovery", "arm64", 1)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BenchError, match="pilot-discovery is no program for linux/amd64"):
            check_program("go build", path, "linux/amd64")


def test_nobody_compiles_with_other_settings_than_the_compiler_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOGC", "GOMEMLIMIT", "GOMAXPROCS", "ISTIO_BUILD_ENGINE"):
        monkeypatch.setenv(name, "1")
    environment = plain_environment(GOCACHE="/somewhere")
    assert environment["GOCACHE"] == "/somewhere"
    assert not {"GOGC", "GOMEMLIMIT", "GOMAXPROCS", "ISTIO_BUILD_ENGINE"} & set(environment)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1.5s", 1.5), ("350ms", 0.35), ("1m2.5s", 62.5), ("1h0m1s", 3601.0), ("12µs", 0.000012)]
)
def test_durations_of_go(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


def test_peak_memory() -> None:
    assert peak_bytes("VmPeak:\t  99999 kB\nVmHWM:\t  5000 kB\nVmRSS:\t 4000 kB\n") == 5_120_000
    with pytest.raises(ValueError, match="no VmHWM"):
        peak_bytes("Name:\tpython\n")
