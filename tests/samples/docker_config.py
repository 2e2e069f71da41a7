"""Docker's config.json, and the credentials that are found by it."""

import json
import os
from base64 import b64encode
from pathlib import Path

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
