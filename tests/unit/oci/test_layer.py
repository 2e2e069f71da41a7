"""Layers: the bytes that are written, and what is read back from a blob, whole or damaged."""

import gzip
import hashlib
import os
import tarfile
from pathlib import Path

import pytest
import zstandard

from builder.errors import CheckError
from builder.oci.layer import LayerEntry, LayerFile, read_layer, write_layer
from tests.samples.images import SampleFile, compress, make_tar
from tests.samples.programs import make_elf

TAR = "application/vnd.oci.image.layer.v1.tar"
COMPRESSIONS = ["gzip", "zstd", "none"]


@pytest.fixture
def files(tmp_path: Path) -> tuple[LayerFile, ...]:
    """A program for arm64 and a text."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "agent").write_bytes(make_elf("arm64") + bytes(2_000_000))
    (source / "text").write_text("hello\n")
    return (
        LayerFile(content=source / "text", path="/var/lib/a/text", mode="0644", mtime=1000),
        LayerFile(content=source / "agent", path="/usr/local/bin/agent", mode="0755", mtime=2000),
    )


def read_blob(directory: Path, data: bytes, compression: str) -> tuple[LayerEntry, ...]:
    blob, media_type = compress(data, compression)
    return read_bytes(directory, blob, media_type)


def read_bytes(directory: Path, blob: bytes, media_type: str) -> tuple[LayerEntry, ...]:
    path = directory / "blob"
    path.write_bytes(blob)
    return read_layer(path, media_type)


class TestWriting:
    def test_the_same_files_give_the_same_bytes(self, files: tuple[LayerFile, ...], tmp_path: Path) -> None:
        one, other = tmp_path / "one.tar", tmp_path / "other.tar"
        write_layer(files, one)
        for file in files:
            # Nothing of how the files stand on this machine may show: times, modes, the order they are named in.
            os.utime(file.content, (5, 5))
            file.content.chmod(0o600)
        before = os.umask(0o077)
        try:
            write_layer(tuple(reversed(files)), other)
        finally:
            os.umask(before)
        assert one.read_bytes() == other.read_bytes()

    def test_another_content_time_or_mode_gives_other_bytes(self, files: tuple[LayerFile, ...], tmp_path: Path) -> None:
        text = files[0]
        found = set()
        for mode, mtime, content in [("0644", 1, "a"), ("0600", 1, "a"), ("0644", 2, "a"), ("0644", 1, "b")]:
            text.content.write_text(content)
            write_layer([LayerFile(content=text.content, path=text.path, mode=mode, mtime=mtime)], tmp_path / "a.tar")
            found.add((tmp_path / "a.tar").read_bytes())
        assert len(found) == 4

    def test_directories_come_first_and_have_the_time_of_their_newest_file(
        self, files: tuple[LayerFile, ...], tmp_path: Path
    ) -> None:
        newer = LayerFile(content=files[0].content, path="/var/lib/b", mode="0644", mtime=3000)
        entries = write_layer((*files, newer), tmp_path / "a.tar").entries
        directories = {entry.path: (entry.mode, entry.owner, entry.mtime) for entry in entries if entry.kind == "directory"}
        assert directories == {
            "/usr": ("0755", "0:0", 2000),
            "/usr/local": ("0755", "0:0", 2000),
            "/usr/local/bin": ("0755", "0:0", 2000),
            "/var": ("0755", "0:0", 3000),
            "/var/lib": ("0755", "0:0", 3000),
            "/var/lib/a": ("0755", "0:0", 1000),
        }
        assert [entry.kind for entry in entries] == ["directory"] * 6 + ["file"] * 3

    def test_what_is_written_passes_by_once_and_is_summed_on_its_way(self, files: tuple[LayerFile, ...], tmp_path: Path) -> None:
        seen: list[bytes] = []
        written = write_layer(files, tmp_path / "a.tar", seen.append)
        content = (tmp_path / "a.tar").read_bytes()
        assert b"".join(seen) == content
        assert written.sha256 == hashlib.sha256(content).hexdigest()

    def test_nothing_but_plain_headers_is_written(self, files: tuple[LayerFile, ...], tmp_path: Path) -> None:
        write_layer(files, tmp_path / "a.tar")
        with tarfile.open(tmp_path / "a.tar") as tar:
            for member in tar:
                assert member.pax_headers == {}
                assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")


class TestReadingBack:
    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_what_was_written_is_read(self, files: tuple[LayerFile, ...], tmp_path: Path, compression: str) -> None:
        written = write_layer(files, tmp_path / "a.tar").entries
        assert read_blob(tmp_path, (tmp_path / "a.tar").read_bytes(), compression) == written
        [agent, text] = [entry for entry in written if entry.kind == "file"]
        assert agent.architecture == "arm64"
        assert agent.sha256 == hashlib.sha256(files[1].content.read_bytes()).hexdigest()
        assert text == LayerEntry(
            path="/var/lib/a/text",
            kind="file",
            mode="0644",
            owner="0:0",
            mtime=1000,
            size=6,
            sha256=hashlib.sha256(b"hello\n").hexdigest(),
        )

    @pytest.mark.parametrize("media_type", ["application/vnd.docker.image.rootfs.diff.tar.gzip", f"{TAR}+gzip"])
    def test_layers_of_docker_are_read_too(self, tmp_path: Path, media_type: str) -> None:
        data = gzip.compress(make_tar([SampleFile(path="/a")]))
        assert [entry.path for entry in read_bytes(tmp_path, data, media_type)] == ["/a"]

    def test_links_and_special_files_are_told_apart(self, tmp_path: Path) -> None:
        members = [
            SampleFile(path="/file"),
            SampleFile(path="./dir/", kind=tarfile.DIRTYPE),
            SampleFile(path="/symlink", kind=tarfile.SYMTYPE, target="file"),
            SampleFile(path="/link", kind=tarfile.LNKTYPE, target="file"),
            SampleFile(path="/fifo", kind=tarfile.FIFOTYPE),
        ]
        entries = read_blob(tmp_path, make_tar(members), "gzip")
        assert {entry.path: entry.kind for entry in entries} == {
            "/file": "file",
            "/dir": "directory",
            "/symlink": "symlink",
            "/link": "link",
            "/fifo": "other",
        }

    def test_setuid_bits_and_owners_are_seen(self, tmp_path: Path) -> None:
        [entry] = read_blob(tmp_path, make_tar([SampleFile(path="/a", mode=0o4755, uid=1337, gid=7)]), "gzip")
        assert (entry.mode, entry.owner) == ("4755", "1337:7")

    def test_an_empty_layer_holds_nothing(self, tmp_path: Path) -> None:
        assert read_blob(tmp_path, make_tar([]), "gzip") == ()


class TestSeveralFrames:
    """A blob may be several gzip members or zstd frames, one behind the other: pigz, stargz, zstd:chunked write such."""

    @pytest.mark.parametrize("size", [1, 100, 1000, 70_000])
    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_are_read_as_one(self, tmp_path: Path, compression: str, size: int) -> None:
        tar = make_tar([SampleFile(path=f"/{name}", content=name.encode() * 1500) for name in ("aa", "bb", "cc", "dd")])
        parts = [tar[start : start + size] for start in range(0, len(tar), size)] if size > 1 else [tar[:1], tar[1:]]
        blob = b"".join(compress(part, compression)[0] for part in parts)
        assert read_bytes(tmp_path, blob, f"{TAR}+{compression}") == read_blob(tmp_path, tar, "none")

    def test_a_zstd_frame_that_is_to_be_skipped_is(self, tmp_path: Path) -> None:
        tar = make_tar([SampleFile(path="/a")])
        skippable = (0x184D2A50).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"notes"
        blob = compress(tar, "zstd")[0] + skippable
        assert [entry.path for entry in read_bytes(tmp_path, blob, f"{TAR}+zstd")] == ["/a"]

    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_a_last_one_cut_off_is_found(self, tmp_path: Path, compression: str) -> None:
        tar = make_tar([SampleFile(path="/a", content=b"a" * 5000)])
        first, second = (compress(part, compression)[0] for part in (tar[:2000], tar[2000:]))
        with pytest.raises(CheckError, match="damaged"):
            read_bytes(tmp_path, first + second[:-1], f"{TAR}+{compression}")


class TestDamage:
    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_a_blob_cut_off_anywhere_is_found(self, tmp_path: Path, compression: str) -> None:
        content = os.urandom(3000)
        blob, media_type = compress(make_tar([SampleFile(path="/a", content=content), SampleFile(path="/b")]), compression)
        for length in [0, 1, 5, *range(20, len(blob), 97), len(blob) - 8, len(blob) - 1]:
            with pytest.raises(CheckError, match="damaged"):
                read_bytes(tmp_path, blob[:length], media_type)

    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_a_long_blob_cut_off_between_blocks_is_found(self, tmp_path: Path, compression: str) -> None:
        # Incompressible, so that blocks of 128 KiB stand in the blob as they are and end between two members.
        size = (1 << 17) - 512
        tar = make_tar([SampleFile(path=f"/{number}", content=os.urandom(size)) for number in range(8)])
        blob, media_type = compress(tar, compression)
        for part in (1, 2, 3, 5, 7):
            for offset in (0, 20, 40):
                with pytest.raises(CheckError, match="damaged"):
                    read_bytes(tmp_path, blob[: part * (1 << 17) + offset], media_type)

    @pytest.mark.parametrize("compression", ["gzip", "zstd"])
    def test_a_wrong_sum_behind_the_content_is_found(self, tmp_path: Path, compression: str) -> None:
        blob, media_type = compress(make_tar([SampleFile(path="/a", content=b"a" * 100_000)]), compression)
        place = len(blob) - (8 if compression == "gzip" else 1)
        damaged = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
        with pytest.raises(CheckError, match="damaged"):
            read_bytes(tmp_path, damaged, media_type)

    def test_something_else_behind_the_last_gzip_member_is_found(self, tmp_path: Path) -> None:
        blob, media_type = compress(make_tar([SampleFile(path="/a")]), "gzip")
        with pytest.raises(CheckError, match="damaged"):
            read_bytes(tmp_path, blob + b"more", media_type)

    def test_a_member_longer_than_the_archive_is_found(self, tmp_path: Path) -> None:
        tar = make_tar([SampleFile(path="/a", content=b"a" * 5000)])[:3000]
        with pytest.raises(CheckError, match="damaged"):
            read_blob(tmp_path, tar, "none")

    @pytest.mark.parametrize("compression", COMPRESSIONS)
    def test_no_archive_at_all_is_found(self, tmp_path: Path, compression: str) -> None:
        with pytest.raises(CheckError, match="damaged"):
            read_blob(tmp_path, b"no archive" * 100, compression)

    def test_another_compression_than_promised_is_found(self, tmp_path: Path) -> None:
        gzipped, _ = compress(make_tar([SampleFile(path="/a")]), "gzip")
        with pytest.raises(CheckError, match="damaged"):
            read_bytes(tmp_path, gzipped, f"{TAR}+zstd")

    def test_a_blob_that_is_not_there_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(CheckError, match=r"layer gone is damaged: .*No such file"):
            read_layer(tmp_path / "gone", f"{TAR}+gzip")


def test_zstd_as_others_write_it_has_no_sum_and_no_length(tmp_path: Path) -> None:
    tar = make_tar([SampleFile(path="/a", content=b"a" * 300_000)])
    writer = zstandard.ZstdCompressor(write_checksum=False, write_content_size=False).compressobj()
    blob = writer.compress(tar) + writer.flush()
    assert read_bytes(tmp_path, blob, f"{TAR}+zstd") == read_blob(tmp_path, tar, "none")
    with pytest.raises(CheckError, match="damaged"):
        read_bytes(tmp_path, blob[:-1], f"{TAR}+zstd")
