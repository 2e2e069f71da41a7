"""A token service as the CNCF distribution's registry wants it: https://distribution.github.io/distribution/spec/auth/jwt/."""

import json
import time
from base64 import b64encode, urlsafe_b64encode
from pathlib import Path

from tests.fakes.fault_server import Received, Reply, error_reply
from tests.real.certificates import openssl

# The registry takes a token for so long after it has expired, as clocks may differ.
LEEWAY = 60.0


class SignedTokens:
    """What a `FaultServer` responds with: a token for whatever is asked, signed, for who says the password.

    Each is good at the registry for `good_for` seconds, and says that it is for five minutes: as if it were revoked before.
    """

    def __init__(self, directory: Path, user: str, password: str, good_for: float) -> None:
        self._basic = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
        self._key = directory / "token.key"
        self.certificate = directory / "token.crt"
        words = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tokens")
        openssl("req", "-x509", *words, "-keyout", str(self._key), "-out", str(self.certificate))
        self._good_for = good_for
        self.given: list[str] = []

    def __call__(self, received: Received) -> Reply:
        if received.authorization != self._basic:
            return error_reply(401, "UNAUTHORIZED", "incorrect username or password")
        token = self._sign(received.query.get("service", ""), received.query.get("scope", "").split())
        self.given.append(token)
        return Reply(200, json.dumps({"token": token, "expires_in": 300}).encode(), {"Content-Type": "application/json"})

    def _sign(self, service: str, scopes: list[str]) -> str:
        now = time.time()
        parts = [scope.split(":") for scope in scopes]
        claims = {
            "iss": "tests",
            "aud": service,
            "sub": "alice",
            # Whole seconds: what is cut off here is less time for the token, and none of the times is in the future.
            "nbf": int(now) - 3600,
            "iat": int(now) - 3600,
            "exp": int(now + self._good_for - LEEWAY),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")} for kind, name, actions in parts],
        }
        lines = self.certificate.read_text().splitlines()
        header = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(lines[1:-1])]}
        unsigned = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
        signature = openssl("dgst", "-sha256", "-sign", str(self._key), content=unsigned.encode())
        return f"{unsigned}.{_encode(signature)}"


def _encode(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
