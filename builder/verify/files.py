"""The files of an image on one platform: its layers on each other, as a container sees them. Pure."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.oci.layer import LayerEntry
from builder.oci.overlay import find_whiteout
from builder.verify.contents import LayerContents, Program


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFiles:
    """What is at each path, and which of these are Go programs."""

    entries: Mapping[str, LayerEntry]
    programs: Mapping[str, Program]

    def is_hidden(self, path: str) -> bool:
        """Whether a link is on the way there, behind which we cannot look: layers are read without what links lead to."""
        parents = []
        while path != "/":
            path = posixpath.dirname(path)
            parents.append(path)
        return any(self.entries[parent].kind == "symlink" for parent in parents if parent in self.entries)


def stack(layers: Sequence[LayerContents]) -> ImageFiles:
    """Layers on each other, lowest first: what a layer has replaces and removes what is below it."""
    entries: dict[str, LayerEntry] = {}
    programs: dict[str, Program] = {}
    for layer in layers:
        gone = [whiteout for entry in layer.entries if (whiteout := find_whiteout(entry.path))]
        # A file where a directory was takes all with it that was below.
        covered = {entry.path for entry in layer.entries if entry.kind != "directory"} & entries.keys()
        covered = {path for path in covered if entries[path].kind == "directory"}
        if gone or covered:
            names = {whiteout.path for whiteout in gone if not whiteout.opaque}
            opaque = {whiteout.path for whiteout in gone if whiteout.opaque}
            for path in [path for path in entries if _is_gone(path, names | covered, opaque)]:
                del entries[path]
        own = {entry.path: entry for entry in layer.entries if not find_whiteout(entry.path)}
        entries |= own
        programs = {path: program for path, program in programs.items() if path in entries and path not in own}
        programs |= {program.path: program for program in layer.programs}
    return ImageFiles(entries=entries, programs=programs)


def _is_gone(path: str, names: set[str], opaque: set[str]) -> bool:
    if path in names:
        return True
    while path != "/":
        path = posixpath.dirname(path)
        if path in names or path in opaque:
            return True
    return False
