"""A host that never answers is given up once, for all that is asked of it; what is slow but steady is not."""

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from builder.errors import ArtifactError, RegistryError
from builder.net.download import HttpDownloader
from builder.net.patience import HostSilent, Patience
from builder.net.session import Waiting
from builder.oci.manifest import INDEX, Descriptor, Manifest
from builder.oci.reference import Digest, Repository
from builder.ports import UploadOutcome
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryableError, RetryPolicy
from tests.fakes.fault_server import FaultServer, Reply, Stall, TinyRegistry

HOST = "registry.test"


class Clock:
    """Time as the test says."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class TestTheClockOfAHost:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def patience(self, clock: Clock) -> Patience:
        return Patience(100, clock=clock)

    def ask(self, patience: Patience, host: str = HOST) -> float:
        with patience.asking(host) as left:
            return left

    def test_a_silence_goes_on_over_requests(self, patience: Patience, clock: Clock) -> None:
        assert self.ask(patience) == 100
        clock.now += 60
        assert patience.give_up(HOST) == ""
        assert self.ask(patience) == 40
        assert self.ask(patience, "other.test") == 100
        clock.now += 40
        assert patience.give_up(HOST) == "registry.test has not answered for 100 s; that is how long is waited (--timeout)"
        assert patience.give_up("other.test") == ""

    def test_a_host_that_has_been_given_up_is_not_asked_again(self, patience: Patience, clock: Clock) -> None:
        self.ask(patience)
        clock.now += 100
        assert patience.give_up(HOST)
        with pytest.raises(HostSilent, match="has not answered for 100 s"):
            self.ask(patience)
        patience.hear(HOST)
        assert self.ask(patience) == 100

    def test_an_answer_ends_it(self, patience: Patience, clock: Clock) -> None:
        self.ask(patience)
        patience.hear(HOST)
        clock.now += 1000
        assert self.ask(patience) == 100, "nobody asked it in between"

    def test_an_answer_to_one_counts_for_all(self, patience: Patience, clock: Clock) -> None:
        with patience.asking(HOST):
            clock.now += 90
            self.ask(patience)
            patience.hear(HOST)
            clock.now += 30
            assert patience.give_up(HOST) == ""
            assert self.ask(patience) == 70

    def test_there_is_always_time_for_a_word(self, patience: Patience, clock: Clock) -> None:
        self.ask(patience)
        clock.now += 99.9
        assert self.ask(patience) == 1


@pytest.fixture
def server() -> Iterator[FaultServer]:
    tiny = TinyRegistry()
    with FaultServer(tiny).running() as server:
        yield server


def make_registry(seconds: float) -> HttpRegistry:
    return HttpRegistry(
        credentials=lambda _: None,
        # Waits are short, as it is the silences that are measured.
        retry=RetryPolicy(sleep=lambda _: time.sleep(0.01)),
        waiting=Waiting(timeouts=(20.0, seconds), patience=Patience(seconds)),
    )


def write_blob(directory: Path, content: bytes) -> Descriptor:
    digest = Digest.of(content)
    (directory / digest.hex).write_bytes(content)
    return Descriptor(media_type="x", digest=digest, size=len(content))


# Each try alone waits for the patience; without a total of it, these take seven times as long, or more.
class TestARegistryThatNeverAnswers:
    def test_is_given_up_for_all_blobs_at_once(self, server: FaultServer, tmp_path: Path) -> None:
        server.inject("HEAD", "/blobs/", *[Stall()] * 500)
        registry = make_registry(1.5)
        repository = Repository(server.host, "a/b")
        blobs = [write_blob(tmp_path, bytes([number])) for number in range(20)]
        started = time.monotonic()
        with ThreadPoolExecutor(6) as pool:
            futures = [
                pool.submit(registry.push_blob, repository, blob, partial(tmp_path.joinpath, blob.digest.hex)) for blob in blobs
            ]
            errors = [future.exception() for future in futures]
        assert time.monotonic() - started < 6
        for error in errors:
            assert isinstance(error, RegistryError)
            assert f"{server.host} has not answered for 1.5 s; that is how long is waited (--timeout)" in error.message
        assert len(server.requests("HEAD")) <= 12

    def test_for_a_tag_alone(self, server: FaultServer) -> None:
        server.inject("PUT", "/manifests/", *[Stall()] * 9)
        registry = make_registry(1.5)
        repository = Repository(server.host, "a/b")
        assert registry.get_manifest(repository.at("v1")) is None
        started = time.monotonic()
        with pytest.raises(RegistryError, match=r"has not answered for 1\.5 s"):
            registry.put_tag(repository.at("v1"), Manifest(media_type=INDEX, content=b"{}"))
        assert time.monotonic() - started < 5
        assert len(server.requests("PUT")) == 1

    def test_although_it_answers_others(self, server: FaultServer, tmp_path: Path) -> None:
        """One more try, as a connection may die without a word; then it is given up."""
        server.inject("PUT", "/blobs/", *[Stall()] * 9)
        registry = make_registry(1.0)
        repository = Repository(server.host, "a/b")
        over = threading.Event()

        def ask_for_something_else() -> None:
            while not over.wait(0.1):
                registry.get_manifest(repository.at("v1"))

        thread = threading.Thread(target=ask_for_something_else)
        thread.start()
        blob = write_blob(tmp_path, b"x")
        started = time.monotonic()
        with pytest.raises(RegistryError, match="it did not answer in time") as caught:
            registry.push_blob(repository, blob, partial(tmp_path.joinpath, blob.digest.hex))
        took = time.monotonic() - started
        over.set()
        thread.join()
        assert "--timeout" in caught.value.hint
        assert "Tried 2 times" in caught.value.hint
        assert took < 6

    def test_a_mirror_too(self, server: FaultServer) -> None:
        server.inject("GET", "/file", *[Stall()] * 9)
        downloader = HttpDownloader(
            retry=RetryPolicy(sleep=lambda _: None), waiting=Waiting(timeouts=(20.0, 1.0), patience=Patience(1.0))
        )
        with pytest.raises(ArtifactError, match="has not answered for 1 s; that is how long is waited"):
            downloader.exists(f"{server.url}/file")
        with pytest.raises(ArtifactError, match="has not answered for 1 s; that is how long is waited"):
            downloader.exists(f"{server.url}/other")
        assert len(server.received) == 1


def test_a_second_silence_is_the_last() -> None:
    tries: list[int] = []

    def attempt() -> None:
        tries.append(1)
        raise RetryableError(RegistryError("no"), silent=True)

    with pytest.raises(RegistryError):
        RetryPolicy(sleep=lambda _: None).run(attempt)
    assert len(tries) == 2


@contextmanager
def serving(serve: object) -> Iterator[str]:
    """A server whose connections `serve` handles, one after the other."""
    assert callable(serve)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


class TestWhatIsSlowButSteady:
    def test_a_download(self, tmp_path: Path) -> None:
        """A byte every 0.3 s, for longer than the patience lasts."""

        def drip(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            for _ in range(8):
                time.sleep(0.3)
                connection.sendall(b"x")

        downloader = HttpDownloader(
            retry=RetryPolicy(attempts=1, sleep=time.sleep), waiting=Waiting(timeouts=(20.0, 1.0), patience=Patience(1.0))
        )
        with serving(drip) as host:
            downloader.download_unsummed(f"http://{host}/file", tmp_path / "file")
        assert (tmp_path / "file").read_bytes() == b"x" * 8

    def test_an_upload(self, tmp_path: Path) -> None:
        """Taken a little at a time, for longer than the patience lasts, while another request has to wait as long."""
        # What the kernel has taken off our hands and the registry has not read yet, some megabytes, must take less than this.
        content = bytes(10_000_000)
        patience = Patience(3.0)
        registry = HttpRegistry(
            credentials=lambda _: None,
            retry=RetryPolicy(attempts=1, sleep=time.sleep),
            waiting=Waiting(timeouts=(20.0, 3.0), patience=patience),
        )

        def sip(connection: socket.socket) -> None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            file = connection.makefile("rb")
            while line := file.readline():
                length = 0
                while (header := file.readline().strip()) != b"":
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                for part in range(0, length, 400_000):
                    file.read(min(400_000, length - part))
                    time.sleep(0.2 if length == len(content) else 0)
                answer = {b"HEAD": b"404 Not Found", b"POST": b"202 Accepted\r\nLocation: /v2/a/b/blobs/uploads/1"}
                status = answer.get(line.split()[0], b"201 Created")
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")

        blob = write_blob(tmp_path, content)
        started = time.monotonic()
        with serving(sip) as host:
            outcome = registry.push_blob(Repository(host, "a/b"), blob, partial(tmp_path.joinpath, blob.digest.hex))
            took = time.monotonic() - started
            registry._connections.to(Repository(host, "a/b"))._session.close()
        assert outcome is UploadOutcome.UPLOADED
        assert took > 3.5


def test_a_proxy_hears_for_whom_it_speaks(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over plain HTTP the connection is the proxy's; the silence is that of the host behind it."""
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    clock = Clock()
    downloader = HttpDownloader(
        retry=RetryPolicy(attempts=1, sleep=time.sleep), waiting=Waiting(patience=Patience(100, clock=clock))
    )
    server.respond = lambda _: Reply(200, b"x")
    for _ in range(3):
        assert downloader.read_text("http://mirror.test/file") == "x"
        clock.now += 90
