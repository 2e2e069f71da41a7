"""Does to an unpacked tree what the scripts of its packages would have done, as its recipe says; runs none of them."""

import posixpath
import struct
from collections.abc import Callable
from fnmatch import fnmatchcase

from builder.errors import BaseImageError, RecipeError
from builder.plan.user import User
from builder.recipe.rootfs_schema import Account, Rootfs
from builder.rootfs.passwd import AccountFiles, add_users, read_masters
from builder.rootfs.tree import RootTree

_MASTERS = "/usr/share/base-passwd"
_CERTIFICATES = "/usr/share/ca-certificates/"
_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
# linux/capability.h: VFS_CAP_REVISION_2, with the flag that makes permitted capabilities effective at once.
_CAPABILITY_HEADER = 0x02000001
_CAPABILITIES = {"net_bind_service": 10, "net_admin": 12, "net_raw": 13}


def configure_root(tree: RootTree, rootfs: Rootfs, where: str) -> None:
    """Set up what is unpacked. Raises BaseImageError and RecipeError, naming `where`, for what cannot be.

    What is made here has the time of the youngest file of the packages, which the packages alone decide.
    """
    mtime = tree.newest
    _add_accounts(tree, rootfs, where, mtime)
    _bundle_certificates(tree, mtime)
    for path, default in rootfs.copies.items():
        if default in tree and path not in tree:
            tree.write_file(path, tree.read(default), mode=0o644, mtime=mtime)
    tree.remove(_unwanted(rootfs))
    for directory, mode in rootfs.directories.items():
        tree.make_directory(directory, mode=int(mode, 8), mtime=mtime)
    _make_homes(tree, rootfs.accounts, mtime)
    for path, content in rootfs.contents.items():
        tree.write_file(path, content.text.encode(), mode=int(content.mode, 8), mtime=mtime)
    for path, text in rootfs.appended.items():
        node = tree[_present(tree, path, where)]
        tree.write_file(path, tree.read(path) + text.encode(), mode=node.mode, mtime=mtime, uid=node.uid, gid=node.gid)
    for path, mode in rootfs.modes.items():
        tree.set_mode(_present(tree, path, where), int(mode, 8))
    _make_links(tree, rootfs, mtime)
    for path, names in rootfs.capabilities.items():
        tree.set_capability(_present(tree, path, where), _capability(names))
    tree.link_merged_directories(mtime)


def to_user(account: Account) -> User:
    """The account of a recipe as a line of passwd."""
    return User(
        name=account.name,
        uid=account.uid,
        gid=account.uid if account.gid < 0 else account.gid,
        home=account.home,
        shell=account.shell,
        comment=account.comment,
    )


def _present(tree: RootTree, path: str, where: str) -> str:
    if path not in tree:
        raise BaseImageError(
            f"{where}: {path} is in none of its packages",
            hint="A recipe's `appended`, `modes` and `capabilities` name files that packages bring.",
        )
    return path


def _add_accounts(tree: RootTree, rootfs: Rootfs, where: str, mtime: int) -> None:
    """base-passwd copies its master files, passwd moves passwords into shadow, useradd and adduser do the rest."""
    files = AccountFiles()
    if f"{_MASTERS}/passwd.master" in tree:
        try:
            passwd, group = (tree.read(f"{_MASTERS}/{name}.master").decode() for name in ("passwd", "group"))
            files = read_masters(passwd, group, mtime)
        except ValueError as error:
            raise BaseImageError(f"{where}: base-passwd's master files are not what they should be: {error}") from error
    try:
        files = add_users(files, [to_user(account) for account in rootfs.accounts], mtime)
    except ValueError as error:
        raise RecipeError(f"{where}: accounts: {error}") from error
    for path, (text, mode, gid) in files.to_files().items():
        tree.write_file(path, text.encode(), mode=mode, mtime=mtime, gid=gid)


def _make_homes(tree: RootTree, accounts: tuple[Account, ...], mtime: int) -> None:
    for account in accounts:
        if not account.create_home:
            continue
        user = to_user(account)
        tree.make_directory(user.home, mode=int(account.mode, 8), mtime=mtime, uid=user.uid, gid=user.gid)
        for skeleton in [path for path in tree if posixpath.dirname(path) == "/etc/skel"]:
            path = posixpath.join(user.home, posixpath.basename(skeleton))
            tree.write_file(path, tree.read(skeleton), mode=0o644, mtime=mtime, uid=user.uid, gid=user.gid)


def _bundle_certificates(tree: RootTree, mtime: int) -> None:
    """What update-ca-certificates writes, without the links that only OpenSSL's -CApath reads.

    Its list of certificates is written, too, so that it gives the same when it is run in the image.
    """
    paths = [path for path in tree if path.startswith(_CERTIFICATES) and path.endswith(".crt")]
    if not paths:
        return
    bundle = b"".join(tree.read(path).rstrip(b"\n") + b"\n" for path in paths)
    names = "".join(f"{path.removeprefix(_CERTIFICATES)}\n" for path in paths)
    tree.write_file(_BUNDLE, bundle, mode=0o644, mtime=mtime)
    tree.write_file("/etc/ca-certificates.conf", names.encode(), mode=0o644, mtime=mtime)


def _unwanted(rootfs: Rootfs) -> Callable[[str], bool]:
    def unwanted(path: str) -> bool:
        dropped = any(fnmatchcase(path, pattern) for pattern in rootfs.remove)
        return dropped and not any(fnmatchcase(path, pattern) for pattern in rootfs.keep)

    return unwanted


def _make_links(tree: RootTree, rootfs: Rootfs, mtime: int) -> None:
    for path, target in rootfs.links.items():
        tree.make_link(path, target, mtime=mtime)
    for path, target in rootfs.alternatives.items():
        if target in tree:
            switch = f"/etc/alternatives/{posixpath.basename(path)}"
            tree.make_link(path, switch, mtime=mtime)
            tree.make_link(switch, target, mtime=mtime)


def _capability(names: tuple[str, ...]) -> bytes:
    permitted = sum(1 << _CAPABILITIES[name] for name in names)
    return struct.pack("<IIIII", _CAPABILITY_HEADER, permitted, 0, 0, 0)
