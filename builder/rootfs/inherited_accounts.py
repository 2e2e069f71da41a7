"""Finds, in the layers of an image, what users are made of: the account files, the settings, and the skeleton of homes.

Whiteouts: OCI image-spec v1.1, layer.md.
"""

import posixpath
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from builder.errors import BaseImageError
from builder.oci.layer import open_layer
from builder.recipe.rootfs_schema import ACCOUNT_FILES

LOGIN_SETTINGS = "/etc/login.defs"
_SKELETON = "/etc/skel"
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
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
                path = posixpath.normpath(f"/{member.name.lstrip('/')}")
                _remove(found, path, is_directory=member.isdir())
                if path in (*ACCOUNT_FILES, LOGIN_SETTINGS) or path.startswith(f"{_SKELETON}/"):
                    own[path] = _read(tar, member, path)
        # A whiteout is about the layers below, so what this layer has comes last.
        whiteouts = [path for path in own if posixpath.basename(path).startswith(_WHITEOUT)]
        found |= {path: file for path, file in own.items() if path not in whiteouts}
    return dict(sorted(found.items()))


def _remove(found: dict[str, FoundFile], path: str, *, is_directory: bool) -> None:
    """Drop what this entry of a layer hides of the layers below: a whiteout, or a file where a directory was."""
    folder, name = posixpath.split(path)
    if name == _OPAQUE:
        gone, below = "", folder
    elif name.startswith(_WHITEOUT):
        gone = below = posixpath.join(folder, name.removeprefix(_WHITEOUT))
    elif not is_directory:
        gone = below = path
    else:
        return
    prefix = f"{below.rstrip('/')}/"
    for other in [other for other in found if other == gone or other.startswith(prefix)]:
        del found[other]


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
