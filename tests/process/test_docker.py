"""An engine that is not there. Docker's SDK may start programs to look for one."""

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest
import requests
import urllib3
from docker.errors import DockerException

from builder.engine.docker import DockerEngine
from builder.engine.docker_context import no_engine
from builder.errors import EngineError


@pytest.mark.parametrize("host", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_no_engine_says_where_to_point_it(host: str) -> None:
    with pytest.raises(EngineError, match="no Docker engine answers") as raised:
        DockerEngine({"DOCKER_HOST": host}).check()
    assert "DOCKER_HOST" in raised.value.hint


def test_who_may_not_speak_to_docker_is_told_of_its_group() -> None:
    """What Docker's SDK 7.2 raises for a user who is not in the group, as connecting takes the right to write (unix(7))."""
    cause = PermissionError(errno.EACCES, "Permission denied")
    error = DockerException(f"Error while fetching server API version: ('Connection aborted.', {cause!r})")
    error.__cause__ = requests.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", cause))
    told = no_engine({"DOCKER_HOST": "unix:///var/run/docker.sock"}, error)
    assert "may not speak to its socket" in told.message
    assert "usermod -aG docker" in told.hint
    assert "Start Docker" not in told.hint


@pytest.mark.parametrize("where", ["variable", "configuration"])
def test_a_context_that_there_is_not_is_named(tmp_path: Path, where: str) -> None:
    environment = {"DOCKER_CONFIG": str(tmp_path), "HOME": str(tmp_path)}
    if where == "variable":
        environment["DOCKER_CONTEXT"] = "nowhere"
    else:
        (tmp_path / "config.json").write_text('{"currentContext": "nowhere"}')
    with pytest.raises(EngineError, match="there is no Docker context 'nowhere', which ") as raised:
        DockerEngine(environment).check()
    assert "docker context ls" in raised.value.hint


def test_a_context_that_leads_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"farm").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": "tcp://127.0.0.1:9", "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": "farm", "Metadata": {}, "Endpoints": {"docker": endpoint}}))
    # Docker's SDK looks for contexts beside this file, in its own process's environment.
    (tmp_path / "config.json").write_text("{}")
    for name, value in (("DOCKER_CONFIG", str(tmp_path)), ("DOCKER_CONTEXT", "farm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(EngineError, match=r"no Docker engine answers at the context 'farm' \(DOCKER_CONTEXT\)") as raised:
        DockerEngine(os.environ).check()
    assert "docker context ls" in raised.value.hint
