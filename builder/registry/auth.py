"""Logging in to registries: challenges, tokens, and who may see a credential.

Sources: https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/, RFC 9110 section 11, RFC 6750.
"""

import math
import re
import threading
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from builder.errors import AccessDenied, RegistryError
from builder.oci.reference import Repository, redact_url
from builder.registry.response import Answer, refusal
from builder.runtime.json_document import object_of, parse_json, text_of

_CLIENT = "istio-build"
# "For compatibility with older clients, a token should never be returned with less than 60 seconds to live."
_DEFAULT_TOKEN_SECONDS = 60.0
_LONGEST_TOKEN_SECONDS = 86400.0
# Possessive (`++`): what has been read is not read again in another way, so that the time grows with the length alone.
_CHALLENGE_PART = re.compile(r'([\w-]++)(?:\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^\s",]++)))?+')
_LONGEST_CHALLENGE = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A user name with a password, or an identity token (an OAuth2 refresh token). Its repr shows no secret."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)


CredentialSource = Callable[[str], Credential | None]
"""Gives the credential for a registry such as `docker.io` or `registry.corp.example:5000`, None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """One challenge of a WWW-Authenticate header; the scheme and the parameters' names are in lower case."""

    scheme: str
    parameters: Mapping[str, str]


class TokenRequester(Protocol):
    """Makes one HTTP request to a token service. Raises RegistryError or RetryableError."""

    def __call__(
        self,
        act: str,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        authorization: str = "",
    ) -> Answer:
        """The answer, whatever its status."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    """An Authorization header, until when to use it (on the monotonic clock), and whether a credential earned it."""

    header: str = field(repr=False)
    expires: float
    personal: bool


class Authorizer:
    """Answers the challenges of one registry, and keeps the answers, per set of scopes. For many threads at once."""

    def __init__(self, host: str, credentials: CredentialSource, request: TokenRequester, clock: Callable[[], float]) -> None:
        self._host = host
        self._credentials = credentials
        self._request = request
        self._clock = clock
        self._grants: dict[tuple[str, ...], _Grant] = {}
        # A user name and password are the same for all scopes: a registry that asked for them once is not made to ask again.
        self._basic: _Grant | None = None
        self._locks: defaultdict[tuple[str, ...], threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def header(self, scopes: tuple[str, ...]) -> str:
        """The Authorization header to send without being asked: what last worked for these scopes, or ""."""
        grant = self._grants.get(scopes, self._basic)
        return grant.header if grant and self._clock() < grant.expires else ""

    def is_personal(self, scopes: tuple[str, ...]) -> bool:
        """Whether a credential of the user's stands behind what we send for these scopes."""
        grant = self._grants.get(scopes, self._basic)
        return bool(grant and grant.personal)

    def answer(self, act: str, scopes: tuple[str, ...], refused: str, answer: Answer) -> str:
        """The header to try after a 401, "" where there is nothing left to try.

        `refused` is the header that was sent. Threads that are refused together fetch one token between them. Raises
        AccessDenied where the credential is wrong, RegistryError or RetryableError where the token service fails.
        """
        challenges = {challenge.scheme: challenge for challenge in parse_challenges(answer.headers)}
        with self._lock:
            lock = self._locks[scopes]
        with lock:
            newer = self.header(scopes)
            if newer and newer != refused:
                return newer
            grant: _Grant | None = None
            if "bearer" in challenges:
                grant = self._fetch_token(act, answer.url, challenges["bearer"], scopes)
            elif "basic" in challenges:
                grant = self._basic = self._answer_basic()
            if grant is None or grant.header == refused:
                return ""
            self._grants[scopes] = grant
            return grant.header

    def _answer_basic(self) -> _Grant | None:
        credential = self._credentials(self._host)
        if not credential or not credential.username:
            return None
        return _Grant(header=_basic(credential), expires=float("inf"), personal=True)

    def _fetch_token(self, act: str, asked_by: str, challenge: Challenge, scopes: tuple[str, ...]) -> _Grant:
        realm = challenge.parameters.get("realm", "")
        self._check_realm(act, asked_by, realm)
        credential = self._credentials(self._host)
        # The challenge names the scope of this request alone; a mount needs a second repository's as well.
        wanted = dict.fromkeys((*scopes, *challenge.parameters.get("scope", "").split()))
        query = {"service": challenge.parameters.get("service", ""), "scope": " ".join(wanted)}
        query = {name: value for name, value in query.items() if value}
        asked_at = self._clock()
        act = f"{act} (getting a token)"
        if credential and credential.identity_token:
            form = {**query, "grant_type": "refresh_token", "refresh_token": credential.identity_token}
            answer = self._request(act, "POST", realm, form={**form, "client_id": _CLIENT})
        elif credential and credential.username:
            query = {**query, "account": credential.username, "client_id": _CLIENT}
            answer = self._request(act, "GET", realm, query=query, authorization=_basic(credential))
        else:
            answer = self._request(act, "GET", realm, query=query)
        if answer.status != 200:
            raise self._token_refusal(act, answer, had_credentials=credential is not None)
        token, seconds = _parse_token(act, answer)
        # Replaced some time before its end, so that it still holds when it arrives.
        lifetime = seconds - min(10.0, seconds / 4)
        return _Grant(header=f"Bearer {token}", expires=asked_at + lifetime, personal=credential is not None)

    def _token_refusal(self, act: str, answer: Answer, *, had_credentials: bool) -> Exception:
        # OAuth2 answers a bad refresh token with 400 invalid_grant: RFC 6749 section 5.2.
        if answer.status == 400 and b"invalid_grant" in answer.content:
            denied = refusal(act, self._host, _with_status(answer, 401), had_credentials=had_credentials)
            assert isinstance(denied, AccessDenied)
            return denied
        return refusal(act, self._host, answer, had_credentials=had_credentials)

    def _check_realm(self, act: str, asked_by: str, realm: str) -> None:
        if not realm.startswith(("https://", "http://")):
            raise RegistryError(f"cannot {act}: {self._host} names no token service to log in at", status=401)
        if asked_by.startswith("https://") and not realm.startswith("https://"):
            # A password that is safe with the registry must not leave over plain HTTP because the registry says so.
            raise RegistryError(
                f"cannot {act}: {self._host} speaks HTTPS but wants us to log in by plain HTTP at {redact_url(realm)}",
                hint="Its token service has to be reached by HTTPS: mend the registry's `realm`.",
                status=401,
            )


def pull_scope(repository: Repository) -> tuple[str, ...]:
    """The scopes of a token for reading a repository."""
    return (f"repository:{repository.path}:pull",)


def push_scope(repository: Repository) -> tuple[str, ...]:
    """The scopes of a token for writing to a repository."""
    return (f"repository:{repository.path}:pull,push",)


def parse_challenges(headers: Mapping[str, str]) -> tuple[Challenge, ...]:
    """The challenges of a WWW-Authenticate header: `Bearer realm="…",service="…", Basic realm="…"`."""
    found: list[tuple[str, dict[str, str]]] = []
    for part in _CHALLENGE_PART.finditer(headers.get("WWW-Authenticate", "")[:_LONGEST_CHALLENGE]):
        name, quoted, plain = part.groups()
        if quoted is None and plain is None:
            found.append((name.lower(), {}))
        elif found:
            found[-1][1][name.lower()] = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
    return tuple(Challenge(scheme=scheme, parameters=parameters) for scheme, parameters in found)


def _basic(credential: Credential) -> str:
    return "Basic " + b64encode(f"{credential.username}:{credential.password}".encode()).decode()


def _with_status(answer: Answer, status: int) -> Answer:
    return Answer(method=answer.method, url=answer.url, status=status, headers=answer.headers, content=answer.content)


def _parse_token(act: str, answer: Answer) -> tuple[str, float]:
    """The token, and its lifetime in seconds."""
    try:
        document = object_of(parse_json(answer.content))
        token = text_of(document.get("token") or document["access_token"])
        if not re.fullmatch(r"[!-~]+", token):
            raise ValueError("not a token")
        return token, _lifetime(document.get("expires_in"))
    except (ValueError, KeyError):
        # The body is not shown: it may well hold a token.
        raise RegistryError(f"cannot {act}: {redact_url(answer.url)} answered without a token", status=answer.status) from None


def _lifetime(told: object) -> float:
    """Seconds. Some services write the number as a text; what is none, or absurd, is as if it were not there."""
    try:
        seconds = float(told) if isinstance(told, int | float | str) else 0.0
    except ValueError:
        seconds = 0.0
    if not math.isfinite(seconds) or not seconds:
        return _DEFAULT_TOKEN_SECONDS
    return min(max(1.0, seconds), _LONGEST_TOKEN_SECONDS)
