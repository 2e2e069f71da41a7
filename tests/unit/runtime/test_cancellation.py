"""The switch that ends a run, and what it ends at once: whoever waits for a host."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from builder.errors import Interrupted
from builder.net.download import HttpDownloader
from builder.net.session import Waiting
from builder.oci.manifest import Descriptor
from builder.oci.reference import Digest, Repository
from builder.registry.client import HttpRegistry
from builder.registry.connection import Call, RegistryConnection
from builder.runtime.cancellation import Cancellation
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import FaultServer, Stall, TinyRegistry

# Interrupting takes milliseconds; without it, these tests last as long as the patience, 120 s.
SOON = 4.0


def test_endings_are_called_once_and_late_ones_at_once() -> None:
    cancellation = Cancellation()
    ended: list[str] = []
    cancellation.on_set(lambda: ended.append("early"))
    cancellation.set()
    cancellation.set()
    cancellation.on_set(lambda: ended.append("late"))
    assert ended == ["early", "late"]
    with pytest.raises(Interrupted):
        cancellation.wait(10)


def test_what_is_protected_is_not_overdue() -> None:
    cancellation = Cancellation()
    cancellation.begin_countdown()
    overdue = threading.Event()

    def wait() -> None:
        cancellation.wait_until_overdue(0.2)
        overdue.set()

    with cancellation.protected():
        assert cancellation.was_protected
        thread = threading.Thread(target=wait)
        thread.start()
        assert not overdue.wait(0.6)
        left = time.monotonic()
    thread.join(10)
    assert time.monotonic() - left >= 0.2, "its time begins when the block ends"


def test_what_is_not_protected_is_overdue_in_time() -> None:
    cancellation = Cancellation()
    cancellation.begin_countdown()
    started = time.monotonic()
    cancellation.wait_until_overdue(0.2)
    assert time.monotonic() - started >= 0.2
    assert not cancellation.was_protected


def test_killing_calls_every_killer() -> None:
    cancellation = Cancellation()
    killed: list[int] = []
    cancellation.on_kill(lambda: killed.append(1))
    cancellation.on_kill(lambda: killed.append(2))
    cancellation.kill()
    assert killed == [1, 2]


def interrupted_after(seconds: float, cancellation: Cancellation, act: Callable[[], object]) -> float:
    """Seconds from the interruption to the end of what is interrupted."""
    moments: list[float] = []

    def interrupt() -> None:
        time.sleep(seconds)
        moments.append(time.monotonic())
        cancellation.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(Interrupted):
        act()
    thread.join()
    return time.monotonic() - moments[0]


def make_registry(cancellation: Cancellation) -> HttpRegistry:
    retry = RetryPolicy(sleep=cancellation.wait)
    registry = HttpRegistry(credentials=lambda _: None, retry=retry, waiting=Waiting(check_interrupted=cancellation.check))
    cancellation.on_set(registry.abort)
    return registry


class TestWaitingForARegistry:
    @pytest.mark.parametrize("method", ["HEAD", "POST", "PUT"])
    def test_that_does_not_answer(self, method: str, tmp_path: Path) -> None:
        cancellation = Cancellation()
        (tmp_path / "blob").write_bytes(b"content")
        blob = Descriptor(media_type="x", digest=Digest.of(b"content"), size=7)
        with FaultServer(TinyRegistry()).running() as server:
            server.inject(method, "/blobs/", Stall(), Stall())
            registry = make_registry(cancellation)
            repository = Repository(server.host, "a/b")
            took = interrupted_after(0.4, cancellation, lambda: registry.push_blob(repository, blob, lambda: tmp_path / "blob"))
        assert took < SOON

    def test_that_takes_nothing_of_a_long_body(self, tmp_path: Path) -> None:
        """The write blocks, as nobody reads what the system has taken."""
        cancellation = Cancellation()
        content = bytes(30_000_000)
        (tmp_path / "blob").write_bytes(content)
        blob = Descriptor(media_type="x", digest=Digest.of(content), size=len(content))
        release = threading.Event()
        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=answer_until_put, args=(server, release))
            thread.start()
            registry = make_registry(cancellation)
            repository = Repository(f"127.0.0.1:{server.getsockname()[1]}", "a/b")
            took = interrupted_after(1.0, cancellation, lambda: registry.push_blob(repository, blob, lambda: tmp_path / "blob"))
            release.set()
            thread.join()
        assert took < SOON

    def test_that_only_connects(self) -> None:
        cancellation = Cancellation()
        with socket.create_server(("127.0.0.1", 0)) as server:
            registry = make_registry(cancellation)
            repository = Repository(f"127.0.0.1:{server.getsockname()[1]}", "a/b")
            took = interrupted_after(0.4, cancellation, lambda: registry.has_blob(repository, Digest.of(b"")))
        assert took < SOON

    def test_that_does_not_go_on_with_a_tls_handshake(self) -> None:
        cancellation = Cancellation()
        call = Call(act="look", method="HEAD", url="a/b/blobs/x", scopes=())
        with socket.create_server(("127.0.0.1", 0)) as server:
            connection = RegistryConnection(
                f"127.0.0.1:{server.getsockname()[1]}",
                plain=False,
                credentials=lambda _: None,
                certificates=Path("/nonexistent"),
                waiting=Waiting(check_interrupted=cancellation.check),
                clock=time.monotonic,
            )
            cancellation.on_set(connection.abort)
            took = interrupted_after(0.4, cancellation, lambda: connection.send(call))
        assert took < SOON

    def test_that_refuses_meanwhile(self) -> None:
        cancellation = Cancellation()
        registry = make_registry(cancellation)
        took = interrupted_after(0.8, cancellation, lambda: registry.has_blob(Repository("127.0.0.1:1", "a"), Digest.of(b"")))
        assert took < SOON


def answer_until_put(server: socket.socket, release: threading.Event) -> None:
    """A registry that reads no body."""
    connection, _ = server.accept()
    with connection:
        while not (head := read_head(connection)).startswith(b"PUT"):
            answer = b"202 Accepted\r\nLocation: /v2/a/b/blobs/uploads/1" if head.startswith(b"POST") else b"404 Not Found"
            connection.sendall(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n")
        release.wait(60)


def read_head(connection: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        head += connection.recv(1)
    return head


class TestWaitingForADownload:
    @pytest.fixture
    def cancellation(self) -> Cancellation:
        return Cancellation()

    @pytest.fixture
    def downloader(self, cancellation: Cancellation) -> HttpDownloader:
        downloader = HttpDownloader(
            retry=RetryPolicy(sleep=cancellation.wait), waiting=Waiting(check_interrupted=cancellation.check)
        )
        cancellation.on_set(downloader.abort)
        return downloader

    def test_that_does_not_come(self, cancellation: Cancellation, downloader: HttpDownloader, tmp_path: Path) -> None:
        with FaultServer(TinyRegistry()).running() as server:
            server.inject("GET", "/file", Stall())
            fetch = lambda: downloader.download(f"{server.url}/file", "0" * 64, tmp_path / "file")  # noqa: E731
            assert interrupted_after(0.4, cancellation, fetch) < SOON

    def test_that_stops_in_the_middle_and_has_no_length(
        self, cancellation: Cancellation, downloader: HttpDownloader, tmp_path: Path
    ) -> None:
        """Where the end of the connection is the end of the file, an aborted one must not be taken for a whole one."""
        release = threading.Event()

        def serve(server: socket.socket) -> None:
            connection, _ = server.accept()
            with connection:
                read_head(connection)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbeginning")
                release.wait(60)

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = threading.Thread(target=serve, args=(server,))
            thread.start()
            url = f"http://127.0.0.1:{server.getsockname()[1]}/file"
            fetch = lambda: downloader.download_unsummed(url, tmp_path / "file")  # noqa: E731
            assert interrupted_after(0.4, cancellation, fetch) < SOON
            release.set()
            thread.join()
        assert not (tmp_path / "file").exists()
