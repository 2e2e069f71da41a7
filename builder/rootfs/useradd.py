"""Adds users to an image that stands on another one: the layer that `RUN useradd -m` would have made, without running it.

The accounts are those of the base image's own layers, so that nothing of them is lost. As useradd does with the settings
that Debian and Ubuntu have for it: a line in passwd, group, shadow and gshadow; a range in subuid and subgid where the base
has these files; the home with what /etc/skel holds. Left out is what tells nothing of the image: the copies of the account
files as they were before (/etc/passwd- and its like), the lock /etc/.pwd.lock, and the user's zeros in /var/log/lastlog and
faillog. There is no mail spool, as on Debian. Of the base's settings the mode of homes is read (HOME_MODE or UMASK of
/etc/login.defs); others that a base may have changed there or in /etc/default/useradd are not.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from builder.errors import BaseImageError
from builder.plan.user import User
from builder.rootfs.inherited_accounts import LOGIN_SETTINGS, FoundFile, find_account_files
from builder.rootfs.passwd import AccountFiles, add_subordinate_ids, add_users
from builder.rootfs.tree import RootTree
from builder.runtime.atomic_file import whole_file

_ACCOUNTS = ("passwd", "group", "shadow", "gshadow")
_SUBORDINATES = ("/etc/subuid", "/etc/subgid")
_SKELETON = "/etc/skel/"
# HOME_MODE of Ubuntu's /etc/login.defs since 21.04, for bases without this file.
_HOME_MODE = 0o750


def write_users_layer(layers: Sequence[tuple[Path, str]], users: Sequence[User], mtime: int, archive: Path) -> None:
    """Write the layer that adds these users, with their homes, to an image of these layers.

    Raises BaseImageError where a name or a number is taken there, CheckError where a layer is damaged.
    """
    found = find_account_files(layers)
    try:
        files = add_users(_read_accounts(found), users, mtime)
    except ValueError as error:
        raise BaseImageError(str(error), hint="The base image has that user already, under another number or name.") from error
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=archive.parent) as spool:
        tree = RootTree(spool)
        for path, (text, mode, gid) in files.to_files().items():
            # Whoever may read it in the base may do so still.
            node = found.get(path, FoundFile(mode=mode, gid=gid))
            tree.write_file(path, _bytes(text), mode=node.mode, mtime=mtime, uid=node.uid, gid=node.gid)
        for path in _SUBORDINATES:
            if path in found:
                text = add_subordinate_ids(_text(found[path]), users)
                tree.write_file(path, _bytes(text), mode=found[path].mode, mtime=mtime)
        for user in users:
            _make_home(tree, user, found, mtime)
        with whole_file(archive) as partial:
            tree.write_archive(partial)


def _read_accounts(found: dict[str, FoundFile]) -> AccountFiles:
    texts = {name: _text(found[f"/etc/{name}"]) for name in _ACCOUNTS if f"/etc/{name}" in found}
    return AccountFiles(**texts)


def _text(file: FoundFile) -> str:
    """Its lines, whatever they are encoded in, ready for one more."""
    text = file.content.decode(errors="surrogateescape")
    return text if text.endswith("\n") or not text else f"{text}\n"


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _make_home(tree: RootTree, user: User, found: dict[str, FoundFile], mtime: int) -> None:
    """The skeleton's files keep their modes and times, as useradd has it."""
    tree.make_directory(user.home, mode=_home_mode(found), mtime=mtime, uid=user.uid, gid=user.gid)
    for path, file in found.items():
        if path.startswith(_SKELETON):
            target = f"{user.home}/{path.removeprefix(_SKELETON)}"
            if file.kind == "directory":
                tree.make_directory(target, mode=file.mode, mtime=file.mtime, uid=user.uid, gid=user.gid)
            elif file.kind == "symlink":
                tree.make_link(target, file.target, mtime=file.mtime, uid=user.uid, gid=user.gid)
            else:
                tree.write_file(target, file.content, mode=file.mode, mtime=file.mtime, uid=user.uid, gid=user.gid)


def _home_mode(found: dict[str, FoundFile]) -> int:
    settings = _text(found[LOGIN_SETTINGS]) if LOGIN_SETTINGS in found else ""
    given = {name: int(value, 8) for name, value in re.findall(r"^\s*(HOME_MODE|UMASK)\s+([0-7]{3,4})\b", settings, re.MULTILINE)}
    return given.get("HOME_MODE", 0o777 & ~given["UMASK"] if "UMASK" in given else _HOME_MODE)
