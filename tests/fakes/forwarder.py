"""Stands before a real registry, passes on what it is asked, and answers itself where a test says so."""

import http.client
import threading
import urllib.parse
from collections.abc import Callable

from tests.fakes.fault_server import Received, Reply

# Of a connection, and not of an answer.
_NOT_PASSED_ON = ("connection", "content-length", "transfer-encoding", "date", "server")


class Forwarder:
    """What a `FaultServer` responds with. `answer` sees each request first, and may give the answer in the registry's place.

    `passed` has the method and path of all that the registry itself was asked, in order.
    """

    def __init__(self, host: str, answer: Callable[[Received], Reply | None] = lambda _: None) -> None:
        self._host = host
        self._answer = answer
        self._lock = threading.Lock()
        self.passed: list[tuple[str, str]] = []

    def __call__(self, received: Received) -> Reply:
        own = self._answer(received)
        if own is not None:
            return own
        with self._lock:
            self.passed.append((received.method, received.path))
        query = urllib.parse.urlencode(received.query)
        # With the name that we were asked by, which is what the registry makes its addresses of.
        headers = {name: value for name, value in received.headers.items() if name.lower() not in _NOT_PASSED_ON}
        connection = http.client.HTTPConnection(self._host, timeout=60)
        try:
            connection.request(received.method, f"{received.path}{'?' if query else ''}{query}", received.body, headers)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        kept = {name: value for name, value in response.getheaders() if name.lower() not in _NOT_PASSED_ON}
        if received.method == "HEAD" and response.getheader("Content-Length"):
            kept["Content-Length"] = str(response.getheader("Content-Length"))
        return Reply(response.status, body, kept)
