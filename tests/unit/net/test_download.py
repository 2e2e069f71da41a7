"""Files over HTTP and from disk: resumed, checked, and fetched once."""

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.errors import ArtifactError, BuilderError, ChecksumError, Interrupted
from builder.net.download import HttpDownloader
from builder.net.session import Waiting
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import FaultServer, Received, Reply, Reset, Stall
from tests.fakes.file_server import CONTENT, SUM, Files


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def server(files: Files) -> Iterator[FaultServer]:
    with FaultServer(files).running() as running:
        yield running


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def downloader(waits: list[float]) -> HttpDownloader:
    return HttpDownloader(retry=RetryPolicy(attempts=4, sleep=waits.append))


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "envoy"


def part_of(into: Path) -> Path:
    into.parent.mkdir(exist_ok=True)
    return into.with_name("envoy.part")


def ranges(server: FaultServer) -> list[str | None]:
    return [received.headers.get("Range") for received in server.received]


def test_downloads(server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
    seen: list[tuple[int, int]] = []
    downloader.download(f"{server.url}/envoy", SUM, into, on_bytes=lambda done, total: seen.append((done, total)))
    assert into.read_bytes() == CONTENT
    assert os.listdir(into.parent) == ["envoy"]
    assert seen == sorted(seen)
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_what_is_there_is_not_fetched_again(server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
    downloader.download(f"{server.url}/envoy", f"sha256:{SUM.upper()}", into)
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert len(server.received) == 1


def test_something_else_that_is_there_is_replaced(server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
    into.parent.mkdir()
    into.write_bytes(b"an older one")
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT


def test_a_truncated_body_is_resumed(server: FaultServer, downloader: HttpDownloader, into: Path, waits: list[float]) -> None:
    server.inject("GET", "/envoy", Reply(200, CONTENT, {"ETag": '"one"'}, sent=1_000_000))
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT
    assert ranges(server) == [None, "bytes=1000000-"]
    assert server.received[1].headers["If-Range"] == '"one"'
    assert len(waits) == 1


def test_an_earlier_run_is_resumed(server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
    part_of(into).write_bytes(CONTENT[:1_500_000])
    seen: list[int] = []
    downloader.download(f"{server.url}/envoy", SUM, into, on_bytes=lambda done, _: seen.append(done))
    assert into.read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1500000-"]
    assert seen[0] > 1_500_000


def test_an_earlier_run_that_had_everything(server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
    part_of(into).write_bytes(CONTENT)
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT
    assert len(server.received) == 1


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * 2_000_000, b"x" * 3_000_000])
def test_what_another_file_left_is_dropped(server: FaultServer, downloader: HttpDownloader, into: Path, left: bytes) -> None:
    part_of(into).write_bytes(left)
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT
    assert ranges(server) == [f"bytes={len(left)}-", None]


def test_a_server_without_ranges(server: FaultServer, files: Files, downloader: HttpDownloader, into: Path) -> None:
    files.knows_ranges = False
    part_of(into).write_bytes(CONTENT[:1_500_000])
    server.inject("GET", "/envoy", Reply(200, CONTENT, sent=1_700_000))
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT


def test_a_server_that_sends_another_range(
    server: FaultServer, downloader: HttpDownloader, into: Path, waits: list[float]
) -> None:
    part_of(into).write_bytes(CONTENT[:1_500_000])
    wrong = {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}
    server.inject("GET", "/envoy", Reply(206, CONTENT, wrong))
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT
    # It was noticed by the header, not by the sum in the end.
    assert len(waits) == 1


def test_a_file_that_is_replaced_meanwhile(server: FaultServer, files: Files, downloader: HttpDownloader, into: Path) -> None:
    server.inject("GET", "/envoy", Reply(200, b"the old one" * 1000, {"ETag": '"old"'}, sent=500))
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT


@pytest.mark.parametrize("fault", [Reply(500), Reply(503), Reply(429), Reset()])
def test_passing_faults(server: FaultServer, downloader: HttpDownloader, into: Path, fault: Reply | Reset) -> None:
    server.inject("GET", "/envoy", fault)
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT


def test_a_silent_server(server: FaultServer, into: Path, waits: list[float]) -> None:
    downloader = HttpDownloader(retry=RetryPolicy(attempts=2, sleep=waits.append), waiting=Waiting(timeouts=(30.0, 0.3)))
    server.inject("GET", "/envoy", Stall(), Stall())
    with pytest.raises(ArtifactError, match="it did not answer in time"):
        downloader.download(f"{server.url}/envoy", SUM, into)
    assert os.listdir(into.parent) == []


def test_an_encoding_is_left_alone(server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
    server.inject("GET", "/envoy", Reply(200, CONTENT, {"Content-Encoding": "gzip"}))
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert into.read_bytes() == CONTENT


def test_other_bytes_are_not_kept(server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    host = server.host
    with pytest.raises(ChecksumError) as caught:
        downloader.download(f"http://user:hunter2@{host}/envoy?token=abc", other, into)
    message = caught.value.message
    assert message == f"http://{host}/envoy is not what it should be: its sha256 is {SUM}, expected {other}"
    assert "mirror or proxy" in caught.value.hint
    assert os.listdir(into.parent) == []
    assert len(server.received) == 1


@pytest.mark.parametrize(("status", "hint"), [(404, "has this version been published"), (403, "netrc"), (401, "netrc")])
def test_refusals_are_final(
    server: FaultServer, downloader: HttpDownloader, into: Path, waits: list[float], status: int, hint: str
) -> None:
    server.inject("GET", "/envoy", Reply(status))
    with pytest.raises(ArtifactError, match=f"cannot download {server.url}/envoy: HTTP {status}") as caught:
        downloader.download(f"{server.url}/envoy", SUM, into)
    assert hint in caught.value.hint
    assert waits == []
    assert os.listdir(into.parent) == []


def test_an_outage_is_told_with_its_tries(server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
    server.inject("GET", "/envoy", *[Reply(502, b"<html>", {"Content-Type": "text/html"})] * 4)
    with pytest.raises(ArtifactError, match="HTTP 502 with a web page") as caught:
        downloader.download(f"{server.url}/envoy", SUM, into)
    assert "Tried 4 times." in caught.value.hint


def test_a_login_in_the_url_is_used_but_never_shown_nor_passed_on(
    server: FaultServer, downloader: HttpDownloader, into: Path
) -> None:
    with FaultServer(lambda _: Reply(403)).running() as elsewhere:
        server.inject("GET", "/envoy", Reply(302, headers={"Location": f"{elsewhere.url}/envoy"}))
        with pytest.raises(ArtifactError) as caught:
            downloader.download(f"http://user:hunter2@{server.host}/envoy?sig=abc", SUM, into)
        assert server.received[0].authorization.startswith("Basic ")
        assert [received.authorization for received in elsewhere.received] == [""]
    assert "hunter2" not in caught.value.message
    assert "sig=abc" not in caught.value.message


def test_netrc_logs_in(
    server: FaultServer, downloader: HttpDownloader, into: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    downloader.download(f"{server.url}/envoy", SUM, into)
    assert server.received[0].authorization.startswith("Basic ")


def test_an_interruption_keeps_what_is_there(server: FaultServer, into: Path, waits: list[float]) -> None:
    asked: list[None] = []

    def interrupt_in_the_middle() -> None:
        asked.append(None)
        if len(asked) > 3:
            raise Interrupted("interrupted")

    downloader = HttpDownloader(retry=RetryPolicy(sleep=waits.append), waiting=Waiting(check_interrupted=interrupt_in_the_middle))
    with pytest.raises(Interrupted):
        downloader.download(f"{server.url}/envoy", SUM, into)
    left = part_of(into).read_bytes()
    assert left
    assert left == CONTENT[: len(left)]
    assert waits == []
    assert not into.exists()


def test_two_threads_fetch_it_once(server: FaultServer, files: Files, into: Path) -> None:
    first_has_begun, waiting = threading.Event(), threading.Event()

    def respond(received: Received) -> Reply:
        first_has_begun.set()
        waiting.wait(30)
        return files(received)

    def wait(_: float) -> None:
        # The second one has found the lock taken.
        waiting.set()
        threading.Event().wait(0.01)

    server.respond = respond
    downloader = HttpDownloader(retry=RetryPolicy(sleep=wait))
    with ThreadPoolExecutor(2) as pool:
        tasks = [pool.submit(downloader.download, f"{server.url}/envoy", SUM, into)]
        first_has_begun.wait(30)
        tasks.append(pool.submit(downloader.download, f"{server.url}/envoy", SUM, into))
        for task in tasks:
            task.result(30)
    assert into.read_bytes() == CONTENT
    assert os.listdir(into.parent) == ["envoy"]
    assert len(server.received) == 1


def test_a_directory_that_cannot_be_written_to(server: FaultServer, downloader: HttpDownloader, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(BuilderError, match=r"cannot write \S+/cache/envoy.part"):
        downloader.download(f"{server.url}/envoy", SUM, tmp_path / "cache" / "envoy")
    assert server.received == []


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_copies_a_file(downloader: HttpDownloader, into: Path, tmp_path: Path, form: str) -> None:
    source = tmp_path / "my envoy"
    source.write_bytes(CONTENT)
    part_of(into).write_bytes(b"left over")
    seen: list[tuple[int, int]] = []
    url = form.format(str(source).replace(" ", "%20") if "://" in form else source)
    downloader.download(url, SUM, into, on_bytes=lambda done, total: seen.append((done, total)))
    assert into.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    with pytest.raises(ChecksumError):
        downloader.download(url, "0" * 64, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_file_that_is_not_there(downloader: HttpDownloader, into: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot read /nonexistent/envoy: No such file"):
        downloader.download("/nonexistent/envoy", SUM, into)


@pytest.mark.parametrize("url", ["ftp://x.test/envoy", "https:///envoy", "file://other.test/envoy", "gs://istio/x"])
def test_urls_that_cannot_be_read(downloader: HttpDownloader, into: Path, url: str) -> None:
    with pytest.raises(ArtifactError, match="neither a path nor a URL"):
        downloader.download(url, SUM, into)


@pytest.mark.parametrize("text", ["", "abc", "md5:" + "0" * 64])
def test_a_malformed_checksum(downloader: HttpDownloader, into: Path, text: str) -> None:
    with pytest.raises(ArtifactError, match="is no sha256"):
        downloader.download("https://x.test/envoy", text, into)


def test_reads_a_small_text(server: FaultServer, downloader: HttpDownloader, tmp_path: Path) -> None:
    server.inject("GET", "/envoy.sha256", Reply(503), Reply(200, f"{SUM}  envoy\n".encode()))
    assert downloader.read_text(f"{server.url}/envoy.sha256") == f"{SUM}  envoy\n"
    (tmp_path / "sum").write_text("abc")
    assert downloader.read_text(str(tmp_path / "sum")) == "abc"
    assert downloader.read_text(f"file://{tmp_path}/none") is None


@pytest.mark.parametrize("status", [403, 404, 410])
def test_there_is_no_such_text(server: FaultServer, downloader: HttpDownloader, status: int) -> None:
    server.inject("GET", "/sum", Reply(status, b"<html>"))
    assert downloader.read_text(f"{server.url}/sum") is None


@pytest.mark.parametrize("status", [401, 400])
def test_a_text_that_is_refused(server: FaultServer, downloader: HttpDownloader, status: int) -> None:
    server.inject("GET", "/sum", Reply(status))
    with pytest.raises(ArtifactError, match=f"HTTP {status}"):
        downloader.read_text(f"{server.url}/sum")


@pytest.mark.parametrize(("body", "what"), [(b"x" * 70_000, "no small text"), (b"\xff\xfe", "no text file")])
def test_what_is_no_small_text(server: FaultServer, downloader: HttpDownloader, body: bytes, what: str) -> None:
    server.inject("GET", "/sum", Reply(200, body))
    with pytest.raises(ArtifactError, match=what):
        downloader.read_text(f"{server.url}/sum")


class TestProbing:
    @pytest.mark.parametrize("knows_ranges", [True, False])
    def test_what_is_there_is_not_fetched(
        self, server: FaultServer, files: Files, downloader: HttpDownloader, knows_ranges: bool
    ) -> None:
        files.knows_ranges = knows_ranges
        assert downloader.exists(f"{server.url}/envoy")
        assert ranges(server) == ["bytes=0-0"]

    @pytest.mark.parametrize("status", [403, 404, 410])
    def test_what_is_gone_is_gone(self, server: FaultServer, downloader: HttpDownloader, status: int) -> None:
        server.inject("GET", "/envoy", Reply(status))
        assert not downloader.exists(f"{server.url}/envoy")

    def test_a_passing_fault_is_waited_for_and_a_lasting_one_told(self, server: FaultServer, downloader: HttpDownloader) -> None:
        server.inject("GET", "/envoy", Reply(503))
        assert downloader.exists(f"{server.url}/envoy")
        server.inject("GET", "/envoy", Reply(401))
        with pytest.raises(ArtifactError, match="HTTP 401"):
            downloader.exists(f"{server.url}/envoy")

    def test_files_are_looked_for_on_the_disk(self, downloader: HttpDownloader, tmp_path: Path) -> None:
        (tmp_path / "envoy").touch()
        assert downloader.exists(f"{tmp_path}/envoy")
        assert not downloader.exists((tmp_path / "gone").as_uri())


class TestWithoutASum:
    def test_the_sum_is_found_out(self, server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
        assert downloader.download_unsummed(f"{server.url}/envoy", into) == SUM
        assert into.read_bytes() == CONTENT
        assert os.listdir(into.parent) == ["envoy"]

    def test_nothing_is_ever_resumed(self, server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
        """Two halves of two files would make a sum, too."""
        part_of(into).write_bytes(b"half of something")
        server.inject("GET", "/envoy", Reply(200, CONTENT, {"ETag": '"one"'}, sent=1_000_000))
        assert downloader.download_unsummed(f"{server.url}/envoy", into) == SUM
        assert ranges(server) == [None, None]

    def test_from_the_disk(self, downloader: HttpDownloader, into: Path, tmp_path: Path) -> None:
        (tmp_path / "own").write_bytes(CONTENT)
        assert downloader.download_unsummed(str(tmp_path / "own"), into) == SUM

    def test_what_is_not_there_is_told(self, server: FaultServer, downloader: HttpDownloader, into: Path) -> None:
        with pytest.raises(ArtifactError, match="HTTP 404"):
            downloader.download_unsummed(f"{server.url}/gone", into)
        assert os.listdir(into.parent) == []
