"""Small frozen values and files to test with: a lock, a request, ELF headers, image layouts."""

import gzip
import io
import json
import struct
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import zstandard

from builder.config.request import Request
from builder.oci.layout import Layout
from builder.oci.manifest import CONFIG, INDEX, MANIFEST, Descriptor, ImageConfig
from builder.oci.reference import Digest, Hub, ImageReference, Platform
from builder.plan.lock import Lock, LockedArtifact, LockedBase, LockedBasePlatform, LockedGo, SourceFacts
from builder.plan.model import ImagePlan, Plan
from builder.plan.planner import make_plan
from builder.ports import TreeState
from builder.recipe.book import RecipeBook
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
COMMITTED_AT = 1_772_000_000
PROXY_SHA = "fedcba9876543210fedcba9876543210fedcba98"

RELEASE = IstioRelease(1, 29, 0)

_EM = {"amd64": 62, "arm64": 183, "386": 3, "s390x": 22, "riscv64": 243}


def make_digest(text: str) -> Digest:
    """A digest that differs for each text."""
    return Digest.of(text.encode())


def load_book(*extra: Path, release: IstioRelease = RELEASE) -> RecipeBook:
    """The recipes as they hold for a release, 1.29.0 by default."""
    return load_recipes(extra).at(release)


def make_state(**changes: Any) -> TreeState:  # noqa: ANN401 - fields of the value
    """A clean checkout of the release 1.29.0."""
    state = TreeState(
        commit=COMMIT,
        committed_at=COMMITTED_AT,
        content="89abcdef0123456789abcdef0123456789abcdef",
        tag="1.29.0",
        description="1.29.0",
        dirty=False,
        modified=False,
    )
    return replace(state, **changes)


def make_source(state: TreeState | None = None, **changes: Any) -> SourceFacts:  # noqa: ANN401 - fields of the value
    """What Istio's tree says of itself at 1.29.0."""
    facts = SourceFacts(
        state=state or make_state(),
        version="1.29",
        release=RELEASE,
        base_version="1.29-2026-02-01T19-01-00",
        go_directive="1.25.0",
        dependencies=(("PROXY_REPO_SHA", PROXY_SHA), ("ZTUNNEL_REPO_SHA", "a" * 40)),
    )
    return replace(facts, **changes)


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


def make_base(name: str, platforms: tuple[Platform, ...] = (AMD64, ARM64), registry: str = "docker.io/istio") -> LockedBase:
    """A base image; its manifests' digests depend on its name and the platform alone."""
    reference = ImageReference.parse(f"{registry}/{name}:1.29-2026-02-01T19-01-00")
    return LockedBase(
        name=name,
        reference=reference.pinned(make_digest(f"index of {name}")),
        platforms=tuple(
            LockedBasePlatform(
                platform=platform,
                manifest=make_digest(f"{name} {platform}"),
                config=make_config(platform),
                layers=base_layers(),
            )
            for platform in platforms
        ),
    )


def base_layers() -> tuple[Digest, ...]:
    """The blobs of a base image's layers, as its registry has them and the fake engine gives them."""
    return (Digest.of(compress(BASE_LAYER, "gzip")[0]),)


def make_artifact(platform: Platform) -> LockedArtifact:
    """Istio's Envoy for this platform."""
    suffix = "" if platform == AMD64 else f"-{platform.architecture}"
    return LockedArtifact(
        name="envoy",
        platform=platform,
        url=f"https://storage.googleapis.com/istio-build/proxy/envoy-alpha-{PROXY_SHA}{suffix}.tar.gz",
        sha256=make_digest(f"envoy {platform}").hex,
        member="usr/local/bin/envoy",
    )


def make_lock(source: SourceFacts | None = None, **changes: Any) -> Lock:  # noqa: ANN401 - fields of the value
    """All that was looked up for the built-in images on both platforms."""
    lock = Lock(
        source=source or make_source(),
        go=LockedGo(version="1.26.0", reason="this machine's: --go machine"),
        bases=(make_base("base"), make_base("distroless"), make_base("iptables")),
        artifacts=(make_artifact(AMD64), make_artifact(ARM64)),
    )
    return replace(lock, **changes)


def make_request(hub: str = "registry.corp.example/istio", **changes: Any) -> Request:  # noqa: ANN401 - fields of the value
    """All images for both platforms, under the version of the source."""
    return replace(Request(hubs=(Hub.parse(hub),), tags=(), platforms=(AMD64, ARM64)), **changes)


def make_sample_plan(
    request: Request | None = None,
    book: RecipeBook | None = None,
    lock: Lock | None = None,
    **changes: Any,  # noqa: ANN401
) -> Plan:
    """The plan for `make_request(**changes)`, the built-in recipes and `make_lock()`."""
    return make_plan(request or make_request(**changes), book or load_book(), lock or make_lock())


def image_of(plan: Plan, key: str) -> ImagePlan:
    """The image of a plan with this key, such as `pilot-debug`."""
    return next(image for image in plan.images if image.key == key)


def make_elf(architecture: str, *, bits: int = 64, little_endian: bool = True) -> bytes:
    """The smallest ELF program: a header, and no section or segment."""
    order = "<" if little_endian else ">"
    ident = b"\x7fELF" + bytes([bits // 32, 1 if little_endian else 2, 1]) + bytes(9)
    words = "QQQ" if bits == 64 else "III"
    header_size = 64 if bits == 64 else 52
    return ident + struct.pack(f"{order}HHI{words}IHHHHHH", 2, _EM[architecture], 1, 0, 0, 0, 0, header_size, 0, 0, 0, 0, 0)


def make_mach_o(architecture: str) -> bytes:
    """The header of a 64-bit Mach-O program (mach-o/loader.h), and no load commands."""
    return struct.pack("<8I", 0xFEEDFACF, {"amd64": 0x01000007, "arm64": 0x0100000C, "386": 7}[architecture], 0, 2, 0, 0, 0, 0)


def make_pe(architecture: str) -> bytes:
    """A DOS header that leads to a PE signature and the machine behind it."""
    machine = {"amd64": 0x8664, "arm64": 0xAA64, "386": 0x14C}[architecture]
    return b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0" + struct.pack("<H18x", machine)


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
        },
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


def change_image(book: RecipeBook, image: str, **changes: Any) -> RecipeBook:  # noqa: ANN401 - fields of the recipe
    """The book with other values in one image's recipe."""
    images = tuple(recipe.model_copy(update=changes) if recipe.image == image else recipe for recipe in book.images)
    return replace(book, images=images)


def change_go(book: RecipeBook, **changes: Any) -> RecipeBook:  # noqa: ANN401 - fields of the recipe
    """The book with other values in release.yaml's `go`."""
    go = book.release.go.model_copy(update=changes)
    return replace(book, release=book.release.model_copy(update={"go": go}))


def change_template(book: RecipeBook, name: str, addition: str) -> RecipeBook:
    """The book with a line more in one template."""
    templates = tuple((key, f"{text}{addition}\n" if key == name else text) for key, text in book.templates)
    return replace(book, templates=templates)
