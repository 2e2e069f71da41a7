"""What the registry client does when registries, networks and proxies fail."""

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from builder.errors import AccessDenied, BuilderError, CheckError, Interrupted, RegistryError
from builder.net.session import Waiting
from builder.oci.manifest import INDEX, MANIFEST, Descriptor, Manifest
from builder.oci.reference import Digest, Repository
from builder.ports import UploadOutcome
from builder.registry.auth import Credential
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import FaultServer, Received, Reply, Reset, Stall, TinyRegistry, error_reply

BLOB = os.urandom(3_000_000)
INDEX_CONTENT = b'{"schemaVersion":2,"manifests":[]}'
HTML = b"<html><head><title>502 Bad Gateway</title></head><body><h1>Bad</h1></body></html>"


@dataclass
class Bench:
    """A registry client, the server it talks to, and what it waited."""

    server: FaultServer
    tiny: TinyRegistry
    client: HttpRegistry
    repository: Repository
    blob: Descriptor
    path: Path
    waits: list[float] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)

    def push_blob(self, *mount_from: Repository) -> UploadOutcome:
        return self.client.push_blob(
            self.repository, self.blob, lambda: self.path, mount_from=mount_from, on_bytes=self.counted.append
        )

    def stored(self) -> bytes | None:
        return self.tiny.blobs.get(self.repository.path, {}).get(str(self.blob.digest))


def go_on() -> None:
    """Interrupt nothing."""


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    path = tmp_path / "blob"
    path.write_bytes(BLOB)
    blob = Descriptor(media_type="application/octet-stream", digest=Digest.of(BLOB), size=len(BLOB))
    tiny = TinyRegistry()
    with FaultServer(tiny).running() as server:

        def make(attempts: int = 4, check_interrupted: Callable[[], None] = go_on, silence: float = 30.0) -> Bench:
            waits: list[float] = []
            client = HttpRegistry(
                credentials=lambda _: None,
                retry=RetryPolicy(attempts=attempts, sleep=waits.append),
                waiting=Waiting(check_interrupted=check_interrupted, timeouts=(30.0, silence)),
                # Waiting takes no time, and is as if it did.
                clock=lambda: time.monotonic() + sum(waits),
            )
            return Bench(server, tiny, client, Repository(server.host, "istio/pilot"), blob, path, waits)

        yield make


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


@pytest.mark.parametrize(
    "fault", [Reply(500), Reply(503, HTML), Reply(429), Reply(408), Reset()], ids=["500", "503", "429", "408", "reset"]
)
@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
def test_an_upload_survives_one_fault(bench: Bench, method: str, fault: Reply | Reset) -> None:
    bench.server.inject(method, "/blobs/", fault)
    assert bench.push_blob() is UploadOutcome.UPLOADED
    assert bench.stored() == BLOB
    assert sum(bench.counted) == len(BLOB)
    assert len(bench.waits) == 1


def test_an_upload_survives_a_silence(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(silence=0.5)
    bench.server.inject("PUT", "/blobs/", Stall())
    assert bench.push_blob() is UploadOutcome.UPLOADED
    assert sum(bench.counted) == len(BLOB)
    assert len(bench.server.requests("PUT")) >= 2


def test_an_upload_that_is_cut_off_starts_again_from_the_beginning(bench: Bench) -> None:
    bench.server.inject("PUT", "/blobs/", Reset(after=1_000_000), Reset(after=2_000_000))
    assert bench.push_blob() is UploadOutcome.UPLOADED
    assert bench.stored() == BLOB
    assert min(bench.counted) < 0
    assert sum(bench.counted) == len(BLOB)


def test_an_upload_whose_answer_is_lost_is_found(bench: Bench) -> None:
    bench.server.inject("PUT", "/blobs/", Reset(handled=True))
    assert bench.push_blob() is UploadOutcome.PRESENT
    assert len(bench.server.requests("PUT")) == 1
    assert sum(bench.counted) == 0


def test_gives_up_and_says_what_happened(bench: Bench) -> None:
    bench.server.inject("POST", "/blobs/", *[error_reply(503, "UNAVAILABLE", "storage is down")] * 9)
    with pytest.raises(RegistryError) as caught:
        bench.push_blob()
    error = caught.value
    assert error.message == (
        f"cannot upload blob {bench.blob.digest.short} (3000000 bytes) to {bench.repository}: HTTP 503 from POST "
        f"{bench.server.url}/v2/istio/pilot/blobs/uploads/: UNAVAILABLE: storage is down"
    )
    assert (error.status, error.temporary) == (503, True)
    assert "Tried 4 times." in error.hint
    assert len(bench.waits) == 3
    assert bench.waits == sorted(bench.waits)


def test_waits_as_long_as_the_server_asks(bench: Bench) -> None:
    bench.server.inject("GET", "/manifests/", Reply(429, headers={"Retry-After": "17"}))
    assert bench.client.get_manifest(bench.repository.at("v1")) is None
    assert len(bench.waits) == 1
    assert 17 <= bench.waits[0] < 18


def test_does_not_ask_before_the_server_allows_it(bench: Bench) -> None:
    bench.server.inject("GET", "/manifests/", error_reply(429, "TOOMANYREQUESTS", "x"))
    bench.server.inject("GET", "/manifests/", Reply(429, headers={"Retry-After": "3600"}))
    with pytest.raises(RegistryError, match="HTTP 429") as caught:
        bench.client.get_manifest(bench.repository.at("v1"))
    assert "asks to wait 3600 s" in caught.value.hint
    assert "limits the rate" in caught.value.hint
    assert len(bench.server.received) == 2


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (400, "DIGEST_INVALID", ""),
        (404, "NAME_UNKNOWN", "may have to be created"),
        (405, "UNSUPPORTED", "read-only"),
        (413, "", "client_max_body_size"),
        (501, "", "log may tell"),
        (507, "", "storage is full"),
    ],
)
def test_what_will_not_pass_is_not_tried_again(bench: Bench, status: int, code: str, hint: str) -> None:
    bench.server.inject("PUT", "/manifests/", *[error_reply(status, code, "no")] * 2)
    with pytest.raises(RegistryError) as caught:
        bench.client.put_tag(bench.repository.at("v1"), Manifest(media_type=INDEX, content=INDEX_CONTENT))
    assert (caught.value.status, caught.value.temporary) == (status, False)
    assert f"as {bench.repository}:v1" in caught.value.message
    assert code in caught.value.message
    assert hint in caught.value.hint
    assert len(bench.server.received) == 1
    assert bench.waits == []


def test_a_full_registry_is_not_asked_again(bench: Bench) -> None:
    bench.server.inject("PUT", "/blobs/", *[error_reply(500, "UNKNOWN", "write: no space left on device")] * 2)
    with pytest.raises(RegistryError) as caught:
        bench.push_blob()
    assert "storage is full" in caught.value.hint
    assert bench.waits == []


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (403, "adding 10.0 MiB of storage resource, which … will exceed the configured upper limit of 100.0 MiB."),
        (412, "adding 10.0 MiB of storage resource, which … will exceed the configured upper limit of 100.0 MiB."),
        (403, "Quota has been exceeded on namespace"),
        (413, "quota exceeded"),
        (429, "storage limit reached"),
    ],
)
def test_a_used_up_quota_is_no_lack_of_rights_and_does_not_pass(bench: Bench, status: int, message: str) -> None:
    bench.server.inject("PUT", "/blobs/", *[error_reply(status, "DENIED", message)] * 2)
    with pytest.raises(RegistryError) as caught:
        bench.push_blob()
    assert not isinstance(caught.value, AccessDenied)
    assert f"The quota at {bench.server.host} is used up" in caught.value.hint
    assert message[:20] in caught.value.message
    assert bench.waits == []


def test_the_right_to_push_is_asked_for_by_an_upload_that_is_cancelled(bench: Bench) -> None:
    bench.client.check_push(bench.repository)
    assert [received.method for received in bench.server.received] == ["POST", "DELETE"]
    assert bench.server.received[1].path == "/v2/istio/pilot/blobs/uploads/1"
    assert bench.server.received[1].query == {"state": "a=b"}
    assert bench.tiny.blobs == {"istio/pilot": {}}


@pytest.mark.parametrize("fault", [Reply(404), Reply(500), Reset(), Reply(401)], ids=["404", "500", "reset", "401"])
def test_an_upload_that_cannot_be_cancelled_is_left_to_the_registry(bench: Bench, fault: Reply | Reset) -> None:
    bench.server.inject("DELETE", "/blobs/uploads/", fault)
    bench.client.check_push(bench.repository)
    assert bench.waits == []


def test_without_the_right_to_push_the_repository_is_named(bench: Bench) -> None:
    bench.server.inject("POST", "/blobs/", error_reply(403, "DENIED", "requested access to the resource is denied"))
    with pytest.raises(AccessDenied, match=f"cannot push to {bench.repository}: HTTP 403") as caught:
        bench.client.check_push(bench.repository)
    assert f"docker login {bench.server.host}" in caught.value.hint


def test_no_right_to_push(bench: Bench) -> None:
    bench.server.inject("POST", "/blobs/", error_reply(403, "DENIED", "requested access to the resource is denied"))
    with pytest.raises(AccessDenied) as caught:
        bench.push_blob()
    assert "DENIED: requested access to the resource is denied" in caught.value.message
    assert "right to push" in caught.value.hint
    assert f"docker login {bench.server.host}" in caught.value.hint
    assert bench.waits == []


def test_a_refusal_of_the_whole_body_is_read_although_it_was_not_taken(bench: Bench) -> None:
    # As a proxy does: it answers at the first bytes and closes.
    bench.server.inject("PUT", "/blobs/", Reply(413, HTML, {"Connection": "close"}))
    with pytest.raises(RegistryError) as caught:
        bench.push_blob()
    assert caught.value.status == 413
    assert bench.waits == []


def test_a_proxys_page_is_shown_by_its_title(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(attempts=1)
    bench.server.inject("GET", "/manifests/", Reply(502, HTML, {"Content-Type": "text/html"}))
    with pytest.raises(RegistryError, match=r"HTTP 502 from GET \S+/manifests/v1: 502 Bad Gateway$"):
        bench.client.get_manifest(bench.repository.at("v1"))


@pytest.mark.parametrize("body", [b"x" * 100_000, b'{"errors":[{"code":"DENIED","message":"' + b"y" * 60_000 + b'"}]}'])
def test_messages_are_bounded(bench: Bench, body: bytes) -> None:
    bench.server.inject("GET", "/manifests/", Reply(400, body))
    with pytest.raises(RegistryError) as caught:
        bench.client.get_manifest(bench.repository.at("v1"))
    assert len(caught.value.message) < 600


def test_messages_show_neither_credentials_nor_terminal_codes(bench: Bench) -> None:
    echo = b"\x1b[31mAuthorization: Bearer abcdefghijk.secret rejected\r\n"
    bench.server.inject("GET", "/manifests/", Reply(400, echo))
    with pytest.raises(RegistryError) as caught:
        bench.client.get_manifest(bench.repository.at("v1"))
    assert caught.value.message.endswith(": [31mAuthorization: Bearer [removed] rejected")


def test_a_page_that_is_no_registrys_is_not_taken_for_a_missing_tag(bench: Bench) -> None:
    bench.server.inject("GET", "/manifests/", Reply(404, HTML, {"Content-Type": "text/html"}))
    with pytest.raises(RegistryError) as caught:
        bench.client.get_manifest(bench.repository.at("v1"))
    assert "Is 127.0.0.1" in caught.value.hint


def test_a_truncated_manifest_is_read_again(bench: Bench) -> None:
    bench.tiny.manifests["istio/pilot:v1"] = (INDEX, INDEX_CONTENT)
    bench.server.inject("GET", "/manifests/", Reply(200, INDEX_CONTENT, {"Content-Type": INDEX}, sent=9))
    manifest = bench.client.get_manifest(bench.repository.at("v1"))
    assert manifest == Manifest(media_type=INDEX, content=INDEX_CONTENT)
    assert len(bench.waits) == 1


def test_other_bytes_than_asked_for_are_refused(bench: Bench) -> None:
    wanted = Digest.of(b"something else")
    bench.tiny.manifests[f"istio/pilot:{wanted}"] = (INDEX, INDEX_CONTENT)
    bench.tiny.blobs["istio/pilot"] = {str(wanted): b"tampered"}
    with pytest.raises(RegistryError, match="other bytes"):
        bench.client.get_manifest(bench.repository.at(wanted))
    with pytest.raises(RegistryError, match="other bytes"):
        bench.client.get_blob(bench.repository, Descriptor(media_type="x", digest=wanted, size=8))


def test_a_manifest_of_an_unknown_kind_is_refused(bench: Bench) -> None:
    bench.tiny.manifests["istio/pilot:v1"] = ("application/vnd.docker.distribution.manifest.v1+prettyjws", b"{}")
    with pytest.raises(RegistryError, match="v1\\+prettyjws, not an image index"):
        bench.client.get_manifest(bench.repository.at("v1"))


def test_the_document_tells_its_type_where_the_header_does_not(bench: Bench) -> None:
    content = b'{"mediaType":"' + INDEX.encode() + b'","manifests":[]}'
    bench.tiny.manifests["istio/pilot:v1"] = ("application/json; charset=utf-8", content)
    manifest = bench.client.get_manifest(bench.repository.at("v1"))
    assert manifest is not None
    assert manifest.media_type == INDEX


def test_a_silent_registry_does_not_hold_us_for_ever(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(attempts=2, silence=0.3)
    bench.server.inject("GET", "/manifests/", Stall(), Stall(), Stall())
    with pytest.raises(RegistryError, match="it did not answer in time") as caught:
        bench.client.get_manifest(bench.repository.at("v1"))
    assert (caught.value.status, caught.value.temporary) == (0, True)
    assert len(bench.server.received) == 2


def test_nobody_listens() -> None:
    waits: list[float] = []
    client = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(attempts=3, sleep=waits.append))
    with pytest.raises(RegistryError, match="Connection refused") as caught:
        client.has_blob(Repository("127.0.0.1:1", "istio/pilot"), Digest.of(b""))
    assert "is it running" in caught.value.hint
    assert len(waits) == 2


def test_uploads_to_another_host_without_telling_it_who_we_are(bench: Bench) -> None:
    log_in(bench)
    storage = TinyRegistry()
    with FaultServer(storage).running() as elsewhere:
        bench.tiny.upload_base = elsewhere.url
        assert bench.push_blob() is UploadOutcome.UPLOADED
        assert [r.authorization for r in elsewhere.received] == [""]
    assert storage.blobs["istio/pilot"][str(bench.blob.digest)] == BLOB
    assert bench.server.requests("POST", "uploads")[-1].authorization.startswith("Basic ")


@pytest.mark.parametrize("status", [307, 308])
def test_redirects_to_another_host_do_not_tell_it_who_we_are(bench: Bench, status: int) -> None:
    log_in(bench)
    storage = TinyRegistry()
    storage.blobs["istio/pilot"] = {str(bench.blob.digest): BLOB}
    with FaultServer(storage).running() as elsewhere:

        def redirect(received: Received) -> Reply:
            if "/blobs/sha256" in received.path and received.method == "GET":
                return Reply(status, headers={"Location": f"{elsewhere.url}{received.path}"})
            if received.method == "PUT":
                return Reply(status, headers={"Location": f"{elsewhere.url}{received.path}?state=a%3Db&digest={sum_}"})
            return with_login(bench.tiny)(received)

        sum_ = str(bench.blob.digest)
        bench.server.respond = redirect
        assert bench.client.get_blob(bench.repository, bench.blob) == BLOB
        assert bench.push_blob() is UploadOutcome.UPLOADED
        assert [(r.method, r.authorization) for r in elsewhere.received] == [("GET", ""), ("PUT", "")]
    assert sum(bench.counted) == len(BLOB)


def with_login(registry: TinyRegistry) -> Callable[[Received], Reply]:
    def respond(received: Received) -> Reply:
        if received.authorization == "Basic dTpw":
            return registry(received)
        return Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    return respond


def log_in(bench: Bench) -> None:
    bench.server.respond = with_login(bench.tiny)
    bench.client = HttpRegistry(
        credentials=lambda _: Credential(username="u", password="p"),
        retry=RetryPolicy(attempts=2, sleep=bench.waits.append),
    )


def test_mounts_only_what_is_there(bench: Bench) -> None:
    bench.tiny.blobs["istio/base"] = {str(bench.blob.digest): BLOB}
    source = Repository(bench.server.host, "istio/base")
    empty = Repository(bench.server.host, "istio/empty")
    assert bench.push_blob(empty, source) is UploadOutcome.MOUNTED
    assert bench.stored() == BLOB
    assert [r.query["from"] for r in bench.server.requests("POST")] == ["istio/base"]
    assert bench.counted == []


@pytest.mark.parametrize(
    "answer",
    [
        Reply(202, headers={"Location": "/v2/istio/pilot/blobs/uploads/7?state=a%3Db"}),
        error_reply(403, "DENIED", "no"),
        Reply(405),
    ],
    ids=["202", "403", "405"],
)
def test_uploads_where_mounting_is_refused(bench: Bench, answer: Reply) -> None:
    bench.tiny.blobs["istio/base"] = {str(bench.blob.digest): BLOB}
    bench.server.inject("POST", "uploads", answer)
    assert bench.push_blob(Repository(bench.server.host, "istio/base")) is UploadOutcome.UPLOADED
    assert bench.stored() == BLOB
    # A session that a refused mount has opened is the one that is used.
    assert len(bench.server.requests("POST")) == (1 if answer.status == 202 else 2)


def test_uploads_where_the_source_may_not_be_read(bench: Bench) -> None:
    bench.server.inject("HEAD", "istio/base", error_reply(403, "DENIED", "no"))
    assert bench.push_blob(Repository(bench.server.host, "istio/base")) is UploadOutcome.UPLOADED


def test_sends_the_blob_by_patch_where_put_takes_none(bench: Bench) -> None:
    patched: list[bytes] = []

    def respond(received: Received) -> Reply:
        if received.method == "PUT" and received.body:
            return error_reply(405, "UNSUPPORTED", "no monolithic uploads")
        if received.method == "PATCH":
            patched.append(received.body)
            return Reply(202, headers={"Location": f"{received.path}/next?state=a%3Db"})
        if received.method == "PUT":
            return Reply(201) if received.path.endswith("/next") and received.query["digest"] else Reply(400)
        return bench.tiny(received)

    bench.server.respond = respond
    assert bench.push_blob() is UploadOutcome.UPLOADED
    assert patched == [BLOB]
    assert sum(bench.counted) == len(BLOB)


def test_a_registry_that_names_no_place_to_upload_to(bench: Bench) -> None:
    bench.server.inject("POST", "uploads", Reply(202))
    with pytest.raises(RegistryError, match="names no place to upload to"):
        bench.push_blob()


def test_a_blob_of_another_size_never_leaves(bench: Bench) -> None:
    bench.path.write_bytes(BLOB[:-1])
    with pytest.raises(CheckError, match="2999999 bytes, its descriptor says 3000000"):
        bench.push_blob()
    bench.path.unlink()
    with pytest.raises(CheckError, match="No such file"):
        bench.push_blob()
    assert {request.method for request in bench.server.received} == {"HEAD"}


def test_an_interruption_ends_an_upload(make_bench: Callable[..., Bench]) -> None:
    asked: list[None] = []

    def interrupt_in_the_middle() -> None:
        asked.append(None)
        # Three requests, then the chunks of the body.
        if len(asked) > 7:
            raise Interrupted("interrupted")

    bench = make_bench(check_interrupted=interrupt_in_the_middle)
    with pytest.raises(Interrupted):
        bench.push_blob()
    assert 0 < sum(bench.counted) < len(BLOB)
    assert bench.waits == []


def test_deletes_tags_where_the_registry_can(bench: Bench) -> None:
    bench.tiny.manifests["istio/pilot:v1"] = (INDEX, INDEX_CONTENT)
    assert bench.client.delete_tag(bench.repository.at("v1"))
    # The tag is gone already: what was asked for holds.
    assert bench.client.delete_tag(bench.repository.at("v1"))


@pytest.mark.parametrize("status", [400, 404, 405])
def test_says_so_where_a_registry_cannot_delete_tags(bench: Bench, status: int) -> None:
    bench.tiny.manifests["istio/pilot:v1"] = (INDEX, INDEX_CONTENT)
    bench.server.inject("DELETE", "/manifests/", error_reply(status, "UNSUPPORTED", "no"))
    assert not bench.client.delete_tag(bench.repository.at("v1"))


def test_no_right_to_delete_is_an_error(bench: Bench) -> None:
    bench.server.inject("DELETE", "/manifests/", error_reply(403, "DENIED", "no"))
    with pytest.raises(AccessDenied):
        bench.client.delete_tag(bench.repository.at("v1"))


def test_an_index_stored_under_another_digest_is_an_error(bench: Bench) -> None:
    other = str(Digest.of(b"other"))
    bench.server.inject("PUT", "/manifests/", Reply(201, headers={"Docker-Content-Digest": other}))
    with pytest.raises(RegistryError, match=f"stored it as {other}"):
        bench.client.put_tag(bench.repository.at("v1"), Manifest(media_type=INDEX, content=INDEX_CONTENT))


def test_a_page_in_place_of_an_answer_stores_nothing(bench: Bench) -> None:
    """A proxy that wants people to log in answers 200, and no tag has moved."""
    page = Reply(200, b"<html>Please log in</html>", {"Content-Type": "text/html; charset=utf-8"})
    bench.server.inject("PUT", "/manifests/", page)
    bench.server.inject("GET", "/manifests/", error_reply(404, "MANIFEST_UNKNOWN", "no"))
    with pytest.raises(RegistryError, match="the answer was 200, and it is not there") as caught:
        bench.client.put_tag(bench.repository.at("v1"), Manifest(media_type=INDEX, content=INDEX_CONTENT))
    assert "proxy" in caught.value.hint


def test_a_registry_that_says_200_is_believed_where_it_is_there(bench: Bench) -> None:
    bench.server.inject("PUT", "/manifests/", Reply(200))
    bench.server.inject("GET", "/manifests/", Reply(200, INDEX_CONTENT, {"Content-Type": INDEX}))
    bench.client.put_tag(bench.repository.at("v1"), Manifest(media_type=INDEX, content=INDEX_CONTENT))


def test_this_machine_is_not_reached_through_a_proxy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert not bench.client.has_blob(bench.repository, bench.blob.digest)


def test_a_proxy_that_is_down(make_bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    bench = make_bench(attempts=1)
    with pytest.raises(RegistryError, match="proxy: Connection refused") as caught:
        bench.client.has_blob(Repository("registry.test", "a"), bench.blob.digest)
    assert "HTTPS_PROXY" in caught.value.hint


def test_netrc_is_not_for_registries(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    bench.client.has_blob(bench.repository, bench.blob.digest)
    assert bench.server.received[0].authorization == ""


def test_cookies_are_not_kept(bench: Bench) -> None:
    bench.server.inject("HEAD", "/blobs/", Reply(404, headers={"Set-Cookie": "sid=1; Path=/"}))
    bench.client.has_blob(bench.repository, bench.blob.digest)
    bench.client.has_blob(bench.repository, bench.blob.digest)
    assert [r.headers.get("Cookie") for r in bench.server.received] == [None, None]


def test_no_message_shows_a_query(bench: Bench) -> None:
    bench.server.inject("PUT", "/blobs/", *[Reset()] * 9)
    with pytest.raises(BuilderError) as caught:
        bench.push_blob()
    assert not re.search(r"state=|digest=|\?", caught.value.message + caught.value.hint.replace("?", "", 1))


class TestFetchingABlob:
    @pytest.fixture
    def into(self, bench: Bench, tmp_path: Path) -> Path:
        bench.tiny.blobs.setdefault(bench.repository.path, {})[str(bench.blob.digest)] = BLOB
        return tmp_path / "cache" / "blob"

    def pull(self, bench: Bench, into: Path) -> None:
        bench.client.pull_blob(bench.repository, bench.blob, into, on_bytes=bench.counted.append)

    def test_goes_on_where_it_was_cut_off(self, bench: Bench, into: Path) -> None:
        bench.server.inject("GET", "/blobs/", Reply(200, BLOB, sent=1_000_000))
        rest = Reply(206, BLOB[1_000_000:], {"Content-Range": f"bytes 1000000-{len(BLOB) - 1}/{len(BLOB)}"})
        bench.server.inject("GET", "/blobs/", rest)
        self.pull(bench, into)
        assert into.read_bytes() == BLOB
        assert sum(bench.counted) == len(BLOB)
        assert [r.headers.get("Range") for r in bench.server.requests("GET", "/blobs/")] == [None, "bytes=1000000-"]

    def test_starts_again_where_the_registry_cannot_go_on(self, bench: Bench, into: Path) -> None:
        bench.server.inject("GET", "/blobs/", Reply(200, BLOB, sent=1_000_000))
        self.pull(bench, into)
        assert into.read_bytes() == BLOB
        assert sum(bench.counted) == len(BLOB)
        assert min(bench.counted) < 0

    def test_takes_up_what_an_earlier_run_left(self, bench: Bench, into: Path) -> None:
        into.parent.mkdir()
        into.with_name("blob.part").write_bytes(BLOB[:2_000_000])
        rest = Reply(206, BLOB[2_000_000:], {"Content-Range": f"bytes 2000000-{len(BLOB) - 1}/{len(BLOB)}"})
        bench.server.inject("GET", "/blobs/", rest)
        self.pull(bench, into)
        assert into.read_bytes() == BLOB

    def test_a_damaged_beginning_gets_one_chance_from_the_start(self, bench: Bench, into: Path) -> None:
        into.parent.mkdir()
        into.with_name("blob.part").write_bytes(bytes(len(BLOB)))
        self.pull(bench, into)
        assert into.read_bytes() == BLOB
        assert sum(bench.counted) == len(BLOB)

    @pytest.mark.parametrize("fault", [Reply(500), Reply(429), Reset(), Reply(200, BLOB[:-1])])
    def test_survives_a_fault(self, bench: Bench, into: Path, fault: Reply | Reset) -> None:
        bench.server.inject("GET", "/blobs/", fault)
        self.pull(bench, into)
        assert into.read_bytes() == BLOB

    def test_other_bytes_are_refused_and_not_kept(self, bench: Bench, into: Path) -> None:
        bench.server.inject("GET", "/blobs/", *[Reply(200, bytes(len(BLOB)))] * 9)
        with pytest.raises(RegistryError, match="the registry sent other bytes"):
            self.pull(bench, into)
        assert list(into.parent.iterdir()) == []
        assert len(bench.server.requests("GET", "/blobs/")) == 1

    def test_what_is_there_is_not_asked_for(self, bench: Bench, into: Path) -> None:
        into.parent.mkdir()
        into.write_bytes(BLOB)
        self.pull(bench, into)
        assert bench.server.requests("GET") == []
        assert [entry.name for entry in into.parent.iterdir()] == ["blob"]

    def test_ctrl_c_ends_it_and_keeps_what_has_come(self, make_bench: Callable[..., Bench], tmp_path: Path) -> None:
        asked: list[int] = []

        def interrupt_in_the_middle() -> None:
            asked.append(1)
            if len(asked) > 5:
                raise Interrupted("interrupted")

        bench = make_bench(check_interrupted=interrupt_in_the_middle)
        bench.tiny.blobs.setdefault(bench.repository.path, {})[str(bench.blob.digest)] = BLOB
        with pytest.raises(Interrupted):
            self.pull(bench, tmp_path / "cache" / "blob")
        assert 0 < (tmp_path / "cache" / "blob.part").stat().st_size < len(BLOB)


@pytest.mark.parametrize(
    "short", [INDEX_CONTENT[:10], b'{"schemaVersion":2,"manifests":[{}]}', b"[" * 60_000], ids=["cut", "altered", "deep"]
)
def test_a_manifest_that_is_not_of_the_announced_digest_is_asked_for_again(bench: Bench, short: bytes) -> None:
    announced = {"Content-Type": INDEX, "Docker-Content-Digest": str(Digest.of(INDEX_CONTENT))}
    bench.tiny.manifests["istio/pilot:1.29"] = (INDEX, INDEX_CONTENT)
    bench.server.inject("GET", "/manifests/", Reply(200, short, announced))
    found = bench.client.get_manifest(bench.repository.at("1.29"))
    assert found == Manifest(media_type=INDEX, content=INDEX_CONTENT)
    assert len(bench.waits) == 1


@pytest.mark.parametrize("content", [b'{"schemaVersion":2,"manif', b'{"schemaVersion":2,"manifests":[{}]}', b"[]"])
def test_what_is_no_manifest_is_not_taken_for_one_where_no_digest_is_announced(bench: Bench, content: bytes) -> None:
    bench.tiny.manifests["istio/pilot:1.29"] = (INDEX, content)
    with pytest.raises(RegistryError, match="manifest sha256:"):
        bench.client.get_manifest(bench.repository.at("1.29"))


class TestTags:
    def page(self, tags: object, link: str = "") -> Reply:
        return Reply(200, json.dumps({"name": "istio/pilot", "tags": tags}).encode(), {"Link": link} if link else {})

    def test_all_pages_are_read(self, bench: Bench) -> None:
        link = '</v2/istio/pilot/tags/list?n=2&last=b>; rel="next"'
        pages = self.page(["a", "b"], link), Reply(503), self.page(["b", "c"])
        bench.server.inject("GET", "/tags/list", *pages)
        assert bench.client.list_tags(bench.repository) == ("a", "b", "c")
        asked = [(received.query["n"], received.query.get("last")) for received in bench.server.requests("GET", "/tags/list")]
        assert asked == [("1000", None), ("2", "b"), ("2", "b")]

    def test_what_could_be_no_tag_is_left_out(self, bench: Bench) -> None:
        bench.server.inject("GET", "/tags/list", self.page(["a", "../b", "", "c d", "e" * 129]))
        assert bench.client.list_tags(bench.repository) == ("a",)

    @pytest.mark.parametrize(
        "reply", [Reply(200, b'{"name": "istio/pilot", "tags": null}'), error_reply(404, "NAME_UNKNOWN", "")]
    )
    def test_nothing_there_is_no_tag(self, bench: Bench, reply: Reply) -> None:
        bench.server.inject("GET", "/tags/list", reply)
        assert bench.client.list_tags(bench.repository) == ()

    @pytest.mark.parametrize(
        "reply",
        [Reply(404, b"page not found"), Reply(200, b"<html>"), Reply(200, b'{"tags": [1]}'), Reply(200, b'{"tags": "a"}')],
    )
    def test_what_is_no_list_is_an_error_and_not_empty(self, bench: Bench, reply: Reply) -> None:
        bench.server.inject("GET", "/tags/list", reply)
        with pytest.raises(RegistryError, match="cannot list the tags of"):
            bench.client.list_tags(bench.repository)

    def test_a_list_without_end_is_an_error_and_not_a_part_of_it(self, bench: Bench) -> None:
        link = '</v2/istio/pilot/tags/list?n=1>; rel="next"'
        bench.server.inject("GET", "/tags/list", *[self.page(["a"], link)] * 600)
        with pytest.raises(RegistryError, match="the list has no end"):
            bench.client.list_tags(bench.repository)


class TestReferrers:
    SUBJECT = Digest.of(b"subject")
    OTHER = Descriptor(media_type=MANIFEST, digest=Digest.of(b"other"), size=5)

    def page(self, *descriptors: Descriptor, link: str = "") -> Reply:
        content = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [each.to_json() for each in descriptors]})
        return Reply(200, content.encode(), {"Content-Type": INDEX, **({"Link": link} if link else {})})

    def test_all_pages_are_read(self, bench: Bench) -> None:
        own = replace(bench.blob, media_type=MANIFEST)
        link = f'</v2/istio/pilot/referrers/{self.SUBJECT}?last=1>; rel="next"'
        bench.server.inject("GET", "/referrers/", self.page(own, link=link), Reply(503), self.page(self.OTHER))
        assert bench.client.find_referrers(bench.repository, self.SUBJECT) == (own, self.OTHER)
        asked = bench.server.requests("GET", "/referrers/")
        assert [received.query.get("last", "") for received in asked] == ["", "1", "1"]

    def test_pages_without_end_have_one(self, bench: Bench) -> None:
        link = f'</v2/istio/pilot/referrers/{self.SUBJECT}>; rel="next"'
        bench.server.inject("GET", "/referrers/", *[self.page(self.OTHER, link=link)] * 200)
        assert bench.client.find_referrers(bench.repository, self.SUBJECT) == (self.OTHER,)
        assert len(bench.server.requests("GET", "/referrers/")) == 50

    @pytest.mark.parametrize(
        "reply", [error_reply(404, "NOT_FOUND", "page not found"), Reply(400), Reply(405), Reply(200, b"<html>", {})]
    )
    def test_a_registry_of_before_there_was_such_a_list_has_none(self, bench: Bench, reply: Reply) -> None:
        bench.server.inject("GET", "/referrers/", reply)
        assert bench.client.find_referrers(bench.repository, self.SUBJECT) is None

    def test_a_refusal_is_one(self, bench: Bench) -> None:
        bench.server.inject("GET", "/referrers/", Reply(403))
        with pytest.raises(AccessDenied, match="list what refers to"):
            bench.client.find_referrers(bench.repository, self.SUBJECT)
