"""The connections to all registries that a run talks to."""

import threading
import urllib.parse
from collections.abc import Callable, Collection
from typing import NoReturn

from builder.net.session import is_loopback
from builder.oci.reference import Repository
from builder.registry.connection import Call, RegistryConnection
from builder.registry.response import Answer


class RegistryConnections:
    """The connections to all registries, made at their first use.

    Plain HTTP is spoken to this machine, as Docker does, unless it wants TLS, and to the `insecure` hosts (`HOST` or
    `HOST:PORT`).
    """

    def __init__(self, connect: Callable[[str, bool], RegistryConnection], insecure: Collection[str]) -> None:
        self._connect = connect
        self._insecure = frozenset(insecure)
        self._lock = threading.Lock()
        self._connections: dict[str, RegistryConnection] = {}

    def abort(self) -> None:
        """End all requests to all of them, from any thread."""
        with self._lock:
            connections = tuple(self._connections.values())
        for connection in connections:
            connection.abort()

    def send(self, repository: Repository, call: Call, *, accept: tuple[int, ...]) -> Answer:
        """The answer of the repository's registry, which raises what `refuse` does where it is none of those we accept."""
        answer = self.to(repository).send(call)
        if answer.status not in accept:
            self.refuse(repository, call, answer)
        return answer

    def refuse(self, repository: Repository, call: Call, answer: Answer) -> NoReturn:
        """Raises the exception for this answer."""
        raise self.to(repository).refusal(call, answer)

    def to(self, repository: Repository) -> RegistryConnection:
        """The connection to the repository's registry. Raises RequestError for a certificate that is none."""
        host = repository.registry
        name = urllib.parse.urlsplit(f"//{host}").hostname or host
        plain = is_loopback(name) or not self._insecure.isdisjoint((host, name))
        with self._lock:
            if host not in self._connections:
                self._connections[host] = self._connect(host, plain)
            return self._connections[host]
