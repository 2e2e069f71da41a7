"""What would fill the disk or the memory, or never end: endless answers, devices in place of files, absurd archives."""

import gzip
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from builder.build.fetch import fetch_artifact
from builder.cache.workspace import Workspace
from builder.errors import ArtifactError, CheckError, EngineError, RecipeError, RegistryError
from builder.net import download
from builder.net.download import HttpDownloader
from builder.net.partial_file import PartialFile
from builder.oci import tar_stream
from builder.oci.layer import read_layer
from builder.oci.layout import Layout
from builder.oci.manifest import INDEX, Descriptor
from builder.oci.reference import Digest, Repository
from builder.plan.lock import FileArtifact
from builder.recipe.yaml_file import read_yaml
from builder.registry.blob_pull import BlobPull
from builder.registry.client import HttpRegistry
from builder.registry.keychain import docker_credentials
from builder.runtime.atomic_file import sum_file
from builder.runtime.progress import Progress
from builder.runtime.regular_file import open_regular
from builder.runtime.retry import RetryPolicy
from tests import ROOT
from tests.fakes.downloader import FakeDownloader
from tests.fakes.fault_server import FaultServer, Received, Reply
from tests.fakes.runner import FakeRunner, go_build
from tests.samples.debs import control_of, make_deb
from tests.samples.images import AMD64, SampleFile, make_tar

PLAIN = "application/vnd.oci.image.layer.v1.tar"


CONTENT = b"x" * 100


def small(**changes: int) -> Descriptor:
    return Descriptor(media_type="x", digest=Digest.of(CONTENT), size=changes.get("size", len(CONTENT)))


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Ours, with 2 GB of memory and half a minute."""
    limited = ["bash", "-c", 'ulimit -v 2000000; exec "$@"', "-", sys.executable, "-m", "builder", *words]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(limited, env=env, capture_output=True, timeout=30, check=False)


class Served:
    """Answers each request with the same reply."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply

    def __call__(self, _: Received) -> Reply:
        return self.reply


@pytest.fixture
def served() -> Served:
    return Served(Reply(200, CONTENT + b"more" * 1_000_000))


@pytest.fixture
def server(served: Served) -> Iterator[FaultServer]:
    with FaultServer(served).running() as running:
        yield running


@pytest.fixture
def registry() -> HttpRegistry:
    return HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(attempts=2, sleep=lambda _: None))


class TestBlobs:
    def test_one_that_goes_on_behind_its_size_is_refused_and_not_kept(
        self, server: FaultServer, registry: HttpRegistry, tmp_path: Path
    ) -> None:
        with pytest.raises(RegistryError, match="sent more than the 100 bytes"):
            registry.pull_blob(Repository(server.host, "a"), small(), tmp_path / "blob")
        assert list(tmp_path.iterdir()) == []

    def test_a_small_one_of_another_size_is_refused(self, server: FaultServer, registry: HttpRegistry) -> None:
        with pytest.raises(RegistryError, match="sent more than the 100 bytes"):
            registry.get_blob(Repository(server.host, "a"), small())

    def test_a_small_one_that_is_said_to_be_huge_is_not_asked_for(self, registry: HttpRegistry) -> None:
        with pytest.raises(RegistryError, match="too large"):
            registry.get_blob(Repository("r.test", "a"), small(size=1 << 40))

    def test_what_came_before_is_given_back(self, tmp_path: Path) -> None:
        counted: list[int] = []
        with PartialFile.open(tmp_path / "blob", lambda _: None) as part:
            pull = BlobPull("pull", small(), part, counted.append)
            pull.take(CONTENT[:60])
            with pytest.raises(RegistryError):
                pull.take(CONTENT[:60])
            assert part.size == sum(counted) == 0

    @pytest.mark.parametrize("location", ["http://[::1/x", "http://r.test:99999/x"])
    def test_a_redirect_to_no_address_is_an_error_of_the_registry(
        self, server: FaultServer, served: Served, registry: HttpRegistry, tmp_path: Path, location: str
    ) -> None:
        served.reply = Reply(307, headers={"Location": location})
        with pytest.raises(RegistryError, match="cannot fetch blob"):
            registry.pull_blob(Repository(server.host, "a"), small(), tmp_path / "blob")

    @pytest.mark.parametrize("location", ["http://[::1/x", "http://r.test:99999/x"])
    def test_an_upload_to_no_address_is_an_error_of_the_registry(
        self, registry: HttpRegistry, tmp_path: Path, location: str
    ) -> None:
        (tmp_path / "blob").write_bytes(CONTENT)

        def answer(received: Received) -> Reply:
            return Reply(404) if received.method == "HEAD" else Reply(202, headers={"Location": location})

        with FaultServer(answer).running() as other, pytest.raises(RegistryError, match=re.escape(other.host)):
            registry.push_blob(Repository(other.host, "a"), small(), lambda: tmp_path / "blob")


class TestManifests:
    def test_one_that_is_larger_than_any_is_refused_at_once(
        self, served: Served, server: FaultServer, registry: HttpRegistry
    ) -> None:
        """It is not taken for one that was cut short on the way, and asked for again."""
        content = b"[" * (5 << 20)
        headers = {"Content-Type": INDEX, "Docker-Content-Digest": str(Digest.of(content))}
        served.reply = Reply(200, content, headers)
        with pytest.raises(RegistryError, match="more than 4194304 bytes, and no manifest has") as caught:
            registry.get_manifest(Repository(server.host, "a").at("v1"))
        assert caught.value.damaged
        with pytest.raises(RegistryError, match="more than 4194304 bytes"):
            registry.find_referrers(Repository(server.host, "a"), small().digest)
        assert len(server.received) == 2

    def test_no_more_referrers_are_listed_than_anybody_has(
        self, served: Served, server: FaultServer, registry: HttpRegistry
    ) -> None:
        listed = [{**small().to_json(), "digest": str(Digest.of(b"%d" % number))} for number in range(3000)]
        content = json.dumps({"mediaType": INDEX, "manifests": listed}).encode()
        served.reply = Reply(200, content, {"Content-Type": INDEX, "Link": '</v2/a/referrers/x?n=2>; rel="next"'})
        assert len(registry.find_referrers(Repository(server.host, "a"), small().digest) or ()) == 3000
        assert len(server.received) == 1


class TestDownloads:
    def test_one_that_never_ends_is_refused_and_not_kept(
        self, server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(download, "_LARGEST_FILE", 1000)
        fetch = HttpDownloader(retry=RetryPolicy(attempts=2, sleep=lambda _: None))
        url = f"http://{server.host}/envoy"
        for act in (lambda: fetch.download(url, "0" * 64, tmp_path / "a"), lambda: fetch.download_unsummed(url, tmp_path / "a")):
            with pytest.raises(ArtifactError, match="more than 1000 bytes"):
                act()
            assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("url", ["http://[::1/x", "http://r.test:99999/x"])
    def test_no_address_is_said_to_be_none(self, url: str) -> None:
        with pytest.raises(ArtifactError, match="neither a path nor a URL"):
            HttpDownloader(retry=RetryPolicy(sleep=time.sleep)).exists(url)


@pytest.fixture(params=["fifo", "device"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "special.yaml"
    if request.param == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    return path


class TestRegularFiles:
    def test_nothing_else_is_opened(self, no_file: Path) -> None:
        for read in (open_regular, sum_file):
            with pytest.raises(OSError, match="not a regular file"):
                read(no_file)

    def test_a_name_that_cannot_be_one_is_no_file(self) -> None:
        with pytest.raises(OSError, match="no file name can"):
            open_regular(Path("a\0b"))

    def test_nothing_else_is_a_recipe(self, no_file: Path) -> None:
        with pytest.raises(RecipeError, match="not a regular file"):
            read_yaml(no_file)

    def test_nothing_else_is_a_layer(self, no_file: Path) -> None:
        with pytest.raises(CheckError, match="not a regular file"):
            read_layer(no_file, PLAIN)

    def test_nothing_else_is_a_blob_of_a_layout(self, no_file: Path) -> None:
        layout = Layout(no_file.parent)
        layout.blob(small().digest).parent.mkdir(parents=True)
        no_file.rename(layout.blob(small().digest))
        with pytest.raises(CheckError, match="not a regular file"):
            layout.read(small())

    def test_nothing_else_is_an_index(self, no_file: Path) -> None:
        no_file.rename(no_file.with_name("index.json"))
        with pytest.raises(CheckError, match="not a regular file"):
            Layout(no_file.parent).root_descriptor()

    def test_nothing_else_is_an_artifact(self, no_file: Path, tmp_path: Path) -> None:
        fetch = HttpDownloader(retry=RetryPolicy(sleep=time.sleep))
        with pytest.raises(ArtifactError, match="not a regular file"):
            fetch.download_unsummed(str(no_file), tmp_path / "a")
        with pytest.raises(ArtifactError, match="not a regular file"):
            fetch.read_text(str(no_file))

    def test_nothing_else_is_dockers_configuration(self, no_file: Path) -> None:
        no_file.rename(no_file.with_name("config.json"))
        with pytest.raises(EngineError, match="not a regular file"):
            docker_credentials({"DOCKER_CONFIG": str(no_file.parent)}, FakeRunner(go_build))("r.test")

    def test_a_file_larger_than_any_recipe_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "x.yaml").write_bytes(b"#" * (1024 * 1024 + 1))
        with pytest.raises(RecipeError, match="larger than 1048576 bytes"):
            read_yaml(tmp_path / "x.yaml")

    def test_a_blob_of_another_size_is_damaged(self, tmp_path: Path) -> None:
        layout = Layout(tmp_path)
        layout.blob(small().digest).parent.mkdir(parents=True)
        layout.blob(small().digest).write_bytes(CONTENT)
        assert layout.read(small()) == CONTENT
        for size, told in ((99, "damaged"), (1 << 40, "too large")):
            with pytest.raises(CheckError, match=told):
                layout.read(small(size=size))


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A header."""
    header = tarfile.TarInfo(name)
    header.size, header.type = size, kind
    return header.tobuf(tarfile.GNU_FORMAT)


def extended(records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    """An extended header."""
    return entry("x", len(records), kind) + records + bytes(-len(records) % 512)


END = bytes(1024)


HEADS = {
    "a PAX header of 1.5 GB": (entry("x", 1_500_000_000, tarfile.XHDTYPE), "extended header"),
    "a long name of 1.5 GB": (entry("x", 1_500_000_000, tarfile.GNUTYPE_LONGNAME), "extended header"),
    "extended headers without end": (extended(b"6 a=b\n") * 2000, "too many extended headers"),
    "records that overlap": (extended(b"2 " * 20_000 + b"="), "damaged extended header"),
    "a record of digits": (extended(b"50010 a=" + b"1" * 50_001 + b"\n"), "absurd number"),
    "a negative size": (entry("x", -512), "negative size"),
    "a negative size in an extended header": (extended(b"14 size=-5120\n") + entry("x"), "negative size"),
    "a sparse file of old": (entry("x", 10, tarfile.GNUTYPE_SPARSE), "sparse"),
    "a sparse file of PAX": (
        extended(b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n") + entry("x", 512) + b"1\n" * 256,
        "sparse",
    ),
    "global headers without end": (
        b"".join(extended(b"40010 %04d=" % n + b"a" * 39_998 + b"\n", tarfile.XGLTYPE) + entry("x") for n in range(9)),
        "global headers",
    ),
    "a time without end": (extended(b"13 mtime=inf\n") + entry("x"), ""),
}


class TestLayers:
    def read(self, directory: Path, content: bytes) -> int:
        (directory / "layer").write_bytes(gzip.compress(content))
        return len(read_layer(directory / "layer", f"{PLAIN}+gzip"))

    @pytest.mark.parametrize("what", HEADS)
    def test_a_header_within_bounds_or_none(self, tmp_path: Path, what: str) -> None:
        head, told = HEADS[what]
        if not told:
            assert self.read(tmp_path, head + END) == 1
            return
        with pytest.raises(CheckError, match=told):
            self.read(tmp_path, make_tar([SampleFile(path="/a")])[:512] + head + END)

    @pytest.mark.parametrize("garbage", [b"garbage!" * 64, b"\1" * 300, bytes(511) + b"\1", bytes(512) + b"garbage!" * 64])
    def test_what_goes_on_with_garbage_is_damaged_and_not_at_its_end(self, tmp_path: Path, garbage: bytes) -> None:
        whole = make_tar([SampleFile(path="/a", content=b"a"), SampleFile(path="/b", content=b"b")])
        with pytest.raises(CheckError, match=r"damaged header|block of zeros"):
            self.read(tmp_path, whole[:1024] + garbage + whole[1024:])

    def test_one_block_of_zeros_and_nothing_is_an_end(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, entry("a") + bytes(512)) == 1

    def test_too_many_entries_and_too_much_content_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tar_stream, "_MOST_ENTRIES", 3)
        assert self.read(tmp_path, entry("x") * 2 + END) == 2
        with pytest.raises(CheckError, match="more than 3 entries"):
            self.read(tmp_path, entry("x") * 5 + END)
        monkeypatch.setattr(tar_stream, "LARGEST_CONTENT", 5000)
        with pytest.raises(CheckError, match="more than 5000 bytes"):
            self.read(tmp_path, entry("x", 1 << 40) + END)
        with pytest.raises(CheckError, match="more than 5000 bytes"):
            self.read(tmp_path, entry("x") + END + bytes(10_000))

    def test_entries_are_forgotten_on_the_way(self) -> None:
        archive = io.BytesIO(entry("x") * 5000 + END)
        tracemalloc.start()
        with tar_stream.open_tar(archive, "") as tar:
            count = sum(1 for _ in tar)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 5000
        assert most < 500_000


class TestArtifacts:
    """An archive that a file is taken out of."""

    def take(self, directory: Path, content: bytes, lacking: int = 0) -> Path:
        """The file `a`; so many bytes are cut off the archive."""
        archive = directory / "archive.tar.gz"
        compressed = gzip.compress(content)
        archive.write_bytes(compressed[: len(compressed) - lacking])
        artifact = FileArtifact(
            name="envoy", platform=AMD64, path=str(archive), sha256=Digest.of(archive.read_bytes()).hex, member="a"
        )
        with Progress(lambda event: None).task("fetch", "envoy") as task:
            return fetch_artifact(artifact, directory / "cache", FakeDownloader({str(archive): archive.read_bytes()}), task)

    @pytest.mark.parametrize("what", [what for what in HEADS if HEADS[what][1]])
    def test_its_headers_are_within_bounds(self, tmp_path: Path, what: str) -> None:
        head, told = HEADS[what]
        with pytest.raises(ArtifactError, match=told):
            self.take(tmp_path, make_tar([SampleFile(path="/z")])[:512] + head + END)

    def test_a_file_of_it_is_no_larger_than_any_program(self, tmp_path: Path) -> None:
        with pytest.raises(ArtifactError, match="bytes there"):
            self.take(tmp_path, entry("a", 5 << 30) + bytes(5000))
        assert [path.name for path in (tmp_path / "cache").iterdir() if path.suffix == ".member"] == []

    @pytest.mark.parametrize("damaged", [False, True])
    def test_it_is_read_to_its_end(self, tmp_path: Path, damaged: bool) -> None:
        whole = make_tar([SampleFile(path="/a", content=b"hello"), SampleFile(path="/b", content=os.urandom(5000))])
        if not damaged:
            assert self.take(tmp_path, whole).read_bytes() == b"hello"
            return
        with pytest.raises(ArtifactError, match="ends in the middle"):
            self.take(tmp_path, whole, lacking=4)

    @pytest.mark.parametrize("name", ["../a", "/../../a", "x/../a"])
    def test_names_lead_nowhere(self, tmp_path: Path, name: str) -> None:
        """Whatever it is called in there, it has one place in the cache."""
        (tmp_path / "inner").mkdir()
        with suppress(ArtifactError):
            self.take(tmp_path / "inner", entry(name, 5) + b"hello".ljust(512, b"\0") + END)
        assert {path.name for path in tmp_path.iterdir()} == {"inner"}
        assert {path.name for path in (tmp_path / "inner").iterdir()} == {"archive.tar.gz", "cache"}


class TestPackages:
    @pytest.mark.parametrize("size", ["-60", "9999999999", "1_0", "²"])
    def test_an_absurd_size_of_a_member_is_told(self, tmp_path: Path, size: str) -> None:
        from builder.rootfs.deb import read_control

        path = make_deb(tmp_path / "x.deb", control_of("x"))
        content = bytearray(path.read_bytes())
        content[8 + 48 : 8 + 58] = f"{size:<10}".encode()[:10]
        path.write_bytes(content)
        with pytest.raises(ArtifactError, match="cannot be read"):
            read_control(path)


class TestUsersWithoutAHome:
    def test_have_no_login(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def no_home() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", no_home)
        assert docker_credentials({}, FakeRunner(go_build))("r.test") is None


class TestPathsThatAreNoText:
    def test_have_a_job_of_their_own(self, tmp_path: Path) -> None:
        tree = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
        tree.mkdir()
        with Workspace(tmp_path / "cache").job(tree, "r.test/x", lambda: None, time.sleep) as directory:
            assert directory.is_dir()
