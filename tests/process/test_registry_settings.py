"""Whole pushes to registries as companies run them: with TLS and a password, with tokens, read-only, full, without deletion.

Each ends with the right code and says what to do, shows no credential anywhere, and leaves nothing half-way.
"""

import itertools
import time
from base64 import b64encode
from pathlib import Path

import pytest

from tests.fakes.fault_server import FaultServer, Received, Reply, error_reply
from tests.fakes.forwarder import Forwarder
from tests.real.certificates import Certificates
from tests.real.program import Ended
from tests.real.registry import free_port, registry_program, running_registry
from tests.real.site import Site, digests_by_tag, tags_named
from tests.real.token_service import SignedTokens
from tests.samples.releases import TAGS

PASSWORD = "open-Sesame-41"
# Of PASSWORD, as `htpasswd -B` makes it.
HTPASSWD = "alice:$2b$04$S.Y8XRtDBXeDLrHY6pqQcugpkleJVwYkZyeyBH2pjxMrDiItEB3Vq\n"
WRONG = "wrong-Sesame-42"
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {directory}/data}}
  {storage}
http: {{addr: "127.0.0.1:{port}"{http}}}
{more}
"""


def configure(directory: Path, storage: str = "delete: {enabled: true}", http: str = "", more: str = "", port: int = 0) -> int:
    """Write what the CNCF distribution's registry is to obey; gives its port."""
    port = port or free_port()
    text = CONFIG.format(directory=directory, storage=storage, http=http, more=more, port=port)
    (directory / "config.yml").write_text(text)
    return port


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a registry keeps what is its own."""
    directory = tmp_path / "registry"
    directory.mkdir()
    return directory


@pytest.fixture
def program(request: pytest.FixtureRequest) -> str:
    return registry_program(request.node.nodeid)


def login(directory: Path, host: str, password: str) -> dict[str, str]:
    """The environment of somebody who has logged in as alice with this password."""
    directory.mkdir()
    entry = b64encode(f"alice:{password}".encode()).decode()
    (directory / "config.json").write_text(f'{{"auths": {{"{host}": {{"auth": "{entry}"}}}}}}')
    return {"DOCKER_CONFIG": str(directory)}


def failed(ended: Ended, code: int, *told: str) -> str:
    """What a push that failed has told, which is all of this."""
    assert ended.code == code, ended.stderr
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    error = ended.stderr.partition("error: ")[2]
    assert [text for text in told if text not in error] == [], error
    return error


class TestTlsAndAPassword:
    """A certificate of the company's own authority, and one password for all."""

    @pytest.fixture
    def certificates(self, place: Path) -> Certificates:
        return Certificates.make(place)

    def test_a_push_with_both_and_without_either(
        self, program: str, place: Path, certificates: Certificates, tmp_path: Path
    ) -> None:
        (place / "htpasswd").write_text(HTPASSWD)
        tls = f", tls: {{certificate: {certificates.certificate}, key: {certificates.key}}}"
        port = configure(place, http=tls, more=f"auth: {{htpasswd: {{realm: tests, path: {place}/htpasswd}}}}")
        trusted = {"REQUESTS_CA_BUNDLE": str(certificates.authority)}
        with running_registry(program, place, port, certificate=certificates.authority) as host:
            site = Site(host, tmp_path, asking={"verify": str(certificates.authority), "auth": ("alice", PASSWORD)})
            right = login(tmp_path / "right", host, PASSWORD)
            unknown = site.push("one", **right)
            failed(unknown, 13, host, "its TLS certificate is not trusted", "/etc/docker/certs.d/HOST", "REQUESTS_CA_BUNDLE")
            nobody = site.push("one", **trusted, **{"DOCKER_CONFIG": str(tmp_path / "nothing")})
            failed(nobody, 14, host, f"Docker has no login for {host}: run `docker login {host}`")
            wrong = site.push("one", **trusted, **login(tmp_path / "wrong", host, WRONG))
            failed(wrong, 14, host, f"log in again with `docker login {host}`")
            assert site.tags() == {}
            pushed = site.push("one", **trusted, **right)
            assert digests_by_tag(pushed) == site.tags()
            for password in (PASSWORD, WRONG):
                for secret in (password, b64encode(f"alice:{password}".encode()).decode()):
                    assert site.shows(secret) == []


class TestTokens:
    def test_tokens_that_hold_shorter_than_a_push_and_than_an_upload(self, program: str, place: Path, tmp_path: Path) -> None:
        tokens = SignedTokens(place, "alice", PASSWORD, good_for=2.0)
        slow = itertools.count()

        def wait_longer_than_a_token(received: Received) -> None:
            """Between the registry's word where to upload to, and the upload."""
            if received.method == "PUT" and "/blobs/uploads/" in received.path and next(slow) == 0:
                time.sleep(2.1)

        with FaultServer(tokens).running() as service:
            token = f"{{realm: '{service.url}/token', service: tests, issuer: tests, rootcertbundle: {tokens.certificate}}}"
            port = configure(place, more=f"auth: {{token: {token}}}")
            with (
                running_registry(program, place, port) as host,
                FaultServer(Forwarder(host, wait_longer_than_a_token)).running() as front,
            ):
                site = Site(front.host, tmp_path, login(tmp_path / "docker", front.host, PASSWORD))
                pushed = digests_by_tag(site.push("one"))
                assert len(pushed) == sum(map(len, TAGS.values()))
                refused = list(front.requests("PUT", "/blobs/uploads/"))
                for secret in (PASSWORD, b64encode(f"alice:{PASSWORD}".encode()).decode(), *tokens.given):
                    assert site.shows(secret) == []
        assert len(refused) > len({received.path for received in refused}), "an upload was sent again with a new token"
        scopes = [token.query["scope"] for token in service.requests("GET", "/token")]
        assert len(scopes) > len(set(scopes))

    def test_a_password_that_the_token_service_refuses(self, program: str, place: Path, tmp_path: Path) -> None:
        tokens = SignedTokens(place, "alice", PASSWORD, good_for=60.0)
        with FaultServer(tokens).running() as service:
            token = f"{{realm: '{service.url}/token', service: tests, issuer: tests, rootcertbundle: {tokens.certificate}}}"
            port = configure(place, more=f"auth: {{token: {token}}}")
            with running_registry(program, place, port) as host:
                site = Site(host, tmp_path, login(tmp_path / "docker", host, WRONG))
                failed(site.push("one"), 14, host, "getting a token", f"log in again with `docker login {host}`")
                assert tokens.given == []
                assert site.shows(WRONG) == site.shows(b64encode(f"alice:{WRONG}".encode()).decode()) == []


def test_a_registry_that_is_read_only(program: str, place: Path, tmp_path: Path) -> None:
    """A push that has nothing to write is as good there as elsewhere."""
    port = configure(place)
    with running_registry(program, place, port) as host:
        site = Site(host, tmp_path)
        first = digests_by_tag(site.push("one"))
    configure(place, storage="maintenance: {readonly: {enabled: true}}", port=port)
    with running_registry(program, place, port):
        again = site.push("one")
        assert digests_by_tag(again) == first
        assert again.report()["traffic"]["tags_moved"] == 0
        failed(site.push("two"), 13, f"to {site.hub}", "405", f"{host} takes nothing", "another --hub")
        assert site.tags() == first


QUOTA = (
    "adding 10.0 MiB of storage resource, which when updated to current usage of 95.0 MiB will exceed the configured upper limit"
)


@pytest.mark.parametrize(
    "refusal",
    [
        error_reply(403, "DENIED", QUOTA),
        error_reply(413, "DENIED", "quota exceeded"),
    ],
    ids=["403", "413"],
)
def test_a_hub_that_is_over_its_quota_in_the_middle_of_uploads(program: str, place: Path, tmp_path: Path, refusal: Reply) -> None:
    allowed = itertools.count()

    def refuse(received: Received) -> Reply | None:
        is_upload = received.method == "PUT" and "/blobs/uploads/" in received.path
        return refusal if is_upload and next(allowed) >= 4 else None

    with running_registry(program, place) as host, FaultServer(Forwarder(host, refuse)).running() as front:
        site = Site(front.host, tmp_path)
        error = failed(site.push("one"), 13, front.host, "quota", "have it raised")
        assert "docker login" not in error
        assert site.tags() == site.tags(names=dict.fromkeys(TAGS, ("istio-build-run", "istio-build-history"))) == {}
        assert len(front.requests("PUT", "/blobs/uploads/")) < 20, "a full hub is not asked again and again"


def test_a_registry_that_deletes_nothing(program: str, place: Path, tmp_path: Path) -> None:
    """What has come in a failed push stays, and is named; what was there before is back."""
    port = configure(place, storage="delete: {enabled: false}")

    def refuse(received: Received) -> Reply | None:
        refused = received.method == "PUT" and received.path.endswith("/v2-distroless")
        return error_reply(403, "DENIED", "not this one") if refused else None

    with running_registry(program, place, port) as host, FaultServer(Forwarder(host, refuse)).running() as front:
        site = Site(front.host, tmp_path)
        first = digests_by_tag(site.push("one"))
        error = failed(site.push("two", "--tag", "v1,v2"), 15, front.host, "cannot delete")
        left = site.tags(names=tags_named("v1", "v2"))
        assert site.tags() == first
        assert left
        assert [tag for tag in left if tag not in error] == []
        # The next run is not kept from anything by what is left.
        second = digests_by_tag(site.push("two"))
        assert site.tags() == second
