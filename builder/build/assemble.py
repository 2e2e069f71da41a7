"""Assembles one image on one platform: packs its layers, has the engine put them on the bases, checks what came out."""

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from builder.errors import CompileError
from builder.images.check import ExpectedFile, ReadLayer, check_platform
from builder.images.final_layers import LayerFinisher
from builder.oci.layer import LayerEntry, LayerFile, read_layer, write_layer
from builder.oci.layout import Layout
from builder.oci.reference import Platform
from builder.plan.model import AccountsLayer, FilesLayer, ImagePlan, PlannedFile, PlatformImage, RootfsLayer, SourceFile
from builder.plan.rootfs_step import RootfsStep
from builder.plan.users_step import UsersStep
from builder.ports import AssemblyTarget, Engine
from builder.runtime.json_document import parse_json

LocateFile = Callable[[PlannedFile], Path]
LocateRootfs = Callable[[RootfsStep], Path]
LocateUsers = Callable[[UsersStep], Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledPlatform:
    """One image in one variant on one platform: a checked layout of its own."""

    key: str
    platform: Platform
    layout: Layout


def assemble_platform(
    plans: Sequence[ImagePlan],
    platform: Platform,
    *,
    locate: LocateFile,
    locate_rootfs: LocateRootfs,
    locate_users: LocateUsers,
    work: Path,
    source_date_epoch: int,
    compression: str,
    engine: Engine,
    read_layer: ReadLayer,
    on_progress: Callable[[str], None],
) -> tuple[AssembledPlatform, ...]:
    """All variants of one image on one platform; they hold the same files on different bases.

    Raises CheckError, CompileError, and what the engine raises.
    """
    images = {plan.key: next(image for image in plan.platforms if image.platform == platform) for plan in plans}
    context = work / "context" / platform.slug / plans[0].image
    on_progress("packing")
    files = {key: _pack_layers(image, context, locate, locate_rootfs, locate_users) for key, image in images.items()}
    layouts = {key: Layout(_empty(work / "assembled" / key / platform.slug)) for key in images}
    targets = [_aim(key, image, context, layouts[key], source_date_epoch) for key, image in images.items()]
    engine.assemble(targets, on_progress)
    on_progress("compressing")
    finisher = LayerFinisher(compression, work / "compressed" / platform.slug / plans[0].image)
    for plan in plans:
        finisher.finish(layouts[plan.key], plan.base.on(platform).layers if plan.base else ())
        check_platform(plan, images[plan.key], layouts[plan.key], files[plan.key], compression, read_layer)
    finisher.forget_others()
    return tuple(AssembledPlatform(key=key, platform=platform, layout=layout) for key, layout in layouts.items())


def _aim(key: str, image: PlatformImage, context: Path, layout: Layout, source_date_epoch: int) -> AssemblyTarget:
    return AssemblyTarget(
        name=f"{key}-{image.platform.slug}",
        platform=image.platform,
        dockerfile=image.dockerfile,
        context=context,
        destination=layout.root,
        source_date_epoch=source_date_epoch,
    )


def _empty(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _pack_layers(
    image: PlatformImage, context: Path, locate: LocateFile, locate_rootfs: LocateRootfs, locate_users: LocateUsers
) -> list[ExpectedFile]:
    context.mkdir(parents=True, exist_ok=True)
    packed: list[tuple[ExpectedFile, ...]] = []
    for layer in image.layers:
        archive = context / layer.archive
        match layer:
            case RootfsLayer(rootfs=step):
                locate_rootfs(step).replace(archive)
                packed.append(_expect_all(archive))
            case AccountsLayer(users=step):
                # Copied, as other variants and images may stand on the same base.
                shutil.copyfile(locate_users(step), archive)
                packed.append(_expect_all(archive))
            case FilesLayer():
                packed.append(_pack_layer(layer, archive, image.platform, locate))
    return [file for files in packed for file in files]


def _expect_all(archive: Path) -> tuple[ExpectedFile, ...]:
    """Of an archive that was ready: every entry must be in the image, and homes must be their users'."""
    return tuple(
        ExpectedFile(path=entry.path, mode=entry.mode, mtime=entry.mtime, sha256=entry.sha256, owner=entry.owner, kind=entry.kind)
        for entry in read_layer(archive, "application/vnd.oci.image.layer.v1.tar")
        if entry.kind != "directory" or entry.owner != "0:0"
    )


def _pack_layer(layer: FilesLayer, archive: Path, platform: Platform, locate: LocateFile) -> tuple[ExpectedFile, ...]:
    """Write a layer's tar unless the one there is of these very files; what is left alone is not sent again."""
    files = [LayerFile(content=locate(file), path=file.path, mode=file.mode, mtime=file.mtime) for file in layer.files]
    record = archive.with_name(f"{archive.name}.json")
    identity = json.dumps([_identity(file) for file in files])
    entries = _recorded(record, identity) if archive.exists() else None
    if entries is None:
        partial = archive.with_name(f"{archive.name}.partial")
        entries = write_layer(files, partial)
        record.unlink(missing_ok=True)
        partial.replace(archive)
        record.write_text(json.dumps({"identity": identity, "entries": [asdict(entry) for entry in entries]}))
    # A script of Istio's tree may be executable too; what is compiled or downloaded to be run must be a program.
    programs = {file.path for file in layer.files if not isinstance(file.origin, SourceFile) and int(file.mode, 8) & 0o111}
    return tuple(_expect(entry, platform, entry.path in programs) for entry in entries if entry.kind == "file")


def _recorded(record: Path, identity: str) -> tuple[LayerEntry, ...] | None:
    try:
        written: Mapping[str, object] = parse_json(record.read_text())
        entries = written["entries"]
        assert isinstance(entries, list)
        return tuple(LayerEntry(**entry) for entry in entries) if written["identity"] == identity else None
    except (OSError, ValueError, KeyError, TypeError):
        # Not packed yet, or by another version of this tool.
        return None


def _identity(file: LayerFile) -> list[str | int]:
    """What changes when a file's content does: ctime, too, as no program can set that back."""
    status = os.stat(file.content)
    return [str(file.content), file.path, file.mode, file.mtime, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _expect(entry: LayerEntry, platform: Platform, is_program: bool) -> ExpectedFile:
    executable = int(entry.mode, 8) & 0o111
    foreign = executable and entry.architecture not in ("", platform.architecture)
    if foreign or (is_program and not entry.architecture):
        found = f"a program for {entry.architecture}" if entry.architecture else "no program at all"
        raise CompileError(
            f"{entry.path} should be for {platform}, but is {found}",
            hint="Where it was given by hand (--envoy, --envoy-image), it is the wrong file.",
        )
    return ExpectedFile(path=entry.path, mode=entry.mode, mtime=entry.mtime, sha256=entry.sha256)
