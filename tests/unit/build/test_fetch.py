"""Artifacts are fetched once, whoever asks, and of an archive nothing but the wanted member is taken."""

import gzip
import io
import random
import tarfile
from pathlib import Path

import pytest

from builder.build.fetch import fetch_artifact, fetch_package
from builder.errors import ArtifactError, ChecksumError
from builder.oci.reference import Digest
from builder.plan.lock import UrlArtifact
from builder.runtime.progress import Progress
from tests.fakes.downloader import FakeDownloader
from tests.samples.images import ARM64, SampleFile, make_tar

URL = "https://user:hunter2@mirror.example/envoy.tar.gz?sig=hunter2"
MEMBER = "usr/local/bin/envoy"


def artifact(content: bytes, member: str = MEMBER) -> UrlArtifact:
    return UrlArtifact(name="envoy", platform=ARM64, url=URL, sha256=Digest.of(content).hex, member=member)


def archive(*files: SampleFile) -> bytes:
    return gzip.compress(make_tar(files), mtime=0)


def fetch(wanted: UrlArtifact, cache: Path, downloader: FakeDownloader) -> tuple[bytes, str]:
    """What was fetched, and whether it had to be."""
    with Progress(lambda event: None).task("fetch", "envoy") as task:
        content = fetch_artifact(wanted, cache, downloader, task).read_bytes()
        return content, task.outcome


def test_a_file_is_fetched_once(tmp_path: Path) -> None:
    downloader = FakeDownloader({URL: b"envoy"})
    wanted = artifact(b"envoy", member="")
    assert fetch(wanted, tmp_path / "cache", downloader) == (b"envoy", "fetched")
    assert fetch(wanted, tmp_path / "cache", downloader) == (b"envoy", "cached")
    assert downloader.asked == [URL]


def test_it_is_the_content_that_is_remembered_and_not_where_it_came_from(tmp_path: Path) -> None:
    fetch(artifact(b"envoy", member=""), tmp_path, FakeDownloader({URL: b"envoy"}))
    elsewhere = UrlArtifact(name="other", platform=ARM64, url="https://x", sha256=Digest.of(b"envoy").hex, member="")
    assert fetch(elsewhere, tmp_path, FakeDownloader()) == (b"envoy", "cached")
    with pytest.raises(ChecksumError):
        fetch(artifact(b"newer", member=""), tmp_path, FakeDownloader({URL: b"envoy"}))


@pytest.mark.parametrize("prefix", ["", "./", "/"])
def test_of_an_archive_the_member_is_taken(tmp_path: Path, prefix: str) -> None:
    other = SampleFile(path="usr/local/bin/other", content=b"other")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in ((other.path, b"other"), (f"{prefix}{MEMBER}", b"envoy")):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    content = buffer.getvalue()
    downloader = FakeDownloader({URL: content})
    assert fetch(artifact(content), tmp_path, downloader) == (b"envoy", "fetched")
    assert fetch(artifact(content), tmp_path, downloader) == (b"envoy", "cached")
    assert downloader.asked == [URL]
    assert not list(tmp_path.glob("*.partial"))


def test_two_members_of_an_archive_are_told_apart(tmp_path: Path) -> None:
    content = archive(SampleFile(path=MEMBER, content=b"envoy"), SampleFile(path="opt/envoy", content=b"debug"))
    downloader = FakeDownloader({URL: content})
    assert fetch(artifact(content), tmp_path, downloader)[0] == b"envoy"
    assert fetch(artifact(content, member="opt/envoy"), tmp_path, downloader)[0] == b"debug"
    assert downloader.asked == [URL]


@pytest.mark.parametrize(
    "content",
    [
        archive(SampleFile(path="envoy")),
        archive(SampleFile(path=MEMBER, kind=tarfile.SYMTYPE, target="/etc/passwd")),
        archive(SampleFile(path=MEMBER, kind=tarfile.DIRTYPE)),
        archive(),
        b"no archive",
        b"",
        archive(SampleFile(path=MEMBER, content=b"envoy"))[:40],
        # Damaged where the member's content is: 100 kB that do not compress.
        archive(SampleFile(path=MEMBER, content=random.Random(1).randbytes(100_000)))[:50_000] + bytes(50_000),
    ],
)
def test_an_archive_without_it_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(ArtifactError, match=rf"https://mirror\.example/envoy\.tar\.gz does not hold {MEMBER}") as raised:
        fetch(artifact(content), tmp_path, FakeDownloader({URL: content}))
    assert "hunter2" not in raised.value.message


def test_a_cached_file_of_other_bytes_is_fetched_again(tmp_path: Path) -> None:
    downloader = FakeDownloader({URL: b"envoy"})
    wanted = artifact(b"envoy", member="")
    (tmp_path / wanted.sha256).write_bytes(b"evil!")
    assert fetch(wanted, tmp_path, downloader) == (b"envoy", "fetched")


def test_a_cached_package_of_other_bytes_is_fetched_again(tmp_path: Path) -> None:
    package = artifact(b"package", member="")
    (tmp_path / package.sha256).write_bytes(b"evil!!!")
    downloader = FakeDownloader({URL: b"package"})
    for _ in range(2):
        assert fetch_package(package, tmp_path, downloader).read_bytes() == b"package"
    assert downloader.asked == [URL]


def test_a_member_that_was_damaged_since_is_taken_out_again(tmp_path: Path) -> None:
    content = archive(SampleFile(path=MEMBER, content=b"envoy"))
    downloader = FakeDownloader({URL: content})
    fetch(artifact(content), tmp_path, downloader)
    (tmp_path / artifact(content).member_file).write_bytes(b"evil!")
    assert fetch(artifact(content), tmp_path, downloader) == (b"envoy", "cached")
    assert downloader.asked == [URL]


def test_nothing_is_taken_out_of_a_damaged_archive(tmp_path: Path) -> None:
    content = archive(SampleFile(path=MEMBER, content=b"envoy"))
    (tmp_path / artifact(content).sha256).write_bytes(archive(SampleFile(path=MEMBER, content=b"evil!")))
    assert fetch(artifact(content), tmp_path, FakeDownloader({URL: content})) == (b"envoy", "fetched")
