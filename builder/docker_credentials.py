"""Registry credentials from where `docker login` puts them, read by the Docker SDK for Python.

Order, as Docker's own: the JSON in DOCKER_AUTH_CONFIG, then config.json in DOCKER_CONFIG or ~/.docker with its `auths`,
`credsStore` and `credHelpers`.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from builder.errors import EngineError
from builder.json_document import object_of, parse_json, text_map_of, text_of
from builder.registry_auth import Credential, CredentialSource
from builder.regular_file import read_regular

if TYPE_CHECKING:
    from docker.auth import AuthConfig

_LARGEST_FILE = 16 * 1024 * 1024


def docker_credentials(environment: Mapping[str, str]) -> CredentialSource:
    """A source that looks anew each time it is asked, so that a login during a long run helps the rest of it.

    It raises EngineError where the configuration cannot be read, or a credential helper is missing or fails.
    """

    def find(registry: str) -> Credential | None:
        for origin, text in _configurations(environment):
            credential = _find_in(origin, text, registry, environment)
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


def _find_in(origin: str, text: str, registry: str, environment: Mapping[str, str]) -> Credential | None:
    # Importing the SDK takes 150 ms, and a push to a registry without a login has no use for it.
    import docker.auth
    import docker.errors

    try:
        document = dict(object_of(parse_json(text)))
        # The SDK looks at these only when it is asked for a login, and stumbles there.
        text_map_of(document.get("credHelpers"))
        text_of(document.get("credsStore"))
        # An empty configuration would have the SDK look for another one by itself.
        if not document:
            return None
        config = docker.auth.load_config(config_dict=document, credstore_env=dict(environment))
    except (ValueError, TypeError, AttributeError, docker.errors.DockerException) as error:
        # The error's own text may quote the file, and with it a password.
        raise EngineError(
            f"Docker's configuration in {origin} is malformed ({type(error).__name__})",
            hint="It has to be JSON as `docker login` writes it; move it away and log in again.",
        ) from None
    _check_helper(origin, config, registry)
    try:
        return _to_credential(config.resolve_authconfig(registry))
    except (docker.errors.DockerException, ValueError, KeyError) as error:
        raise EngineError(
            f"the credential helper {_helper(config, registry)} failed for {registry}: {_bounded(error)}",
            hint=f"See what `echo {registry} | {_helper(config, registry)} get` says; {origin} asks for it.",
        ) from error


def _check_helper(origin: str, config: "AuthConfig", registry: str) -> None:
    """The SDK merely warns of a missing helper, and fails later without naming the file that asks for it."""
    helper = _helper(config, registry)
    if helper and not shutil.which(helper):
        raise EngineError(
            f"the credential helper {helper} is not installed, but {origin} names it for {registry}",
            hint=f"Install it, or take `credsStore` or `credHelpers` out of {origin} and log in again.",
        )


def _helper(config: "AuthConfig", registry: str) -> str:
    store = config.get_credential_store(registry)
    return f"docker-credential-{store}" if store else ""


def _to_credential(found: Mapping[str, Any] | None) -> Credential | None:
    # The SDK writes `username` for what is in the file, `Username` for what a helper says.
    fields = {name.lower(): str(value or "") for name, value in (found or {}).items()}
    credential = Credential(
        username=fields.get("username", ""),
        password=fields.get("password", ""),
        identity_token=fields.get("identitytoken", ""),
    )
    return credential if credential.username or credential.identity_token else None


def _bounded(error: Exception) -> str:
    # What a helper answered is quoted in JSON and key errors only by its shape; its own message is meant to be shown.
    return " ".join(str(error).split())[:200]
