"""Checks an assembled image against its plan before one byte leaves the machine. Reads the layout, touches nothing."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import CheckError, RegistryError
from builder.oci.image_config import add_env
from builder.oci.layer import LayerEntry, read_layer
from builder.oci.layout import Layout
from builder.oci.manifest import Descriptor, ImageConfig, Manifest
from builder.oci.reference import SUPPORTED_PLATFORMS, Platform
from builder.plan.model import ImagePlan, PlatformImage
from builder.runtime.atomic_file import sum_file

# Bytecode that is loaded into the kernel and not run as a program; libxdp1 of Debian marks its own executable.
FOR_EVERY_KERNEL = "EM_BPF"

# What of a configuration no recipe can say and a Dockerfile can, and by which instruction:
# https://docs.docker.com/reference/dockerfile/
_INSTRUCTIONS = {
    "ExposedPorts": "EXPOSE",
    "Healthcheck": "HEALTHCHECK",
    "OnBuild": "ONBUILD",
    "Shell": "SHELL",
    "StopSignal": "STOPSIGNAL",
    "Volumes": "VOLUME",
    "author": "MAINTAINER",
}
# BuildKit sets it with every CMD, and nothing but Windows heeds it (image-spec v1.1, config.md).
_UNHEEDED = "ArgsEscaped"

ReadLayer = Callable[[Layout, Descriptor], tuple[LayerEntry, ...]]
SumFile = Callable[[Path], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedFile:
    """What a file (link, directory) of the image must be: its place and mode, and the sha256 of what was packed."""

    path: str
    mode: str
    mtime: int
    sha256: str
    owner: str = "0:0"
    kind: str = "file"


def read_layer_of(layout: Layout, layer: Descriptor) -> tuple[LayerEntry, ...]:
    """What a layer of a layout holds."""
    return read_layer(layout.blob(layer.digest), layer.media_type)


def check_platform(
    plan: ImagePlan,
    platform_image: PlatformImage,
    layout: Layout,
    files: Sequence[ExpectedFile],
    read: ReadLayer = read_layer_of,
    sum_file: SumFile = sum_file,
) -> None:
    """Compare one platform's image, as an engine assembled it, with the plan. Raises CheckError listing every difference.

    Every layer on top of the base's is read by `read` and summed by `sum_file`; those of the base need not be there.
    """
    descriptor, _ = layout.root_descriptor()
    manifest = layout.manifest(descriptor)
    if manifest.is_index:
        _refuse(plan, platform_image.platform, ["holds an index where an image should be"])
    config = ImageConfig.parse(layout.read(manifest.config()))
    findings = _compare_config(plan, platform_image, config)
    own = manifest.layers()[len(_base_config(plan, platform_image.platform).diff_ids) :]
    for layer in own:
        _check_blob(layout, layer, sum_file)
    entries = [entry for layer in own for entry in read(layout, layer)]
    findings += _compare_files(files, entries, platform_image.platform)
    if findings:
        _refuse(plan, platform_image.platform, findings)


def check_index(plan: ImagePlan, layout: Layout) -> None:
    """The index must hold exactly the plan's platforms, in OCI's own form. Raises CheckError."""
    index = layout.index()
    found = [child.platform for child in index.children()]
    wanted = sorted(platform.platform for platform in plan.platforms)
    if found != wanted or not index.is_index:
        names = ", ".join(str(platform) for platform in found)
        raise CheckError(f"{plan.key}: the index holds {names or 'nothing'}, not {', '.join(map(str, wanted))}")


def check_integrity(layout: Layout, read: ReadLayer = read_layer_of) -> Manifest:
    """Check a layout that was built elsewhere: complete, undamaged, each program for its platform. Gives its index.

    Raises CheckError. All layers are read, the base's too, as nothing here tells which those are.
    """
    try:
        return _check_integrity(layout, read)
    except RegistryError as error:
        # Manifests most often come from registries; this one came with the layout.
        raise CheckError(f"{layout.root}: {error.message}") from error


def _check_integrity(layout: Layout, read: ReadLayer) -> Manifest:
    index = layout.index()
    if not index.is_index or not index.children():
        raise CheckError(f"{layout.root} does not hold an image index")
    for child in index.children():
        if child.platform is None or child.is_runnable:
            _check_child(layout, child, read)
        else:
            # An attestation, which came with an image that was mirrored: its layers are documents, no archives.
            manifest = layout.manifest(child)
            for blob in (manifest.config(), *manifest.layers()):
                _check_blob(layout, blob)
    return index


def _check_child(layout: Layout, child: Descriptor, read: ReadLayer) -> None:
    manifest = layout.manifest(child)
    config = ImageConfig.parse(layout.read(manifest.config()))
    if child.platform is None or config.platform != child.platform:
        raise CheckError(f"{layout.root}: the index says {child.platform}, the image {config.platform}")
    if str(child.platform) not in SUPPORTED_PLATFORMS:
        # A mirror may have more than what Istio runs on: it has to be whole, but how its programs look we do not know.
        for layer in manifest.layers():
            _check_blob(layout, layer)
        return
    entries = [entry for layer in manifest.layers() for entry in _read_whole(layout, layer, read)]
    wrong = _name_foreign(entries, child.platform)
    if wrong:
        raise CheckError(f"{layout.root} on {child.platform}: {'; '.join(wrong)}")


def _check_blob(layout: Layout, blob: Descriptor, sum_file: SumFile = sum_file) -> None:
    path = layout.blob(blob.digest)
    try:
        # The size first, which tells a part of a blob, or something endless, without reading it.
        size = path.stat().st_size
        found = sum_file(path) if size == blob.size else ""
    except OSError as error:
        raise CheckError(f"{layout.root} lacks blob {blob.digest}: {error.strerror}") from error
    if size != blob.size:
        raise CheckError(f"blob {blob.digest} in {layout.root} is damaged: it has {size} bytes, not {blob.size}")
    if found != blob.digest.hex:
        raise CheckError(f"blob {blob.digest} in {layout.root} is damaged")


def _read_whole(layout: Layout, layer: Descriptor, read: ReadLayer) -> tuple[LayerEntry, ...]:
    _check_blob(layout, layer)
    return read(layout, layer)


def _base_config(plan: ImagePlan, platform: Platform) -> ImageConfig:
    """What it inherits: nothing, where it is made of packages."""
    return plan.base.on(platform).config if plan.base else ImageConfig(platform=platform)


def _compare_config(plan: ImagePlan, image: PlatformImage, config: ImageConfig) -> list[str]:
    base = _base_config(plan, image.platform)
    expected: dict[str, tuple[object, object]] = {
        "platform": (image.platform, config.platform),
        "user": (plan.user or base.user, config.user),
        "entrypoint": (plan.entrypoint or base.entrypoint, config.entrypoint),
        # Docker drops the base image's CMD once an image sets an ENTRYPOINT of its own.
        "command": (plan.command or (() if plan.entrypoint else base.command), config.command),
        "working directory": (plan.workdir or base.working_dir or "/", config.working_dir or "/"),
        "env": (dict(add_env(base.env, image.env)), dict(config.env)),
        "labels": ({**dict(base.labels), **dict(image.labels)}, dict(config.labels)),
        "base layers": (base.diff_ids, config.diff_ids[: len(base.diff_ids)]),
    }
    findings = [f"{name} is {found!r}, not {wanted!r}" for name, (wanted, found) in expected.items() if wanted != found]
    return findings + _compare_others(plan, base, config)


def _compare_others(plan: ImagePlan, base: ImageConfig, config: ImageConfig) -> list[str]:
    """What recipes cannot say must be as the base image has it."""
    found, inherited = dict(config.others), dict(base.others)
    # What a base wants done in builds on top of it has been done in this one, and is not handed on.
    inherited.pop("OnBuild", None)
    # What no instruction sets is of a container that the base was made of, such as Hostname; builders leave it out.
    names = {*found, *(inherited.keys() & _INSTRUCTIONS.keys())} - {_UNHEEDED}
    return [
        f"{name} is {found.get(name, 'unset')}, not {inherited.get(name, 'unset')}: "
        f"remove {_INSTRUCTIONS.get(name, 'what sets it')} from the template {plan.template}"
        for name in sorted(names)
        if found.get(name) != inherited.get(name)
    ]


def _compare_files(expected: Sequence[ExpectedFile], entries: Sequence[LayerEntry], platform: Platform) -> list[str]:
    # Directories come along with files; only those that were planned as such are looked at.
    directories = {file.path for file in expected if file.kind == "directory"}
    found = {entry.path: entry for entry in entries if entry.kind != "directory" or entry.path in directories}
    findings = _name_foreign(entries, platform)
    for file in expected:
        entry = found.pop(file.path, None)
        if entry is None:
            findings.append(f"{file.path} is missing")
            continue
        wanted = {"mode": file.mode, "owner": file.owner, "mtime": file.mtime, "sha256": file.sha256, "kind": file.kind}
        findings += [
            f"{file.path}: {name} is {getattr(entry, name)}, not {value}"
            for name, value in wanted.items()
            if getattr(entry, name) != value
        ]
    return findings + [f"{path} should not be there" for path in sorted(found)]


def foreign_programs(entries: Iterable[LayerEntry], platform: Platform) -> tuple[LayerEntry, ...]:
    """Programs that would end in `exec format error`: ELF, executable, and for another machine."""
    return tuple(
        entry
        for entry in entries
        if entry.architecture not in ("", platform.architecture, FOR_EVERY_KERNEL) and int(entry.mode, 8) & 0o111
    )


def _name_foreign(entries: Sequence[LayerEntry], platform: Platform) -> list[str]:
    return [
        f"{entry.path} is a program for {entry.architecture}, not for {platform.architecture}"
        for entry in foreign_programs(entries, platform)
    ]


def _refuse(plan: ImagePlan, platform: Platform, findings: Sequence[str]) -> None:
    raise CheckError(
        f"{plan.key} on {platform} is not what was planned:\n" + "\n".join(f"  {finding}" for finding in findings),
        hint="Nothing has left this machine. A template that sets what its recipe does not declare is one cause.",
    )
