"""A root file system in the making: what is at each path, and one archive of it in which everything is set.

Contents lie in one spool file, so that a tree of 200 MB needs no memory to speak of.
"""

import io
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from builder.oci.overlay import entry_path

# Directories that merged-/usr systems have as links into /usr; Ubuntu's images since focal, Debian's since bookworm.
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What is at a path; `kind` is tarfile's. A file's bytes are `size` bytes of the spool from `offset` on.

    Paths with the same `inode` are hard links of one file. `capability` is the value of security.capability.
    """

    kind: bytes
    mode: int
    mtime: int
    uid: int = 0
    gid: int = 0
    target: str = ""
    offset: int = 0
    size: int = 0
    inode: str = ""
    capability: bytes = b""


class RootTree:
    """The tree. Paths are absolute, with /bin, /sbin and /lib* merged into /usr."""

    def __init__(self, spool: IO[bytes]) -> None:
        self._spool = spool
        self._nodes: dict[str, Node] = {}

    def __contains__(self, path: str) -> bool:
        return merged(path) in self._nodes

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._nodes))

    def __getitem__(self, path: str) -> Node:
        return self._nodes[merged(path)]

    @property
    def newest(self) -> int:
        """The time of its youngest file, in seconds since 1970."""
        return max((node.mtime for node in self._nodes.values() if node.kind == tarfile.REGTYPE), default=0)

    def read(self, path: str) -> bytes:
        """A file's bytes."""
        node = self[path]
        self._spool.seek(node.offset)
        return self._spool.read(node.size)

    def unpack(self, archive: tarfile.TarFile) -> tuple[str, ...]:
        """Put the files of a package's archive in; gives their paths as they are in the package.

        A later package's file takes the place of an earlier one's.
        """
        paths = []
        for member in archive:
            paths.append(entry_path(member.name))
            path = merged(member.name)
            if path == "/" or _is_merged_directory(path, member):
                continue
            node = Node(kind=member.type, mode=member.mode & 0o7777, mtime=int(member.mtime), uid=member.uid, gid=member.gid)
            if member.isreg():
                content = archive.extractfile(member)
                assert content is not None
                self._put(path, replace(node, kind=tarfile.REGTYPE, inode=path), content)
            elif member.islnk():
                self._nodes[path] = self._nodes[merged(member.linkname)]
            elif member.issym():
                self._nodes[path] = replace(node, target=member.linkname)
            elif member.isdir() and not (path in self._nodes and self._nodes[path].kind == tarfile.SYMTYPE):
                # A directory over a link to one: dpkg keeps the link, too.
                self._nodes[path] = node
        return tuple(path for path in paths if path != "/")

    def write_file(self, path: str, content: bytes, *, mode: int, mtime: int, uid: int = 0, gid: int = 0) -> None:
        """Put a file there, whatever was there before."""
        path = merged(path)
        node = Node(kind=tarfile.REGTYPE, mode=mode, mtime=mtime, uid=uid, gid=gid, inode=path)
        self._put(path, node, io.BytesIO(content))

    def make_directory(self, path: str, *, mode: int, mtime: int, uid: int = 0, gid: int = 0) -> None:
        """Make it a directory with these attributes."""
        self._nodes[merged(path)] = Node(kind=tarfile.DIRTYPE, mode=mode, mtime=mtime, uid=uid, gid=gid)

    def make_link(self, path: str, target: str, *, mtime: int, uid: int = 0, gid: int = 0) -> None:
        """Put a symbolic link there, whatever was there before."""
        self._nodes[merged(path)] = Node(kind=tarfile.SYMTYPE, mode=0o777, mtime=mtime, uid=uid, gid=gid, target=target)

    def set_mode(self, path: str, mode: int) -> None:
        """Give a file other mode bits."""
        self._nodes[merged(path)] = replace(self[path], mode=mode)

    def set_capability(self, path: str, value: bytes) -> None:
        """Give a file capabilities."""
        self._nodes[merged(path)] = replace(self[path], capability=value)

    def remove(self, unwanted: Callable[[str], bool]) -> None:
        """Drop these paths, except directories that hold something that stays."""
        kept: set[str] = set()
        for path in sorted(self._nodes, reverse=True):
            if path in kept or not unwanted(path):
                kept.add(posixpath.dirname(path))
            else:
                del self._nodes[path]

    def link_merged_directories(self, mtime: int) -> None:
        """Make /bin and its like links to those below /usr that are there."""
        for name in _MERGED:
            if f"/usr/{name}" in self._nodes or any(path.startswith(f"/usr/{name}/") for path in self._nodes):
                self._nodes[f"/{name}"] = Node(kind=tarfile.SYMTYPE, mode=0o777, mtime=mtime, target=f"usr/{name}")

    def write_archive(self, archive: Path) -> None:
        """Write the layer: sorted, with all directories above each file; PAX, which alone can hold capabilities."""
        with tarfile.open(archive, "w", format=tarfile.PAX_FORMAT) as tar:
            first: dict[str, str] = {}
            for path, node in sorted(self._with_parents().items()):
                header = _header(path, node)
                if node.kind == tarfile.REGTYPE and first.setdefault(node.inode, path) != path:
                    header.type, header.linkname, header.size = tarfile.LNKTYPE, first[node.inode].lstrip("/"), 0
                self._spool.seek(node.offset)
                tar.addfile(header, self._spool)

    def _put(self, path: str, node: Node, content: IO[bytes]) -> None:
        offset = self._spool.seek(0, io.SEEK_END)
        while chunk := content.read(_CHUNK):
            self._spool.write(chunk)
        self._nodes[path] = replace(node, offset=offset, size=self._spool.tell() - offset)

    def _with_parents(self) -> dict[str, Node]:
        nodes = dict(self._nodes)
        for path, node in self._nodes.items():
            while (path := posixpath.dirname(path)) not in ("/", *nodes):
                nodes[path] = Node(kind=tarfile.DIRTYPE, mode=0o755, mtime=node.mtime)
        return nodes


def merged(name: str) -> str:
    """The path that `./lib/x` of a package has where /lib is a link to /usr/lib."""
    path = entry_path(name)
    top, _, rest = path[1:].partition("/")
    return f"/usr/{top}/{rest}" if top in _MERGED and rest else path


def _is_merged_directory(path: str, member: tarfile.TarInfo) -> bool:
    """`/bin` itself, be it a directory or the link that merged packages have: we make the link."""
    return path[1:] in _MERGED and (member.isdir() or member.issym())


def _header(path: str, node: Node) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path.lstrip("/"))
    header.type, header.mode, header.mtime = node.kind, node.mode, node.mtime
    header.uid, header.gid, header.linkname, header.size = node.uid, node.gid, node.target, node.size
    if node.capability:
        header.pax_headers = {"SCHILY.xattr.security.capability": node.capability.decode("ascii")}
    return header
