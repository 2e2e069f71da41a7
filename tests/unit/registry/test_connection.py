"""How registries are reached: plain or TLS, whose certificates are trusted, and what is said where that goes wrong."""

import socket
import time
from pathlib import Path
from threading import Thread

import pytest

from builder.errors import RegistryError, RequestError
from builder.net.session import HttpSession, Waiting, is_loopback, origin
from builder.oci.reference import Digest, ImageReference, Repository
from builder.registry.client import HttpRegistry
from builder.registry.connection import Call, RegistryConnection
from builder.registry.connections import RegistryConnections
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import FaultServer, Reply, TinyRegistry

CALL = Call(act="read a/b:v1", method="GET", url="a/b/manifests/v1", scopes=())


def go_on() -> None:
    """Interrupt nothing."""


def connect(host: str, plain: bool, certificates: Path = Path("/nonexistent")) -> RegistryConnection:
    return RegistryConnection(
        host,
        plain=plain,
        credentials=lambda _: None,
        certificates=certificates,
        waiting=Waiting(check_interrupted=go_on, timeouts=(30.0, 30.0)),
        clock=lambda: 0.0,
    )


@pytest.mark.parametrize("wrong", [0.0, 3600.0, -3600.0])
def test_a_refusal_tells_the_time_too(monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    monkeypatch.setattr("builder.registry.connection.now_utc", lambda: time.time() + wrong)
    with FaultServer(lambda _: Reply(403)).running() as server:
        registry = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=lambda _: None))
        repository = Repository(server.host, "a/b")
        assert registry.clock_ahead(repository) is None
        with pytest.raises(RegistryError):
            registry.get_manifest(repository.at("v1"))
        assert registry.clock_ahead(repository) == pytest.approx(-wrong, abs=30)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://registry.test/", "http://proxy.test:3128"),
        ("http://registry.test/", ""),
        ("https://direct.test/", ""),
        ("https://127.0.0.1:5000/", ""),
    ],
)
def test_the_proxy_of_a_host_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, url: str, proxy: str) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "direct.test")
    with HttpSession(use_netrc=False) as session:
        assert session.proxy_for(url) == proxy


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("docker.io", "https://registry-1.docker.io/v2/"),
        ("index.docker.io", "https://registry-1.docker.io/v2/"),
        ("registry.test", "https://registry.test/v2/"),
        ("registry.test:5000", "https://registry.test:5000/v2/"),
        ("localhost", "http://localhost/v2/"),
        ("localhost:5000", "http://localhost:5000/v2/"),
        ("127.1.2.3:5000", "http://127.1.2.3:5000/v2/"),
        ("[::1]:5000", "http://[::1]:5000/v2/"),
        ("128.0.0.1", "https://128.0.0.1/v2/"),
        ("plain.test:5000", "http://plain.test:5000/v2/"),
        ("plain.test:5001", "https://plain.test:5001/v2/"),
        ("anyport.test:5001", "http://anyport.test:5001/v2/"),
        ("localhost.test", "https://localhost.test/v2/"),
    ],
)
def test_where_a_registry_is_reached(host: str, base: str) -> None:
    connections = RegistryConnections(connect, insecure=("plain.test:5000", "anyport.test"))
    connection = connections.to(Repository(host, "istio/pilot"))
    assert connection.base == base
    assert connections.to(Repository(host, "istio/proxyv2")) is connection


def test_loopback() -> None:
    assert is_loopback("127.0.0.53")
    assert not is_loopback("10.0.0.1")


def test_an_origin_has_its_default_port() -> None:
    assert origin("https://Registry.test/v2/") == origin("https://registry.test:443/x?y")
    assert origin("http://registry.test/") != origin("https://registry.test/")


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this machine pass for another one."""
    for module in ("connection", "connections"):
        monkeypatch.setattr(f"builder.registry.{module}.is_loopback", lambda _: False)


def test_plain_http_to_a_server_that_answers_with_a_tls_alert(elsewhere: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def alert() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"\x15\x03\x01\x00\x02\x02\x0a")

        thread = Thread(target=alert)
        thread.start()
        host = f"127.0.0.1:{server.getsockname()[1]}"
        client = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(attempts=1, sleep=time.sleep), insecure=[host])
        with pytest.raises(RegistryError, match="it answered plain HTTP with TLS") as caught:
            client.get_manifest(ImageReference.parse(f"{host}/a/b:v1"))
        thread.join()
    assert "It speaks HTTPS" in caught.value.hint
    assert not caught.value.temporary


def test_tls_to_a_registry_without() -> None:
    with FaultServer(TinyRegistry()).running() as server:
        with pytest.raises(RegistryError, match="server gave HTTP response to HTTPS client") as caught:
            connect(server.host, plain=False).send(CALL)
        assert "--insecure-registry" in caught.value.hint
        assert not caught.value.temporary


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    directory = tmp_path / "registry.test"
    directory.mkdir()
    (directory / "ca.crt").write_text("no certificate")
    with pytest.raises(RequestError, match=r"cannot use the certificate \S+/registry.test/ca.crt"):
        connect("registry.test", plain=False, certificates=tmp_path).send(CALL)


def test_a_go_server_that_wants_tls_says_so(elsewhere: None) -> None:
    reply = Reply(400, b"Client sent an HTTP request to an HTTPS server.\n")
    with FaultServer(lambda _: reply).running() as server:
        retry = RetryPolicy(attempts=1, sleep=time.sleep)
        client = HttpRegistry(credentials=lambda _: None, retry=retry, insecure=[server.host])
        with pytest.raises(RegistryError) as caught:
            client.get_manifest(Repository(server.host, "a/b").at(Digest.of(b"")))
    assert "leave it out of --insecure-registry" in caught.value.hint


def refuse_names(monkeypatch: pytest.MonkeyPatch, code: int, text: str) -> None:
    """Have no name found, for this reason."""

    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(code, text)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("code", [socket.EAI_NONAME, socket.EAI_NODATA])
def test_a_name_that_there_is_not_is_asked_for_once(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    refuse_names(monkeypatch, code, "Name or service not known")
    client = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=lambda _: pytest.fail("waited")))
    with pytest.raises(RegistryError, match=r"cannot read registry\.test/a/b:v1: Name or service not known") as raised:
        client.get_manifest(ImageReference.parse("registry.test/a/b:v1"))
    assert raised.value.hint == "Is the host name right, and does DNS work here?"


def test_a_resolver_that_fails_is_asked_again_for_five_seconds_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_names(monkeypatch, socket.EAI_AGAIN, "Temporary failure in name resolution")
    waits: list[float] = []
    client = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=waits.append))
    with pytest.raises(RegistryError, match=r"registry\.test/a/b:v1: Temporary failure in name resolution") as raised:
        client.get_manifest(ImageReference.parse("registry.test/a/b:v1"))
    assert waits
    assert sum(waits) <= 5
    assert raised.value.hint == f"Is the host name right, and does DNS work here? Tried {len(waits) + 1} times."
