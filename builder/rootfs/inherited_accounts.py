"""Finds, in the layers of an image, what users are made of: the account files, the settings, and the skeleton of homes."""

import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.errors import BaseImageError
from builder.oci.layer import open_layer
from builder.oci.overlay import Whiteout, entry_path, find_whiteout
from builder.recipe.rootfs_schema import ACCOUNT_FILES

LOGIN_SETTINGS = "/etc/login.defs"
_SKELETON = "/etc/skel"
# A hundred thousand accounts fit into a tenth of it.
_LARGEST_FILE = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file, directory or symbolic link of the image."""

    kind: Literal["file", "directory", "symlink"] = "file"
    content: bytes = b""
    target: str = ""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0


def find_account_files(layers: Sequence[tuple[Path, str]]) -> dict[str, FoundFile]:
    """What is there of them in the end, by path; layers are blob and media type, from the base up.

    Raises CheckError where a layer is damaged, BaseImageError for a link where an account file should be: what is behind it
    is not looked for, and must not be lost.
    """
    found: dict[str, FoundFile] = {}
    for blob, media_type in layers:
        own: dict[str, FoundFile] = {}
        with open_layer(blob, media_type) as tar:
            for member in tar:
                path = entry_path(member.name)
                whiteout = find_whiteout(path)
                if whiteout or not member.isdir():
                    # A file that is where a directory was hides what was in it, just as a whiteout would.
                    _remove(found, whiteout or Whiteout(path=path, opaque=False))
                if not whiteout and (path in (*ACCOUNT_FILES, LOGIN_SETTINGS) or path.startswith(f"{_SKELETON}/")):
                    own[path] = _read(tar, member, path)
        # A whiteout is about the layers below, so what this layer has comes last.
        found |= own
    return dict(sorted(found.items()))


def _remove(found: dict[str, FoundFile], whiteout: Whiteout) -> None:
    for path in [path for path in found if whiteout.hides(path)]:
        del found[path]


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> FoundFile:
    kind: Literal["file", "directory", "symlink"]
    kind = "directory" if member.isdir() else "symlink" if member.issym() else "file"
    if member.size > _LARGEST_FILE:
        raise BaseImageError(
            f"the base image's {path} has {member.size} bytes, more than any file that accounts are made of",
            hint="Is this an image of Debian or Ubuntu, and an undamaged one?",
        )
    content = tar.extractfile(member) if member.isreg() else None
    if (kind == "file" and content is None) or (kind != "file" and path in ACCOUNT_FILES):
        raise BaseImageError(
            f"the base image's {path} is a {'link' if member.issym() or member.islnk() else 'special file'}",
            hint="Users can be added only to a base image whose account files are files of their own.",
        )
    return FoundFile(
        kind=kind,
        content=content.read() if content else b"",
        target=member.linkname if kind == "symlink" else "",
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        mtime=int(member.mtime),
    )
