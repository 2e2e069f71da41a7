"""Lists the members that compressed layers consist of, so that one of the same content need not be compressed again.

Each member of a gzip layer is of one chunk of its archive, and of nothing else: where a chunk is the same in another layer, so is
its member. Beside a layer that is kept lies the list of its members. What is taken from there is summed first, so neither a
damaged layer nor a damaged list gets into a new one: then there is no such member, and the chunk is compressed.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from builder.oci.layer_format import FORMATS
from builder.runtime.atomic_file import whole_file
from builder.runtime.json_document import LARGEST_DOCUMENT, list_of, object_of, parse_json, text_of
from builder.runtime.regular_file import open_regular, read_regular

SUFFIX = ".members"
# Two members are rarely larger than what they are of; a list that says more is none of ours.
_LARGEST_MEMBER = 1 << 21
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Member:
    """A member: the sha256 of the chunk that it is of, its size in bytes, and its own sha256."""

    chunk: str
    size: int
    sha256: str


def list_members(blob: Path, members: Sequence[Member]) -> None:
    """Write the list of a blob beside it; the members are in the blob's order."""
    document = {"format": FORMATS["gzip"], "members": [[member.chunk, member.size, member.sha256] for member in members]}
    with whole_file(_list_of(blob)) as partial:
        partial.write_text(json.dumps(document), encoding="ascii")


class KnownMembers:
    """The members of these blobs, of which the first is asked first. Safe for several threads, while it is open.

    What is missing or damaged is left out, also if it becomes so meanwhile: somebody else may be at work there.
    """

    def __init__(self, blobs: Sequence[Path] = ()) -> None:
        self._blobs = blobs
        self._open = ExitStack()
        self._places: dict[str, tuple[int, int, Member]] = {}

    def __enter__(self) -> Self:
        for blob in self._blobs:
            with contextlib.suppress(OSError, ValueError):
                members = _read_list(blob)
                file = self._open.enter_context(open_regular(blob))
                for offset, member in _placed(members):
                    self._places.setdefault(member.chunk, (file.fileno(), offset, member))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._places.clear()
        self._open.close()

    def find(self, chunk: str) -> tuple[Member, bytes] | None:
        """The member of the chunk with this sha256, and its bytes."""
        if chunk not in self._places:
            return None
        descriptor, offset, member = self._places[chunk]
        try:
            content = os.pread(descriptor, member.size, offset)
        except OSError:
            return None
        return (member, content) if hashlib.sha256(content).hexdigest() == member.sha256 else None


def newest_listed(directories: Sequence[Path], most: int) -> list[Path]:
    """The blobs in these directories that have a list, the one that was written last first, and no more than so many."""
    found = []
    for directory in directories:
        with contextlib.suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    with contextlib.suppress(OSError):
                        found.append((entry.stat().st_mtime_ns, entry.path))
    return [Path(path.removesuffix(SUFFIX)) for _, path in sorted(found, reverse=True)[:most]]


def _read_list(blob: Path) -> list[Member]:
    """Raises OSError and ValueError."""
    document = object_of(parse_json(read_regular(_list_of(blob), LARGEST_DOCUMENT)))
    if text_of(document.get("format")) != FORMATS["gzip"]:
        return []
    return [_parse_member(entry) for entry in list_of(document.get("members"))]


def _parse_member(entry: object) -> Member:
    match entry:
        case [str() as chunk, int() as size, str() as sha256] if 0 < size <= _LARGEST_MEMBER:
            if _SHA256.fullmatch(chunk) and _SHA256.fullmatch(sha256):
                return Member(chunk, size, sha256)
    raise ValueError("no member")


def _placed(members: Sequence[Member]) -> Iterator[tuple[int, Member]]:
    offset = 0
    for member in members:
        yield offset, member
        offset += member.size


def _list_of(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}{SUFFIX}")
