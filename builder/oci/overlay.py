"""Layers on each other: the path that an entry of a layer has, and what an entry removes of the layers below.

Whiteouts: OCI image-spec v1.1, layer.md.
"""

import posixpath
from dataclasses import dataclass

_PREFIX = ".wh."
_OPAQUE = ".wh..wh..opq"


def entry_path(name: str) -> str:
    """The absolute path of an entry that an archive calls `./usr/bin/a`, `usr/bin/a` or `/usr/bin/a`."""
    return posixpath.normpath(f"/{name.lstrip('/')}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Whiteout:
    """An entry that removes what the layers below have at `path`; only what is in that directory, where it is opaque."""

    path: str
    opaque: bool

    def hides(self, path: str) -> bool:
        """Whether this path of a layer below is removed."""
        return (path == self.path and not self.opaque) or path.startswith(f"{self.path.rstrip('/')}/")


def find_whiteout(path: str) -> Whiteout | None:
    """What an entry at this absolute path removes; None where it is a file or directory like any other."""
    folder, name = posixpath.split(path)
    if name == _OPAQUE:
        return Whiteout(path=folder, opaque=True)
    if name.startswith(_PREFIX):
        return Whiteout(path=posixpath.join(folder, name.removeprefix(_PREFIX)), opaque=False)
    return None
