"""Makes a root file system for any platform on this one: unpacks packages and sets up what their scripts would have.

Nothing of the packages is run, so neither root nor emulation is needed.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.plan.rootfs_step import RootfsStep
from builder.rootfs.configure import configure_root
from builder.rootfs.deb import open_member, read_control
from builder.rootfs.dpkg_database import UnpackedPackage, list_conffiles, md5, write_distroless, write_dpkg
from builder.rootfs.tree import RootTree


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeRootfs:
    """The archive of a root file system, and the time of its youngest file in seconds since 1970."""

    archive: Path
    newest: int


def make_rootfs(step: RootfsStep, packages: Sequence[Path], archive: Path, on_progress: Callable[[str], None]) -> MadeRootfs:
    """Write the root file system of these packages as an archive; the same packages and recipe give the same bytes.

    Raises ArtifactError, BaseImageError, RecipeError, DiskFull.
    """
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=archive.parent) as spool:
        tree = RootTree(spool)
        unpacked = []
        for number, package in enumerate(packages, start=1):
            on_progress(f"unpacking {number}/{len(packages)}")
            unpacked.append(_unpack(package, tree))
        on_progress("setting up")
        configure_root(tree, step.rootfs, f"{step.image} on {step.platform}")
        _record(tree, step, unpacked)
        on_progress("packing")
        tree.write_archive(archive)
        return MadeRootfs(archive=archive, newest=tree.newest)


def _unpack(package: Path, tree: RootTree) -> UnpackedPackage:
    control = read_control(package)
    with open_member(package, "data") as archive:
        paths = tree.unpack(archive)
    # Before recipes change them: dpkg is to see what the administrator has changed.
    conffiles = tuple((path, md5(tree.read(path))) for path in list_conffiles(control) if path in tree)
    return UnpackedPackage(control=control, paths=paths, conffiles=conffiles)


def _record(tree: RootTree, step: RootfsStep, packages: Sequence[UnpackedPackage]) -> None:
    """Write the package database, and for apt where packages come from: the archive itself, not the mirror of this machine."""
    mtime = tree.newest
    for_apt = step.rootfs.database == "dpkg"
    for path, (content, mode) in (write_dpkg(packages) if for_apt else write_distroless(packages)).items():
        tree.write_file(path, content, mode=mode, mtime=mtime)
    if for_apt:
        text = "".join(f"{line}\n" for line in step.sources)
        tree.write_file("/etc/apt/sources.list", text.encode(), mode=0o644, mtime=mtime)
