"""Credentials from where `docker login` puts them."""

import json
from pathlib import Path

import pytest

from builder.errors import EngineError
from builder.registry.auth import Credential
from builder.registry.keychain import docker_credentials
from tests.samples.docker_config import ALICE, HUB, auth, configured, runner


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


def test_a_helper_that_is_not_installed(tmp_path: Path) -> None:
    find = configured(tmp_path, {"credHelpers": {"r.test": "absent"}, "auths": {"other.test": auth("alice", "x")}})
    with pytest.raises(EngineError, match="docker-credential-absent is not installed") as caught:
        find("r.test")
    assert str(tmp_path / "config.json") in caught.value.message
    assert "credHelpers" in caught.value.hint
    assert find("other.test") is not None
