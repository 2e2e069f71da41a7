"""Small layers, configurations and image layouts."""

import gzip
import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zstandard

from builder.oci.layout import Layout
from builder.oci.manifest import CONFIG, INDEX, MANIFEST, Descriptor, ImageConfig
from builder.oci.reference import Digest, Platform

AMD64 = Platform("linux", "amd64")


ARM64 = Platform("linux", "arm64")


COMMITTED_AT = 1_772_000_000


def make_digest(text: str) -> Digest:
    """A digest that differs for each text."""
    return Digest.of(text.encode())


def make_tar(files: Sequence["SampleFile"]) -> bytes:
    """An uncompressed layer with these entries and no others."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for file in files:
            member = tarfile.TarInfo(file.path.lstrip("/"))
            member.type, member.linkname = file.kind, file.target
            member.mode, member.uid, member.gid, member.mtime = file.mode, file.uid, file.gid, file.mtime
            member.size = len(file.content)
            tar.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """An entry of a layer."""

    path: str
    content: bytes = b""
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: int = COMMITTED_AT
    kind: bytes = tarfile.REGTYPE
    target: str = ""


BASE_LAYER = make_tar([SampleFile(path="/etc/os-release", content=b"NAME=base\n", mode=0o644)])


def make_config(platform: Platform, **changes: Any) -> ImageConfig:  # noqa: ANN401 - fields of the value
    """The configuration of a base image."""
    config = ImageConfig(
        platform=platform,
        command=("/bin/bash",),
        env=(("PATH", "/usr/local/bin:/usr/bin:/bin"),),
        labels=(("org.opencontainers.image.ref.name", "ubuntu"),),
        diff_ids=(str(Digest.of(BASE_LAYER)),),
    )
    return replace(config, **changes)


def base_layers() -> tuple[Digest, ...]:
    """The blobs of a base image's layers, as its registry has them and the fake engine gives them."""
    return (Digest.of(compress(BASE_LAYER, "gzip")[0]),)


def config_json(config: ImageConfig, diff_ids: Sequence[str]) -> bytes:
    """A configuration blob that says this."""
    document = {
        "architecture": config.platform.architecture,
        "os": config.platform.os,
        "config": {
            "User": config.user,
            "Env": [f"{name}={value}" for name, value in config.env],
            "Entrypoint": list(config.entrypoint) or None,
            "Cmd": list(config.command) or None,
            "WorkingDir": config.working_dir,
            "Labels": dict(config.labels) or None,
            **{name: json.loads(value) for name, value in config.others if name != "author"},
        },
        "author": json.loads(dict(config.others).get("author", "null")),
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
    }
    return json.dumps(document).encode()


def compress(data: bytes, compression: str) -> tuple[bytes, str]:
    """A layer's blob, and its media type."""
    layer = "application/vnd.oci.image.layer.v1.tar"
    match compression:
        case "gzip":
            return gzip.compress(data, mtime=0), f"{layer}+gzip"
        case "zstd":
            return zstandard.ZstdCompressor(write_checksum=True).compress(data), f"{layer}+zstd"
    return data, layer


def add_blob(layout: Layout, content: bytes, media_type: str) -> Descriptor:
    """Put a blob into a layout."""
    descriptor = Descriptor(media_type=media_type, digest=Digest.of(content), size=len(content))
    path = layout.blob(descriptor.digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return descriptor


def add_image(
    layout: Layout, config: ImageConfig, layers: Sequence[bytes], compression: str = "gzip", base_compression: str = ""
) -> Descriptor:
    """Put an image of these uncompressed layers into a layout, base first; diff_ids are theirs, whatever `config` says.

    The base, where its compression is given, is the lowest layer.
    """
    compressions = [base_compression or compression, *[compression] * len(layers)]
    blobs = [add_blob(layout, *compress(*pair)) for pair in zip(layers, compressions, strict=False)]
    diff_ids = [str(Digest.of(layer)) for layer in layers]
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": add_blob(layout, config_json(config, diff_ids), CONFIG).to_json(),
        "layers": [blob.to_json() for blob in blobs],
    }
    return add_blob(layout, json.dumps(manifest).encode(), MANIFEST)


def add_index(layout: Layout, children: Sequence[dict[str, Any]], annotations: dict[str, str] | None = None) -> Descriptor:
    """Put an index of these descriptors, as JSON values, into a layout."""
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(children), "annotations": annotations or {}}
    return add_blob(layout, json.dumps(document).encode(), INDEX)


def set_root(layout: Layout, descriptor: Descriptor, notes: dict[str, str] | None = None) -> Layout:
    """Make this what the layout is about."""
    entry = {**descriptor.to_json(), "annotations": notes or {}}
    (layout.root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (layout.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return layout


def write_image(
    root: Path, config: ImageConfig, layers: Sequence[bytes], compression: str = "gzip", base_compression: str = ""
) -> Layout:
    """A layout with this one image and no index, as buildx leaves it."""
    layout = Layout(root)
    return set_root(layout, add_image(layout, config, layers, compression, base_compression))


def write_image_index(
    root: Path,
    images: dict[Platform, Descriptor],
    notes: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> Layout:
    """Make an index of images that are in the layout already the layout's root."""
    layout = Layout(root)
    children = [replace(image, platform=platform).to_json() for platform, image in images.items()]
    return set_root(layout, add_index(layout, children, annotations), notes)
