"""Registries with certificates of their own."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from builder.errors import RegistryError
from builder.net.session import Waiting
from builder.oci.manifest import INDEX
from builder.registry.connection import Call, RegistryConnection
from builder.registry.response import Answer

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


@dataclass(frozen=True)
class Tls:
    """A server with a certificate of its own making, valid for 127.0.0.1."""

    host: str
    certificate: Path


class _Index(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", INDEX)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """The test says what it saw."""


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that do not trust us, or speak no TLS, are what is tested."""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tls]:
    openssl = shutil.which("openssl")
    if not openssl:
        pytest.skip("tests/unit/registry/test_connection.py: no openssl on PATH")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = directory / "ca.crt", directory / "key.pem"
    command = (
        f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test "
        f"-addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {certificate}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    server = _QuietServer(("127.0.0.1", 0), _Index)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Tls(f"127.0.0.1:{server.server_port}", certificate)
    server.shutdown()
    server.server_close()
    thread.join()


def test_an_unknown_certificate_is_refused_at_once(tls: Tls) -> None:
    with pytest.raises(RegistryError, match="its TLS certificate is not trusted: self") as caught:
        connect(tls.host, plain=False).send(CALL)
    assert not caught.value.temporary
    assert "/etc/docker/certs.d" in caught.value.hint


def test_a_certificate_is_found_where_docker_keeps_it(tls: Tls, tmp_path: Path) -> None:
    directory = tmp_path / tls.host
    directory.mkdir()
    shutil.copy(tls.certificate, directory / "ca.crt")
    answer = connect(tls.host, plain=False, certificates=tmp_path).send(CALL)
    assert (answer.status, answer.content) == (200, b"{}")


def trusted(tls: Tls, directory: Path) -> Path:
    """Where Docker would keep the certificate of this server."""
    (directory / tls.host).mkdir()
    shutil.copy(tls.certificate, directory / tls.host / "ca.crt")
    return directory


def test_a_registry_on_this_machine_may_speak_either(tls: Tls, tmp_path: Path) -> None:
    """By plain HTTP at first, as Docker has it; from the answer on, by TLS."""
    connection = connect(tls.host, plain=True, certificates=trusted(tls, tmp_path))
    assert connection.send(CALL).content == b"{}"
    assert connection.base.startswith("https://")
    assert connection.send(CALL).content == b"{}"


def test_one_that_answers_in_words_too(tls: Tls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect(tls.host, plain=True, certificates=trusted(tls, tmp_path))
    exchange = connection._exchange

    def answer(call: Call, url: str, authorization: str) -> Answer:
        if url.startswith("https:"):
            return exchange(call, url, authorization)
        words = b"Client sent an HTTP request to an HTTPS server.\n"
        return Answer(method="GET", url=url, status=400, headers={}, content=words)

    monkeypatch.setattr(connection, "_exchange", answer)
    assert connection.send(CALL).content == b"{}"


def test_its_certificate_is_looked_at_all_the_same(tls: Tls) -> None:
    with pytest.raises(RegistryError, match="its TLS certificate is not trusted: self"):
        connect(tls.host, plain=True).send(CALL)


def test_a_certificate_named_in_the_environment(tls: Tls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tls.certificate))
    assert connect(tls.host, plain=False).send(CALL).status == 200
