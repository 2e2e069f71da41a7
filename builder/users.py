"""Adds users to an image that stands on another one: the layer that `RUN useradd -m` would have made, without running it.

The accounts are those of the base image's own layers, so that nothing of them is lost.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from builder.accounts import AccountFiles, User, add_users
from builder.errors import BaseImageError
from builder.layer import open_layer
from builder.root_tree import RootTree

_ACCOUNTS = ("passwd", "group", "shadow", "gshadow")


def read_accounts(layers: Sequence[tuple[Path, str]]) -> AccountFiles:
    """The account files of an image, of its layers (blob and media type) from the base up. Raises CheckError."""
    found: dict[str, str] = {}
    for blob, media_type in layers:
        with open_layer(blob, media_type) as tar:
            for member in tar:
                folder, _, name = member.name.removeprefix("./").lstrip("/").partition("/")
                if folder == "etc" and name in _ACCOUNTS and member.isreg():
                    content = tar.extractfile(member)
                    assert content is not None
                    found[name] = content.read().decode()
                elif folder == "etc" and name.removeprefix(".wh.") in _ACCOUNTS:
                    # A whiteout: this layer removes the file.
                    found.pop(name.removeprefix(".wh."), None)
    return AccountFiles(**found)


def write_users_layer(layers: Sequence[tuple[Path, str]], users: Sequence[User], mtime: int, archive: Path) -> None:
    """Write the layer that adds these users, with their homes, to an image of these layers.

    Raises BaseImageError where a name or a number is taken there, CheckError where a layer is damaged.
    """
    try:
        files = add_users(read_accounts(layers), users, mtime)
    except ValueError as error:
        raise BaseImageError(str(error), hint="The base image has that user already, under another number or name.") from error
    with tempfile.TemporaryFile(dir=archive.parent) as spool:
        tree = RootTree(spool)
        for path, (text, mode, gid) in files.to_files().items():
            tree.write_file(path, text.encode(), mode=mode, mtime=mtime, gid=gid)
        for user in users:
            tree.make_directory(user.home, mode=0o750, mtime=mtime, uid=user.uid, gid=user.gid)
        tree.write_archive(archive)
