"""A builder of two nodes: two Docker engines of this machine's own, each reached as a BuildKit is reached over the network.

`docker buildx create --driver remote` speaks BuildKit's own protocol, which an engine serves behind `POST /grpc`
(moby, api/server/router/grpc); a relay in front of each engine does that handshake. The engines are told apart as machines are:
each has its own storage, cache mounts and history of builds, and neither is the one that DOCKER_HOST means.
"""

import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from builder.engine.buildx import find_plugin
from tests import ROOT

_HANDSHAKE = b"POST /grpc HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"


class Relay:
    """Serves an engine's BuildKit at a Unix socket of its own, until it is cut."""

    def __init__(self, engine: str, address: Path) -> None:
        self._engine = engine
        self._open: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(address))
        self._listener.listen()
        self._address = address
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Like a machine that is gone: nobody listens, and what was connected is broken off."""
        self._address.unlink(missing_ok=True)
        for connection in (self._listener, *self._open):
            _shut(connection)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        self._open.append(engine)
        with suppress(OSError):
            engine.connect(self._engine)
            engine.sendall(_HANDSHAKE)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += engine.recv(1) or b"\r\n\r\n"
            threading.Thread(target=_copy, args=(client, engine), daemon=True).start()
            _copy(engine, client)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    _shut(source)
    _shut(target)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealNode:
    """One node: its name, the platform it was given, and where its engine listens."""

    name: str
    platform: str
    engine: str

    def builds(self) -> list["Build"]:
        """What this engine has built, as it tells itself."""
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.engine}"}
        of_it = ("--builder", "default", "--format", "json")
        listed = buildx("history", "ls", *of_it, "--no-trunc", env=environment)
        names = [str(json.loads(line)["ref"]).rsplit("/", 1)[-1] for line in listed.splitlines()]
        return [Build.parse(buildx("history", "inspect", *of_it, name, env=environment)) for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build of an engine's history: for which platform, and the images it began with."""

    name: str
    platform: str
    images: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Build":
        """Read what `docker buildx history inspect` prints as JSON."""
        record = json.loads(text)
        images = tuple(str(material["URI"]) for material in record.get("Materials") or ())
        return cls(name=record["Ref"], platform=",".join(record["Platform"]), images=images)

    def uses(self, image: str) -> bool:
        """Whether this image, named with its tag, is among them; they are written as package URLs."""
        return any(image.rpartition(":")[0] in found for found in self.images)


def buildx(*words: str, env: dict[str, str] | None = None) -> str:
    """Run the plugin; gives what it prints."""
    done = subprocess.run([find_plugin(os.environ), *words], env=env, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoNodes:
    """A builder of two nodes, and the means to make others of the same two engines."""

    name: str
    nodes: tuple[RealNode, ...]
    directory: Path

    def another(self, name: str) -> dict[str, Relay]:
        """Make a builder of this name; gives the relay in front of each of its nodes."""
        relays = {}
        for node in self.nodes:
            address = self.directory / f"{name}-{node.name}"
            relays[node.name] = Relay(node.engine, address)
            made = ("--append",) if len(relays) > 1 else ()
            given = ("--driver", "remote", "--node", node.name, "--platform", node.platform)
            buildx("create", *made, "--name", name, *given, f"unix://{address}")
        return relays


class NoSecondEngine(Exception):
    """This machine cannot have another engine; the text says why."""


@contextmanager
def running_nodes() -> Iterator[TwoNodes]:
    """Two engines, and a builder of both. Raises NoSecondEngine."""
    platforms = {"amd": "linux/amd64", "arm": "linux/arm64"}
    with ExitStack() as stack:
        engines = stack.enter_context(_running_engines({name: f"{name}-{os.getpid()}" for name in platforms}))
        nodes = tuple(RealNode(name=name, platform=platforms[name], engine=engine) for name, engine in engines.items())
        # Names of sockets are short, and pytest's directories are not.
        short = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="istio-build-", dir="/tmp")))
        made = TwoNodes(name="two", nodes=nodes, directory=short)
        relays = made.another("two")
        yield made
        for relay in relays.values():
            relay.cut()


@contextmanager
def _running_engines(names: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """One more Docker engine for each, all at once, as they take their time to begin and to end; gives their sockets."""
    with ThreadPoolExecutor() as pool:
        try:
            started = dict(zip(names, pool.map(_start_engine, names.values()), strict=True))
            for ended in started.values():
                if ended.returncode:
                    raise NoSecondEngine(ended.stderr.strip()[-500:])
            yield {name: ended.stdout.strip() for name, ended in started.items()}
        finally:
            list(pool.map(_stop_engine, names.values()))


def _start_engine(name: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([ROOT / "tools" / "engine", "node", name], check=False, capture_output=True, text=True)


def _stop_engine(name: str) -> None:
    subprocess.run([ROOT / "tools" / "engine", "node-down", name], check=True, capture_output=True)
