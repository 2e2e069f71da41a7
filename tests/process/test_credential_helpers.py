"""Credential helpers: what they are asked, what they may answer, and that none keeps a run waiting."""

import os
import threading
import time
from pathlib import Path

import pytest

from builder.errors import EngineError, Interrupted
from builder.host.process import SubprocessRunner
from builder.registry.auth import Credential
from builder.registry.keychain import docker_credentials
from builder.runtime.cancellation import Cancellation
from tests.samples.docker_config import ALICE, HUB, auth, configured, runner


def write_helper(directory: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = directory / "bin"
    programs.mkdir(exist_ok=True)
    helper = programs / f"docker-credential-{name}"
    helper.write_text(f"#!/bin/sh\nread server\n{script}\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")


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


def test_a_helper_may_give_an_identity_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, "tested", """echo '{"Username":"<token>","Secret":"identity"}'""", monkeypatch)
    assert configured(tmp_path, {"credsStore": "tested"})("r.test") == Credential(identity_token="identity")


def test_a_helper_may_know_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, "tested", "echo credentials not found in native keychain; exit 1", monkeypatch)
    assert configured(tmp_path, {"credsStore": "tested"})("r.test") is None


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


def test_what_the_file_has_counts_where_a_helper_knows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_helper(tmp_path, "tested", "echo credentials not found in native keychain; exit 1", monkeypatch)
    document = {"credsStore": "tested", "auths": {"r.test": auth("alice", "secret:with colon")}}
    assert configured(tmp_path, document)("r.test") == ALICE


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
