"""Logging in: challenges, tokens, and who gets to see a credential."""

import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.errors import AccessDenied, RegistryError
from builder.oci.manifest import INDEX, Descriptor, Manifest
from builder.oci.reference import Digest, Repository
from builder.ports import UploadOutcome
from builder.registry.auth import Authorizer, Challenge, Credential, parse_challenges
from builder.registry.client import HttpRegistry
from builder.registry.response import Answer
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import FaultServer, Received, Reply, TinyRegistry, TokenService, error_reply

SECRET = "correct-horse"
ALICE = Credential(username="alice", password=SECRET)
DIGEST = Digest.of(b"blob")


class Clock:
    """Monotonic seconds, moved on by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(TinyRegistry()).running() as running:
        yield running


def put_tokens_before(server: FaultServer, *, user: str = "", password: str = "") -> TokenService:
    service = TokenService(server.respond, user=user, password=password)
    service.realm = f"{server.url}/token"
    server.respond = service
    return service


def make_client(credential: Credential | None, clock: Clock | None = None) -> HttpRegistry:
    return HttpRegistry(
        credentials=lambda _: credential,
        retry=RetryPolicy(attempts=3, sleep=lambda _: None),
        clock=clock or Clock(),
    )


def repository_at(server: FaultServer, path: str = "istio/pilot") -> Repository:
    return Repository(server.host, path)


def push(
    client: HttpRegistry,
    repository: Repository,
    tmp_path: Path,
    *mount_from: Repository,
    on_bytes: Callable[[int], None] | None = None,
) -> UploadOutcome:
    path = tmp_path / "blob"
    path.write_bytes(b"blob")
    blob = Descriptor(media_type="application/octet-stream", digest=DIGEST, size=4)
    return client.push_blob(repository, blob, lambda: path, mount_from=mount_from, on_bytes=on_bytes)


def test_one_token_serves_all_pushes_to_a_repository(server: FaultServer, tmp_path: Path) -> None:
    put_tokens_before(server, user="alice", password=SECRET)
    client = make_client(ALICE)
    assert push(client, repository_at(server), tmp_path) is UploadOutcome.UPLOADED
    client.put_tag(repository_at(server).at("v1"), Manifest(media_type=INDEX, content=b"{}"))

    (asked,) = server.requests("GET", "/token")
    assert b64decode(asked.authorization.removeprefix("Basic ")).decode() == f"alice:{SECRET}"
    assert asked.query["service"] == "tests, and more"
    assert "repository:istio/pilot:pull,push" in asked.query["scope"].split()
    # Only the very first request goes out without the token.
    assert [r.authorization for r in server.received if r.path != "/token"].count("") == 1


def test_a_mount_asks_for_both_repositories(server: FaultServer, tmp_path: Path) -> None:
    tiny = server.respond
    assert isinstance(tiny, TinyRegistry)
    tiny.blobs["istio/base"] = {str(DIGEST): b"blob"}
    put_tokens_before(server, user="alice", password=SECRET)
    # A strict token service gives just what is asked for.
    outcome = push(make_client(ALICE), repository_at(server), tmp_path, repository_at(server, "istio/base"))
    assert outcome is UploadOutcome.MOUNTED
    scopes = [set(r.query["scope"].split()) for r in server.requests("GET", "/token")]
    assert {"repository:istio/pilot:pull,push", "repository:istio/base:pull"} in scopes


def test_no_token_for_a_mount_means_an_upload(server: FaultServer, tmp_path: Path) -> None:
    tiny = server.respond
    assert isinstance(tiny, TinyRegistry)
    tiny.blobs["istio/base"] = {str(DIGEST): b"blob"}
    service = put_tokens_before(server)

    def respond(received: Received) -> Reply:
        if {"repository:istio/pilot:pull,push", "repository:istio/base:pull"} <= set(received.query.get("scope", "").split()):
            return error_reply(403, "DENIED", "not both at once")
        return service(received) if received.query.get("mount", "") == "" else Reply(401, headers=challenge)

    challenge = {"WWW-Authenticate": f'Bearer realm="{service.realm}"'}
    server.respond = respond
    outcome = push(make_client(None), repository_at(server), tmp_path, repository_at(server, "istio/base"))
    assert outcome is UploadOutcome.UPLOADED


def test_an_identity_token_is_exchanged(server: FaultServer) -> None:
    put_tokens_before(server, user="<token>", password="identity-123")
    client = make_client(Credential(identity_token="identity-123"))
    assert not client.has_blob(repository_at(server), DIGEST)
    (asked,) = server.requests("POST", "/token")
    assert asked.authorization == ""
    assert asked.query == {}
    assert asked.form == {
        "grant_type": "refresh_token",
        "refresh_token": "identity-123",
        "service": "tests, and more",
        "scope": "repository:istio/pilot:pull",
        "client_id": "istio-build",
    }


def test_a_stale_identity_token(server: FaultServer) -> None:
    put_tokens_before(server, user="<token>", password="identity-456")
    with pytest.raises(AccessDenied, match="stale") as caught:
        make_client(Credential(identity_token="identity-123")).has_blob(repository_at(server), DIGEST)
    assert f"docker login {server.host}" in caught.value.hint
    assert "identity-123" not in caught.value.message + caught.value.hint


def test_a_wrong_password(server: FaultServer) -> None:
    put_tokens_before(server, user="alice", password=SECRET)
    with pytest.raises(AccessDenied) as caught:
        make_client(Credential(username="alice", password="wrong-donkey")).has_blob(repository_at(server), DIGEST)
    assert "UNAUTHORIZED: incorrect username or password" in caught.value.message
    assert f"what Docker has stored for {server.host}" in caught.value.hint
    assert "wrong-donkey" not in caught.value.message + caught.value.hint
    assert len(server.requests("GET", "/token")) == 1


def test_nobody_is_logged_in(server: FaultServer) -> None:
    put_tokens_before(server, user="alice", password=SECRET)
    with pytest.raises(AccessDenied) as caught:
        make_client(None).has_blob(repository_at(server), DIGEST)
    assert f"Docker has no login for {server.host}: run `docker login {server.host}`" in caught.value.hint


def test_everybody_may_read(server: FaultServer) -> None:
    put_tokens_before(server)
    assert not make_client(None).has_blob(repository_at(server), DIGEST)
    assert server.requests("GET", "/token")[0].authorization == ""


def test_a_token_that_does_not_help_is_not_fetched_for_ever(server: FaultServer) -> None:
    service = put_tokens_before(server, user="alice", password=SECRET)
    service.valid = _Forgetful()
    with pytest.raises(AccessDenied):
        make_client(ALICE).has_blob(repository_at(server), DIGEST)
    assert len(server.requests("GET", "/token")) == 1


class _Forgetful(set[str]):
    def __contains__(self, _: object) -> bool:
        return False


def test_a_token_is_replaced_before_it_expires(server: FaultServer, clock: Clock) -> None:
    service = put_tokens_before(server, user="alice", password=SECRET)
    service.expires_in = 100
    client = make_client(ALICE, clock)
    for moment, tokens in ((0, 1), (80, 1), (95, 2)):
        clock.now = 1000.0 + moment
        client.has_blob(repository_at(server), DIGEST)
        assert len(server.requests("GET", "/token")) == tokens


def test_a_token_that_is_revoked_in_the_middle_is_replaced(server: FaultServer, tmp_path: Path) -> None:
    service = put_tokens_before(server, user="alice", password=SECRET)
    revoked = threading.Event()

    def respond(received: Received) -> Reply:
        if received.method == "PUT" and not revoked.is_set():
            revoked.set()
            service.valid.clear()
        return service(received)

    server.respond = respond
    counted: list[int] = []
    outcome = push(make_client(ALICE), repository_at(server), tmp_path, on_bytes=counted.append)
    assert (outcome, counted) == (UploadOutcome.UPLOADED, [4, -4, 4])
    assert len(server.requests("GET", "/token")) == 2
    assert [r.body for r in server.requests("PUT")] == [b"blob", b"blob"]


def test_threads_that_are_refused_together_fetch_one_token(server: FaultServer) -> None:
    service = put_tokens_before(server, user="alice", password=SECRET)
    together = threading.Barrier(8)

    def respond(received: Received) -> Reply:
        if received.path != "/token" and not received.authorization:
            together.wait(10)
        return service(received)

    server.respond = respond
    client = make_client(ALICE)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: client.has_blob(repository_at(server), DIGEST), range(8)))
    assert found == [False] * 8
    assert len(server.requests("GET", "/token")) == 1


def test_a_token_service_that_is_down_for_a_moment(server: FaultServer) -> None:
    put_tokens_before(server, user="alice", password=SECRET)
    server.inject("GET", "/token", Reply(503), Reply(500))
    assert not make_client(ALICE).has_blob(repository_at(server), DIGEST)


def test_a_token_service_that_stays_down(server: FaultServer) -> None:
    put_tokens_before(server, user="alice", password=SECRET)
    server.inject("GET", "/token", *[error_reply(503, "UNAVAILABLE", "maintenance")] * 3)
    with pytest.raises(RegistryError, match=r"getting a token.*503.*/token: UNAVAILABLE: maintenance$") as caught:
        make_client(ALICE).has_blob(repository_at(server), DIGEST)
    assert caught.value.temporary


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token":"sp lit"}', b'{"token":"two\\nlines"}', b"<html>"])
def test_an_answer_without_a_token_is_not_shown(server: FaultServer, body: bytes) -> None:
    put_tokens_before(server, user="alice", password=SECRET)
    server.inject("GET", "/token", Reply(200, body))
    with pytest.raises(RegistryError, match=r"/token answered without a token$"):
        make_client(ALICE).has_blob(repository_at(server), DIGEST)


def test_basic(server: FaultServer) -> None:
    tiny = server.respond

    def respond(received: Received) -> Reply:
        if received.authorization.startswith("Basic "):
            return tiny(received)
        return Reply(401, headers={"WWW-Authenticate": 'Basic realm="corp"'})

    server.respond = respond
    client = make_client(ALICE)
    assert not client.has_blob(repository_at(server), DIGEST)
    assert not client.has_blob(repository_at(server, "istio/proxyv2"), DIGEST)
    server.inject("HEAD", "/blobs/", *[Reply(401, headers={"WWW-Authenticate": "Basic"})] * 2)
    with pytest.raises(AccessDenied, match="HTTP 401") as caught:
        client.has_blob(repository_at(server), DIGEST)
    assert SECRET not in caught.value.message + caught.value.hint


def test_redirected_token_requests_do_not_carry_the_password_elsewhere(server: FaultServer) -> None:
    put_tokens_before(server, user="alice", password=SECRET)
    with FaultServer(lambda _: Reply(401)).running() as elsewhere:
        server.inject("GET", "/token", Reply(302, headers={"Location": f"{elsewhere.url}/token"}))
        with pytest.raises(AccessDenied):
            make_client(ALICE).has_blob(repository_at(server), DIGEST)
        assert [r.authorization for r in elsewhere.received] == [""]


def test_another_hosts_challenge_is_not_answered(server: FaultServer) -> None:
    challenge = {"WWW-Authenticate": 'Basic realm="give it to me"'}
    with FaultServer(lambda _: Reply(401, headers=challenge)).running() as elsewhere:
        server.inject("HEAD", "/blobs/", Reply(307, headers={"Location": f"{elsewhere.url}/blob"}))
        with pytest.raises(AccessDenied):
            make_client(ALICE).has_blob(repository_at(server), DIGEST)
        assert [r.authorization for r in elsewhere.received] == [""]


def test_a_password_does_not_leave_https_for_http() -> None:
    def request(*_: object, **__: object) -> Answer:
        pytest.fail("the token service was asked")

    authorizer = Authorizer("registry.test", lambda _: ALICE, request, Clock())
    answer = Answer(
        method="GET",
        url="https://registry.test/v2/",
        status=401,
        headers={"WWW-Authenticate": 'Bearer realm="http://registry.test/token"'},
        content=b"",
    )
    with pytest.raises(RegistryError, match="by plain HTTP"):
        authorizer.answer("read it", (), "", answer)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", ()),
        ("Basic", (("basic", {}),)),
        ('Basic realm="a \\"b\\", c"', (("basic", {"realm": 'a "b", c'}),)),
        (
            'Bearer realm="https://x/token",service=x , scope="repository:a/b:pull,push"',
            (("bearer", {"realm": "https://x/token", "service": "x", "scope": "repository:a/b:pull,push"}),),
        ),
        ('Basic realm="x", Bearer realm="y"', (("basic", {"realm": "x"}), ("bearer", {"realm": "y"}))),
    ],
)
def test_parses_challenges(header: str, expected: tuple[tuple[str, dict[str, str]], ...]) -> None:
    wanted = tuple(Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in expected)
    assert parse_challenges({"WWW-Authenticate": header}) == wanted


def test_a_credential_does_not_show_its_secrets() -> None:
    shown = repr(Credential(username="alice", password=SECRET, identity_token="identity-123"))
    assert "alice" in shown
    assert SECRET not in shown
    assert "identity-123" not in shown


def test_a_registry_that_asked_for_a_password_once_is_not_made_to_ask_again(server: FaultServer, tmp_path: Path) -> None:
    answer = server.respond

    def respond(received: Received) -> Reply:
        if received.authorization.startswith("Basic "):
            return answer(received)
        return Reply(401, headers={"WWW-Authenticate": 'Basic realm="corp"'})

    server.respond = respond
    client = make_client(ALICE)
    for path in ("istio/pilot", "istio/proxyv2", "istio/istioctl"):
        push(client, repository_at(server, path), tmp_path)
    assert [bool(received.authorization) for received in server.received].count(False) == 1
