"""What was compressed is kept: whole layers, and parts of those that are not the same any more."""

import gzip
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import deflate
import pytest

from builder.errors import CheckError
from builder.images.kept_layers import KeptLayer, KeptLayers
from builder.oci.reference import Digest

CHUNK = 1 << 20
GZIP = deflate.gzip_compress


def content(*chunks: int, last: bytes = b"the end") -> bytes:
    """A layer of these chunks; those of the same number are the same."""
    return b"".join(random.Random(number).randbytes(CHUNK // 2) * 2 for number in chunks) + last


@pytest.fixture
def deflated(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the library was given to compress."""
    given: list[bytes] = []

    def compress_and_note(data: bytes, level: int) -> object:
        given.append(data)
        return GZIP(data, level)

    monkeypatch.setattr(deflate, "gzip_compress", compress_and_note)
    return given


def keep(directory: Path, data: bytes, *elsewhere: Path, compression: str = "gzip", forget: bool = True) -> KeptLayer:
    """A run that has this one layer."""
    kept = KeptLayers(compression, directory, lambda: elsewhere)
    archive = directory.parent / f"{directory.name}.tar"
    directory.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(data)
    layer = kept.layer(archive)
    if forget:
        kept.forget_others()
    return layer


def check(layer: KeptLayer, data: bytes) -> None:
    """The blob is what it says, unpacks to the layer, and is what anybody else would have made."""
    blob = layer.path.read_bytes()
    assert layer.blob.digest == Digest.of(blob)
    assert layer.blob.size == len(blob)
    assert layer.diff_id == str(Digest.of(data))
    assert gzip.decompress(blob) == data
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    assert blob == b"".join(bytes(GZIP(chunk, 5)) for chunk in chunks)


class TestWholeLayers:
    def test_one_that_is_the_same_is_not_compressed_again(self, tmp_path: Path, deflated: list[bytes]) -> None:
        first = keep(tmp_path / "kept", content(1))
        assert len(deflated) == 2
        assert keep(tmp_path / "kept", content(1)) == first
        assert len(deflated) == 2

    def test_one_that_was_damaged_since_is_made_anew(self, tmp_path: Path) -> None:
        layer = keep(tmp_path / "kept", content(1))
        spoil(layer.path, -1)
        assert keep(tmp_path / "kept", content(1)) == layer
        check(layer, content(1))

    def test_what_nobody_has_asked_for_is_not_kept(self, tmp_path: Path) -> None:
        keep(tmp_path / "kept", content(1))
        layer = keep(tmp_path / "kept", content(2))
        assert {path.name.partition(".")[0] for path in (tmp_path / "kept").iterdir()} == {layer.path.name}

    def test_an_archive_that_changes_meanwhile_is_told(self, tmp_path: Path) -> None:
        archive = tmp_path / "1.tar"
        archive.write_bytes(b"this")
        kept = KeptLayers("gzip", tmp_path / "kept", sum_file=lambda path: hashlib.sha256(b"that").hexdigest())
        with pytest.raises(CheckError, match="changed while it was compressed"):
            kept.layer(archive)

    def test_what_was_compressed_while_it_was_written_is_there_at_once(self, tmp_path: Path, deflated: list[bytes]) -> None:
        data = content(1, 2)
        archive = tmp_path / "1.tar"
        kept = KeptLayers("gzip", tmp_path / "kept", sum_file=lambda path: hashlib.sha256(data).hexdigest())
        with kept.compressing() as compressor:
            # In pieces as they come: headers, parts of files, what fills a block.
            for start in range(0, len(data), 700_001):
                compressor.write(data[start : start + 700_001])
            kept.keep(compressor.finish(Digest.of(data)))
        assert len(deflated) == 3
        # It is not even read.
        check(kept.layer(archive), data)
        assert len(deflated) == 3

    def test_one_that_is_not_finished_leaves_nothing(self, tmp_path: Path) -> None:
        kept = KeptLayers("gzip", tmp_path / "kept")

        def fail() -> None:
            with kept.compressing() as compressor:
                compressor.write(content(1, 2, 3, 4))
                raise OSError("the disk is full")

        with pytest.raises(OSError, match="the disk is full"):
            fail()
        assert list((tmp_path / "kept").iterdir()) == []


class TestParts:
    def test_what_is_the_same_in_the_layer_before_is_taken_from_there(self, tmp_path: Path, deflated: list[bytes]) -> None:
        keep(tmp_path / "kept", content(1, 2, 3))
        deflated.clear()
        data = content(1, 4, 3)
        check(keep(tmp_path / "kept", data), data)
        assert deflated == [content(4, last=b"")]

    def test_so_it_is_of_another_hubs(self, tmp_path: Path, deflated: list[bytes]) -> None:
        there, here = tmp_path / "a" / "kept", tmp_path / "b" / "kept"
        keep(there, content(1, 2))
        deflated.clear()
        layer = keep(here, content(2, 1, 3), there, tmp_path / "missing")
        assert deflated == [content(3, last=b"")]
        check(layer, content(2, 1, 3))

    def test_what_was_taken_can_be_taken_again(self, tmp_path: Path, deflated: list[bytes]) -> None:
        for chunks in ((1, 2), (3, 1), (1, 4)):
            keep(tmp_path / "kept", content(*chunks))
        assert sorted(deflated) == sorted([*(content(number, last=b"") for number in (1, 2, 3, 4)), b"the end"])

    @pytest.mark.parametrize("place", [0, 100, -200])
    def test_a_damaged_layer_does_not_get_into_a_new_one(self, tmp_path: Path, place: int) -> None:
        spoil(keep(tmp_path / "kept", content(1, 2)).path, place)
        data = content(1, 2, 3)
        check(keep(tmp_path / "kept", data), data)

    @pytest.mark.parametrize("change", [lambda layer: layer[:100], lambda layer: b"", lambda layer: layer[7:] + layer])
    def test_nor_does_one_of_another_length(self, tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
        path = keep(tmp_path / "kept", content(1, 2)).path
        path.write_bytes(change(path.read_bytes()))
        data = content(1, 2, 3)
        check(keep(tmp_path / "kept", data), data)

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ('"members": [', '"members": [7, '),
            ('"members": [', '"members": [["x", 1, "y"], '),
            ('"members": [[', '"members": [[1, '),
            ('"members": ', '"others": '),
            ("libdeflate 5", "libdeflate 6"),
            ("{", ""),
            ("}", ""),
            ("[", '{"a": '),
        ],
    )
    def test_a_list_that_is_damaged_or_of_another_format_is_no_list(
        self, tmp_path: Path, deflated: list[bytes], old: str, new: str
    ) -> None:
        listed = keep(tmp_path / "kept", content(1)).path
        listed = listed.with_name(f"{listed.name}.members")
        assert old in listed.read_text()
        listed.write_text(listed.read_text().replace(old, new))
        deflated.clear()
        data = content(1, 2)
        layer = keep(tmp_path / "kept", data)
        assert len(deflated) == 3
        check(layer, data)

    def test_a_list_whose_layer_is_gone_is_no_list(self, tmp_path: Path) -> None:
        keep(tmp_path / "kept", content(1)).path.unlink()
        check(keep(tmp_path / "kept", content(1, 2)), content(1, 2))

    @pytest.mark.parametrize("size", ["-1", "0", "4000000000", "1.5", "null", "true"])
    def test_nothing_is_read_that_is_no_member(self, tmp_path: Path, size: str) -> None:
        listed = keep(tmp_path / "kept", content(1)).path
        listed = listed.with_name(f"{listed.name}.members")
        first = listed.read_text().partition('"members": [[')[2].split(", ")[1]
        listed.write_text(listed.read_text().replace(f" {first}, ", f" {size}, "))
        check(keep(tmp_path / "kept", content(1, 2)), content(1, 2))

    def test_zstd_is_one_frame_and_has_none(self, tmp_path: Path, deflated: list[bytes]) -> None:
        keep(tmp_path / "kept", content(1), forget=False)
        layer = keep(tmp_path / "kept", content(1), compression="zstd")
        assert layer.blob.media_type.endswith("+zstd")
        assert [path.suffix for path in (tmp_path / "kept").iterdir() if path.suffix == ".members"] == []
        assert keep(tmp_path / "kept", content(1), compression="zstd") == layer


def spoil(path: Path, place: int) -> None:
    """Another byte there, in a file of its own as layouts may be linked to the old one."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.unlink()
    path.write_bytes(data)
