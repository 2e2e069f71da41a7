"""A layer is read once: its digest decides what it holds."""

from pathlib import Path

import pytest

from builder.errors import CheckError
from builder.images.layer_cache import LayerCache
from tests.samples.images import ARM64, BASE_LAYER, SampleFile, make_config, make_tar, write_image
from tests.samples.programs import make_elf


def test_a_layer_is_read_once_and_remembered_as_it_was(tmp_path: Path) -> None:
    files = [SampleFile(path="/a", content=make_elf("arm64")), SampleFile(path="/b", content=b"b", mode=0o644, uid=7)]
    layout = write_image(tmp_path / "image", make_config(ARM64), [BASE_LAYER, make_tar(files)])
    layer = layout.index().layers()[1]
    first = LayerCache(tmp_path / "layers")(layout, layer)
    assert [(entry.path, entry.architecture, entry.owner) for entry in first] == [("/a", "arm64", "0:0"), ("/b", "", "7:0")]
    layout.blob(layer.digest).unlink()
    assert LayerCache(tmp_path / "layers")(layout, layer) == first


@pytest.mark.parametrize("spoil", ["", "{", "null", "7", '["a"]', '[{"path": "/a"}]', '[{"nonsense": 1}]'])
def test_what_another_version_of_this_tool_remembered_is_read_anew(tmp_path: Path, spoil: str) -> None:
    layout = write_image(tmp_path / "image", make_config(ARM64), [make_tar([SampleFile(path="/a")])])
    layer = layout.index().layers()[0]
    catalogue = LayerCache(tmp_path / "layers")
    first = catalogue(layout, layer)
    (tmp_path / "layers" / f"{layer.digest.hex}.json").write_text(spoil)
    assert catalogue(layout, layer) == first


def test_a_damaged_layer_is_not_remembered(tmp_path: Path) -> None:
    layout = write_image(tmp_path / "image", make_config(ARM64), [make_tar([SampleFile(path="/a")])])
    layer = layout.index().layers()[0]
    whole = layout.blob(layer.digest).read_bytes()
    layout.blob(layer.digest).write_bytes(whole[:-1])
    catalogue = LayerCache(tmp_path / "layers")
    with pytest.raises(CheckError, match="damaged"):
        catalogue(layout, layer)
    layout.blob(layer.digest).write_bytes(whole)
    assert [entry.path for entry in catalogue(layout, layer)] == ["/a"]


def test_what_other_bytes_hold_is_not_remembered_under_this_digest(tmp_path: Path) -> None:
    """A valid layer of the same size under another's name must not make honest builds fail later."""
    honest = make_tar([SampleFile(path="/a", content=b"honest")])
    layout = write_image(tmp_path / "image", make_config(ARM64), [honest], "none")
    layer = layout.index().layers()[0]
    layout.blob(layer.digest).write_bytes(make_tar([SampleFile(path="/b", content=b"forged")]))
    catalogue = LayerCache(tmp_path / "layers")
    with pytest.raises(CheckError, match="damaged"):
        catalogue(layout, layer)
    layout.blob(layer.digest).write_bytes(honest)
    assert [entry.path for entry in catalogue(layout, layer)] == ["/a"]
