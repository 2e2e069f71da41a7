"""Uploads that are cut off go on; registries that refuse what comes too fast slow us down and never fail us."""

import hashlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from builder import __version__
from builder.errors import RegistryError
from builder.net.live_connections import peer_name
from builder.net.patience import Patience
from builder.net.session import Waiting
from builder.oci.manifest import INDEX, Descriptor, Manifest
from builder.oci.reference import Digest, Repository
from builder.ports import UploadOutcome
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import FaultServer, Received, Reply, Reset, TinyRegistry, TokenService, error_reply

BLOB = os.urandom(3_000_000)
KEPT = 1_000_000


class KeepingRegistry(TinyRegistry):
    """Keeps what came of an upload, as the specification lets it, and says how much that is."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, bytes] = {}
        self.statuses = 0

    def __call__(self, received: Received) -> Reply:
        match = re.fullmatch(r"/v2/(.+)/blobs/uploads/(.+)", received.path)
        if not match or received.method == "POST":
            return super().__call__(received)
        name, session = match[1], match[2]
        have = self.kept.get(session, b"")
        where = {"Location": f"/v2/{name}/blobs/uploads/{session}?state=a%3Db", "Range": f"0-{max(0, len(have) - 1)}"}
        if received.method == "GET":
            self.statuses += 1
            return Reply(204, headers=where)
        if received.method == "PATCH":
            begin = int(received.headers.get("Content-Range", f"{len(have)}-").split("-")[0])
            if begin != len(have):
                return Reply(416, headers=where)
            self.kept[session] = have + received.body
            return Reply(202, headers={**where, "Range": f"0-{len(self.kept[session]) - 1}"})
        whole = have + received.body
        if received.query["digest"] != "sha256:" + hashlib.sha256(whole).hexdigest():
            return error_reply(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        self.blobs.setdefault(name, {})[received.query["digest"]] = whole
        return Reply(201, headers={"Docker-Content-Digest": received.query["digest"]})


@dataclass
class Bench:
    """A client, and a registry that cuts uploads off."""

    server: FaultServer
    registry: KeepingRegistry
    client: HttpRegistry
    path: Path
    waits: list[float] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)

    @property
    def repository(self) -> Repository:
        return Repository(self.server.host, "istio/pilot")

    def cut_off(self, *kept: int) -> None:
        """Have the next uploads, a PUT and then PATCHes, end after so many bytes in all, which the registry keeps."""
        for before, size in itertools.pairwise((0, *kept)):
            self.server.inject("PATCH" if before else "PUT", "uploads", Reset(after=size - before))
        self.keep(*kept)

    def keep(self, *kept: int) -> None:
        """Have the registry find, each time it is asked, that it has so much."""
        sizes = iter(kept)
        answer = self.registry.__call__

        def respond(received: Received) -> Reply:
            if received.method == "GET" and "uploads" in received.path and (size := next(sizes, None)) is not None:
                self.registry.kept[received.path.rpartition("/")[2]] = BLOB[:size]
            return answer(received)

        self.server.respond = respond

    def push(self, content: bytes = BLOB) -> UploadOutcome:
        self.path.write_bytes(content)
        blob = Descriptor(media_type="application/octet-stream", digest=Digest.of(content), size=len(content))
        return self.client.push_blob(self.repository, blob, lambda: self.path, on_bytes=self.counted.append)

    def check_stored(self, content: bytes = BLOB) -> None:
        assert self.registry.blobs["istio/pilot"][str(Digest.of(content))] == content
        assert sum(self.counted) == len(content)


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    registry = KeepingRegistry()
    with FaultServer(registry).running() as server:

        def make(budget: float = 120.0, warn: Callable[[str], None] = lambda _: None) -> Bench:
            waits: list[float] = []
            client = HttpRegistry(
                credentials=lambda _: None,
                retry=RetryPolicy(sleep=waits.append, total_wait=budget),
                waiting=Waiting(warn=warn),
                clock=lambda: time.monotonic() + sum(waits),
            )
            return Bench(server, registry, client, tmp_path / "blob", waits)

        yield make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


def test_an_upload_goes_on_where_the_registry_says_that_it_ended(bench: Bench) -> None:
    bench.cut_off(KEPT)
    assert bench.push() is UploadOutcome.UPLOADED
    bench.check_stored()
    [patch] = bench.server.requests("PATCH")
    assert patch.headers["Content-Range"] == f"{KEPT}-{len(BLOB) - 1}"
    assert len(patch.body) == len(BLOB) - KEPT
    assert len(bench.server.requests("POST")) == 1
    # The second PUT only says that this is all.
    assert [len(put.body) for put in bench.server.requests("PUT")] == [KEPT, 0]


def test_it_goes_on_as_often_as_it_gets_further(make_bench: Callable[..., Bench]) -> None:
    """Each cut alone would take more of the budget than is left of it."""
    bench = make_bench(budget=3.0)
    bench.cut_off(*range(100_000, 2_900_000, 100_000))
    assert bench.push() is UploadOutcome.UPLOADED
    bench.check_stored()
    assert sum(bench.waits) > 10


def test_it_begins_anew_where_the_registry_has_forgotten_it(bench: Bench) -> None:
    bench.server.inject("PUT", "uploads", Reset(after=KEPT))
    bench.server.inject("GET", "uploads", error_reply(404, "BLOB_UPLOAD_UNKNOWN", "gone"))
    assert bench.push() is UploadOutcome.UPLOADED
    bench.check_stored()
    assert len(bench.server.requests("POST")) == 2
    assert bench.server.requests("PATCH") == []


@pytest.mark.parametrize("told", ["bytes=0-x", "5-9", "0-99999999", ""])
def test_it_begins_anew_where_the_registry_says_what_cannot_be(bench: Bench, told: str) -> None:
    bench.server.inject("PUT", "uploads", Reset(after=KEPT))
    bench.server.inject("GET", "uploads", Reply(204, headers={"Range": told}))
    assert bench.push() is UploadOutcome.UPLOADED
    bench.check_stored()
    assert len(bench.server.requests("POST")) == 2


def test_a_registry_that_has_less_than_it_said_is_asked_again(bench: Bench) -> None:
    bench.server.inject("PUT", "uploads", Reset(after=KEPT))
    bench.server.inject("PATCH", "uploads", Reply(416))
    bench.keep(KEPT, KEPT - 1000)
    assert bench.push() is UploadOutcome.UPLOADED
    bench.check_stored()
    assert [patch.headers["Content-Range"].split("-")[0] for patch in bench.server.requests("PATCH")] == [
        str(KEPT),
        str(KEPT - 1000),
    ]


def test_an_upload_that_the_registry_forgets_is_begun_anew_once(bench: Bench) -> None:
    bench.server.inject("PUT", "uploads", error_reply(404, "BLOB_UPLOAD_UNKNOWN", "gone"))
    bench.server.inject("GET", "uploads", error_reply(404, "BLOB_UPLOAD_UNKNOWN", "gone"))
    assert bench.push() is UploadOutcome.UPLOADED
    bench.check_stored()


def test_one_that_it_always_forgets_fails(bench: Bench) -> None:
    bench.server.inject("PUT", "uploads", *[error_reply(404, "BLOB_UPLOAD_UNKNOWN", "gone")] * 9)
    with pytest.raises(RegistryError, match="BLOB_UPLOAD_UNKNOWN"):
        bench.push()
    assert len(bench.server.requests("PUT")) == 2


def test_a_token_that_expires_in_the_middle_is_fetched_anew_and_the_upload_goes_on(bench: Bench) -> None:
    bench.cut_off(KEPT)
    service = TokenService(bench.server.respond)
    service.realm = f"{bench.server.url}/token"

    def respond(received: Received) -> Reply:
        if received.method == "GET" and "uploads" in received.path and len(bench.server.requests("GET", "uploads")) == 1:
            service.valid.clear()
        return service(received)

    bench.server.respond = respond
    assert bench.push() is UploadOutcome.UPLOADED
    bench.check_stored()
    assert len(bench.server.requests("PATCH")) == 1
    assert len(bench.server.requests("GET", "/token")) == 2


def test_only_what_failed_is_asked_again(bench: Bench) -> None:
    bench.server.inject("POST", "uploads", Reply(500), Reply(500))
    assert bench.push() is UploadOutcome.UPLOADED
    assert [request.method for request in bench.server.received] == ["HEAD", "POST", "POST", "POST", "PUT"]


@pytest.mark.parametrize(
    ("refusal", "each"),
    [
        (Reply(429, headers={"Retry-After": "2"}), 3),
        (Reply(503, headers={"Retry-After": "1"}), 3),
        (Reply(502), 3),
        (Reply(500), 4),
    ],
    ids=["429", "503", "502", "500"],
)
def test_a_registry_that_refuses_a_part_of_all_requests_slows_us_down_and_never_fails_us(
    bench: Bench, refusal: Reply, each: int
) -> None:
    """Of all methods, in any order: 16 blobs, each over some three requests."""
    numbers = itertools.count(1)
    answer = bench.registry.__call__

    def respond(received: Received) -> Reply:
        return refusal if next(numbers) % each == 0 else answer(received)

    bench.server.respond = respond
    blobs = {}
    for number in range(16):
        path = bench.path.with_name(str(number))
        path.write_bytes(bytes([number]) * 1000)
        blobs[path] = Descriptor(media_type="x", digest=Digest.of(path.read_bytes()), size=1000)
    with ThreadPoolExecutor(6) as pool:
        pushes = [
            pool.submit(bench.client.push_blob, bench.repository, blob, partial(Path, path)) for path, blob in blobs.items()
        ]
        outcomes = {push.result() for push in pushes}
    assert outcomes <= {UploadOutcome.UPLOADED, UploadOutcome.PRESENT}
    assert set(bench.registry.blobs["istio/pilot"]) == {str(blob.digest) for blob in blobs.values()}
    index = Manifest(media_type=INDEX, content=b'{"schemaVersion":2,"manifests":[]}')
    for tag in range(8):
        bench.client.put_tag(bench.repository.at(f"v{tag}"), index)


def test_what_one_is_told_to_wait_the_next_waits_too(bench: Bench) -> None:
    """Retry-After is for all that is asked of a host, and here the first gives up at once."""
    bench.server.inject("GET", "/manifests/", Reply(429, headers={"Retry-After": "9"}))
    policy = RetryPolicy(attempts=1, sleep=bench.waits.append)
    bench.client._retry = policy
    with pytest.raises(RegistryError, match="HTTP 429"):
        bench.client.get_manifest(bench.repository.at("v1"))
    assert bench.waits == []
    assert bench.client.get_manifest(bench.repository.at("v1")) is None
    assert [round(wait) for wait in bench.waits] == [9]


def test_a_warning_is_told_once(make_bench: Callable[..., Bench]) -> None:
    told: list[str] = []
    bench = make_bench(warn=told.append)
    answer = bench.registry.__call__

    def respond(received: Received) -> Reply:
        reply = answer(received)
        warning = r'299 - "old \"v1\" tags go soon", 299 - "second", 110 proxy "stale"'
        return Reply(reply.status, reply.body, {**reply.headers, "Warning": warning})

    bench.server.respond = respond
    bench.push(b"x")
    host = bench.server.host
    assert told == [f'the registry {host} warns: old "v1" tags go soon', f"the registry {host} warns: second"]


def test_we_say_which_version_asks(bench: Bench) -> None:
    bench.push(b"x")
    agents = {request.headers["User-Agent"] for request in bench.server.received}
    assert agents == {f"istio-build/{__version__}"}


def test_an_image_of_dockers_own_types_that_is_refused_has_a_hint(bench: Bench) -> None:
    bench.server.inject("PUT", "/manifests/", Reply(415))
    with pytest.raises(RegistryError, match="HTTP 415") as caught:
        bench.client.put_manifest(bench.repository, Manifest(media_type=INDEX, content=b"{}"))
    assert "docker2s2" in caught.value.hint


def test_a_port_where_nothing_ever_listened_is_given_up_within_seconds() -> None:
    waits: list[float] = []
    client = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=waits.append))
    with pytest.raises(RegistryError, match="Connection refused"):
        client.get_manifest(Repository("127.0.0.1:1", "a/b").at("v1"))
    assert 0 < sum(waits) <= 5


def test_one_that_has_answered_may_be_restarting() -> None:
    waits: list[float] = []
    patience = Patience()
    patience.hear(peer_name("127.0.0.1", 1))
    retry = RetryPolicy(sleep=waits.append, total_wait=60.0)
    client = HttpRegistry(credentials=lambda _: None, retry=retry, waiting=Waiting(patience=patience))
    with pytest.raises(RegistryError, match="Connection refused"):
        client.get_manifest(Repository("127.0.0.1:1", "a/b").at("v1"))
    assert 30 < sum(waits) <= 60
