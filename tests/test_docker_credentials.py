"""Credentials from where `docker login` puts them."""

import json
import os
import threading
import time
from base64 import b64encode
from pathlib import Path

import pytest

from builder.errors import EngineError, Interrupted
from builder.host.process import SubprocessRunner
from builder.registry.auth import Credential, CredentialSource
from builder.registry.keychain import docker_credentials
from builder.runtime.cancellation import Cancellation

ALICE = Credential(username="alice", password="secret:with colon")
HUB = "https://index.docker.io/v1/"


def auth(username: str, password: str) -> dict[str, str]:
    return {"auth": b64encode(f"{username}:{password}".encode()).decode()}


def runner() -> SubprocessRunner:
    return SubprocessRunner(Cancellation())


def configured(directory: Path, document: object, **environment: str) -> CredentialSource:
    text = document if isinstance(document, str) else json.dumps(document)
    (directory / "config.json").write_text(text)
    return docker_credentials({**os.environ, "DOCKER_CONFIG": str(directory), **environment}, runner())


def write_helper(directory: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = directory / "bin"
    programs.mkdir(exist_ok=True)
    helper = programs / f"docker-credential-{name}"
    helper.write_text(f"#!/bin/sh\nread server\n{script}\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


def test_reads_a_login(tmp_path: Path) -> None:
    find = configured(tmp_path, {"auths": {"registry.test:5000": auth("alice", "secret:with colon")}})
    assert find("registry.test:5000") == ALICE
    assert find("registry.test") is None
    assert find("docker.io") is None


@pytest.mark.parametrize("key", [HUB, "docker.io", "index.docker.io"])
def test_docker_hub_has_several_names(tmp_path: Path, key: str) -> None:
    assert configured(tmp_path, {"auths": {key: auth("alice", "secret:with colon")}})("docker.io") == ALICE


def test_reads_an_identity_token(tmp_path: Path) -> None:
    entry = {**auth("00000000", ""), "identitytoken": "identity"}
    assert configured(tmp_path, {"auths": {"r.test": entry}})("r.test") == Credential(identity_token="identity")


@pytest.mark.parametrize("document", [{}, {"auths": {}}, {"auths": {"r.test": {}}}, {"HttpHeaders": {"X": "y"}}])
def test_a_configuration_without_a_login(tmp_path: Path, document: object) -> None:
    assert configured(tmp_path, document)("r.test") is None


def test_no_configuration(tmp_path: Path) -> None:
    assert docker_credentials({"DOCKER_CONFIG": str(tmp_path / "nowhere")}, runner())("r.test") is None


def test_home_is_where_it_is_by_default(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"auths": {"r.test": auth("alice", "x")}}))
    assert docker_credentials({"HOME": str(tmp_path)}, runner())("r.test") == Credential(username="alice", password="x")


def test_the_environment_wins(tmp_path: Path) -> None:
    given = json.dumps({"auths": {"r.test": auth("ci", "token")}})
    document = {"auths": {"r.test": auth("alice", "x"), "other.test": auth("alice", "y")}}
    find = configured(tmp_path, document, DOCKER_AUTH_CONFIG=given)
    assert find("r.test") == Credential(username="ci", password="token")
    assert find("other.test") == Credential(username="alice", password="y")


def test_a_later_login_is_seen(tmp_path: Path) -> None:
    find = configured(tmp_path, {"auths": {}})
    assert find("r.test") is None
    configured(tmp_path, {"auths": {"r.test": auth("alice", "secret:with colon")}})
    assert find("r.test") == ALICE


@pytest.mark.parametrize(
    "text",
    ["{not json", '{"auths": {"r.test": {"auth": "hunter2"}}}', '{"auths": {"r.test": "hunter2"}}', '["hunter2"]'],
)
def test_a_malformed_configuration_is_named_but_not_shown(tmp_path: Path, text: str) -> None:
    with pytest.raises(EngineError, match=r"config\.json is malformed") as caught:
        configured(tmp_path, text)("r.test")
    assert "hunter2" not in caught.value.message + caught.value.hint
    assert "docker login" in caught.value.hint


@pytest.mark.process
@pytest.mark.parametrize(
    ("document", "registry", "asked"),
    [
        ({"credsStore": "tested"}, "r.test:5000", "r.test:5000"),
        ({"credsStore": "tested"}, "docker.io", HUB),
        ({"credsStore": "tested"}, "index.docker.io", HUB),
        ({"credHelpers": {"r.test": "tested"}, "credsStore": "missing"}, "r.test", "r.test"),
        ({"auths": {"r.test": {}}, "credsStore": "tested"}, "r.test", "r.test"),
    ],
)
def test_asks_a_helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, document: object, registry: str, asked: str) -> None:
    write_helper(tmp_path, "tested", 'echo "{\\"Username\\":\\"alice\\",\\"Secret\\":\\"for $server\\"}"', monkeypatch)
    assert configured(tmp_path, document)(registry) == Credential(username="alice", password=f"for {asked}")


@pytest.mark.process
def test_a_helper_may_give_an_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, "tested", """echo '{"Username":"<token>","Secret":"identity"}'""", monkeypatch)
    assert configured(tmp_path, {"credsStore": "tested"})("r.test") == Credential(identity_token="identity")


@pytest.mark.process
def test_a_helper_may_know_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, "tested", "echo credentials not found in native keychain; exit 1", monkeypatch)
    assert configured(tmp_path, {"credsStore": "tested"})("r.test") is None


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo the keychain is locked; exit 1", "the keychain is locked"),
        ("echo nonsense", "not what helpers answer"),
        ("exit 3", "status 3"),
    ],
)
def test_a_helper_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str) -> None:
    write_helper(tmp_path, "tested", script, monkeypatch)
    with pytest.raises(EngineError, match=f"docker-credential-tested failed for r.test: .*{said}") as caught:
        configured(tmp_path, {"credsStore": "tested"})("r.test")
    assert "echo r.test | docker-credential-tested get" in caught.value.hint


@pytest.mark.process
def test_what_the_file_has_counts_where_a_helper_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, "tested", "echo credentials not found in native keychain; exit 1", monkeypatch)
    document = {"credsStore": "tested", "auths": {"r.test": auth("alice", "secret:with colon")}}
    assert configured(tmp_path, document)("r.test") == ALICE


@pytest.mark.process
@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ('{"Username":"alice","Secret":["hunter2"', 0),
        ('{"Secret":"hunter2"}', 0),
        ('["hunter2"]', 0),
        ('{"Username":"alice","Secret":"hunter2"}', 1),
    ],
)
def test_what_a_helper_answers_is_never_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int) -> None:
    write_helper(tmp_path, "tested", f"echo '{answer}'; exit {status}", monkeypatch)
    with pytest.raises(EngineError) as caught:
        configured(tmp_path, {"credsStore": "tested"})("r.test")
    assert "hunter2" not in caught.value.message + caught.value.hint


@pytest.mark.process
def test_a_helper_that_says_nothing_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, "tested", "sleep 60", monkeypatch)
    (tmp_path / "config.json").write_text('{"credsStore": "tested"}')
    find = docker_credentials({**os.environ, "DOCKER_CONFIG": str(tmp_path)}, runner(), helper_seconds=0.3)
    started = time.monotonic()
    with pytest.raises(
        EngineError, match=r"docker-credential-tested failed for r.test: it has said nothing for 0\.3 s"
    ) as caught:
        find("r.test")
    assert "echo r.test | docker-credential-tested get" in caught.value.hint
    assert time.monotonic() - started < 10


@pytest.mark.process
def test_a_helper_that_heeds_no_signal_ends_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, "tested", f"trap '' INT TERM; touch {tmp_path}/asked; sleep 60; sleep 60", monkeypatch)
    (tmp_path / "config.json").write_text('{"credsStore": "tested"}')
    cancellation = Cancellation()
    find = docker_credentials({**os.environ, "DOCKER_CONFIG": str(tmp_path)}, SubprocessRunner(cancellation))

    moments: list[float] = []

    def interrupt_when_asked() -> None:
        while not (tmp_path / "asked").exists():
            time.sleep(0.05)
        moments.append(time.monotonic())
        cancellation.set()

    thread = threading.Thread(target=interrupt_when_asked)
    thread.start()
    with pytest.raises(Interrupted):
        find("r.test")
    # Two seconds are the promise; the machine may be busy.
    assert time.monotonic() - moments[0] < 4
    thread.join()


def test_a_helper_that_is_not_installed(tmp_path: Path) -> None:
    find = configured(tmp_path, {"credHelpers": {"r.test": "absent"}, "auths": {"other.test": auth("alice", "x")}})
    with pytest.raises(EngineError, match="docker-credential-absent is not installed") as caught:
        find("r.test")
    assert str(tmp_path / "config.json") in caught.value.message
    assert "credHelpers" in caught.value.hint
    assert find("other.test") is not None
