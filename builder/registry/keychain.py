"""Registry credentials from where `docker login` puts them, read by the Docker SDK for Python.

Order, as Docker's own: the JSON in DOCKER_AUTH_CONFIG, then config.json in DOCKER_CONFIG or ~/.docker with its `auths`,
`credsStore` and `credHelpers`. Helpers are run by ourselves, as the SDK would wait for one for ever, Ctrl-C or not:
https://github.com/docker/docker-credential-helpers#development
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from builder.errors import EngineError
from builder.ports import ProcessFailed, ProcessRunner, ProcessSilent
from builder.registry.auth import Credential, CredentialSource
from builder.runtime.json_document import object_of, parse_json, text_map_of, text_of
from builder.runtime.regular_file import read_regular

if TYPE_CHECKING:
    from docker.auth import AuthConfig

_LARGEST_FILE = 16 * 1024 * 1024


_DOCKER_HUB = ("docker.io", "index.docker.io")
# What helpers know Docker Hub by.
_DOCKER_HUB_KEY = "https://index.docker.io/v1/"
_NOT_FOUND = "credentials not found in native keychain"
# A helper may ask its user to unlock something, or a cloud for a token.
_HELPER_SECONDS = 60.0


def docker_credentials(
    environment: Mapping[str, str], runner: ProcessRunner, helper_seconds: float = _HELPER_SECONDS
) -> CredentialSource:
    """A source that looks anew each time it is asked, so that a login during a long run helps the rest of it.

    It raises EngineError where the configuration cannot be read, or a credential helper is missing, fails or says
    nothing for `helper_seconds`; and what `runner` raises when it is interrupted.
    """

    def find(registry: str) -> Credential | None:
        for origin, text in _configurations(environment):
            config = _parse(origin, text)
            if config is None:
                continue
            helper = _Helper.of(config, registry, origin, environment)
            credential = helper.ask(runner, helper_seconds) if helper else None
            credential = credential or _stored(config, registry)
            if credential:
                return credential
        return None

    return find


def _configurations(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Name and content of each configuration there is, the deciding one first."""
    given = environment.get("DOCKER_AUTH_CONFIG", "")
    found = [("DOCKER_AUTH_CONFIG", given)] if given.strip() else []
    directory = _directory(environment)
    if directory is None:
        return tuple(found)
    path = directory / "config.json"
    try:
        found.append((str(path), read_regular(path, _LARGEST_FILE).decode()))
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError(f"cannot read Docker's configuration {path}: {error}") from error
    return tuple(found)


def _directory(environment: Mapping[str, str]) -> Path | None:
    """Where the configuration is; None for a user who has no home, as a number without a name in a container."""
    if environment.get("DOCKER_CONFIG"):
        return Path(environment["DOCKER_CONFIG"])
    try:
        return Path(environment.get("HOME") or Path.home()) / ".docker"
    except RuntimeError:
        return None


def _parse(origin: str, text: str) -> "AuthConfig | None":
    # Importing the SDK takes 150 ms, and a push to a registry without a login has no use for it.
    import docker.auth
    import docker.errors

    try:
        document = dict(object_of(parse_json(text)))
        # The SDK looks at these only when it is asked for a login, and stumbles there.
        text_map_of(document.get("credHelpers"))
        text_of(document.get("credsStore"))
        # An empty configuration would have the SDK look for another one by itself.
        return docker.auth.load_config(config_dict=document) if document else None
    except (ValueError, TypeError, AttributeError, docker.errors.DockerException) as error:
        # The error's own text may quote the file, and with it a password.
        raise EngineError(
            f"Docker's configuration in {origin} is malformed ({type(error).__name__})",
            hint="It has to be JSON as `docker login` writes it; move it away and log in again.",
        ) from None


def _stored(config: "AuthConfig", registry: str) -> Credential | None:
    """What stands in the file itself, which counts where a helper knows nothing."""
    import docker.auth

    found = docker.auth.AuthConfig({"auths": config.auths}).resolve_authconfig(registry) or {}
    fields = {name.lower(): str(value or "") for name, value in found.items()}
    credential = Credential(
        username=fields.get("username", ""),
        password=fields.get("password", ""),
        identity_token=fields.get("identitytoken", ""),
    )
    return credential if credential.username or credential.identity_token else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Helper:
    """A program that keeps credentials, and the registry it is asked for. What it answers is never shown."""

    program: str
    registry: str
    origin: str
    environment: Mapping[str, str]

    @classmethod
    def of(cls, config: "AuthConfig", registry: str, origin: str, environment: Mapping[str, str]) -> "_Helper | None":
        store = config.get_credential_store(registry)
        if not store:
            return None
        return cls(program=f"docker-credential-{store}", registry=registry, origin=origin, environment=environment)

    @property
    def key(self) -> str:
        return _DOCKER_HUB_KEY if self.registry in _DOCKER_HUB else self.registry

    def ask(self, runner: ProcessRunner, seconds: float) -> Credential | None:
        program = shutil.which(self.program, path=self.environment.get("PATH"))
        if not program:
            raise EngineError(
                f"the credential helper {self.program} is not installed, but {self.origin} names it for {self.registry}",
                hint=f"Install it, or take `credsStore` or `credHelpers` out of {self.origin} and log in again.",
            )
        try:
            done = runner.run([program, "get"], env=self.environment, stdin=self.key, idle_timeout=seconds)
        except ProcessSilent as error:
            raise self._failure(f"it has said nothing for {seconds:g} s") from error
        except ProcessFailed as error:
            if _NOT_FOUND in error.stdout.lower():
                return None
            raise self._failure(_said(error)) from error
        try:
            return _answer(parse_json(done.stdout))
        except (ValueError, KeyError, TypeError) as error:
            raise self._failure(f"its answer is not what helpers answer ({type(error).__name__})") from None

    def _failure(self, what: str) -> EngineError:
        return EngineError(
            f"the credential helper {self.program} failed for {self.registry}: {what}",
            hint=f"See what `echo {self.key} | {self.program} get` says; {self.origin} asks for it.",
        )


def _answer(document: Mapping[str, str]) -> Credential | None:
    username, secret = document["Username"], document["Secret"]
    if not username and not secret:
        # As `pass` answers for what it does not have.
        return None
    return Credential(identity_token=secret) if username == "<token>" else Credential(username=username, password=secret)


def _said(error: ProcessFailed) -> str:
    """Helpers explain themselves on stdout, where otherwise the secret is."""
    words = " ".join((error.stdout.strip() or error.stderr).split())
    return f"it ended with status {error.returncode}" if not words or "secret" in words.lower() else words[:200]
