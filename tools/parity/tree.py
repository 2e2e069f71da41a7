"""Reads the files of a git repository's tags without checking anything out, all through one `git cat-file --batch`."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

from tools.parity.model import CouldNotRead
from tools.parity.safe_directory import trust_directory

_STABLE = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_CANDIDATE = re.compile(r"(\d+)\.(\d+)\.(\d+)-rc\.(\d+)")
_OLDEST = (1, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit: its id, the id of its tree, its committer's time in seconds since 1970."""

    id: str
    tree: str
    committed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeEntry:
    """A file below a directory: its path relative to it, and its mode in an image (octal digits)."""

    path: str
    mode: str


class Repository:
    """A clone of Istio; bare or not."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        environment = {**os.environ, "LC_ALL": "C", **trust_directory(directory)}
        self._environment = environment
        self._batch = subprocess.Popen(
            ["git", "-C", str(directory), "cat-file", "--batch"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        self._object = lru_cache(maxsize=20_000)(self._ask)

    def close(self) -> None:
        """End git."""
        for pipe in (self._batch.stdin, self._batch.stdout):
            if pipe:
                pipe.close()
        self._batch.wait()

    def releases(self) -> tuple[str, ...]:
        """All stable tags from 1.10.0 on, oldest first, then the newest release candidate that is ahead of them."""
        listing = subprocess.run(
            ["git", "-C", str(self._directory), "tag", "--list"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        stable = sorted(_numbers(found) for tag in listing if (found := _STABLE.fullmatch(tag)))
        candidates = sorted(_numbers(found) for tag in listing if (found := _CANDIDATE.fullmatch(tag)))
        newest = [numbers for numbers in candidates[-1:] if not stable or numbers[:3] > stable[-1]]
        names = [".".join(map(str, numbers)) for numbers in stable if numbers[:2] >= _OLDEST]
        return (*names, *(f"{major}.{minor}.{patch}-rc.{number}" for major, minor, patch, number in newest))

    def commit(self, tag: str) -> Commit:
        """The commit that a tag names. Raises CouldNotRead."""
        found = self._object(f"{tag}^{{commit}}")
        if found is None:
            raise CouldNotRead(f"there is no tag {tag}")
        text = found[2].decode(errors="replace")
        tree, committer = re.search(r"^tree (\S+)", text, re.M), re.search(r"^committer .* (\d+) [-+]\d+$", text, re.M)
        if not tree or not committer:
            raise CouldNotRead(f"commit {found[0]} is malformed")
        return Commit(id=found[0], tree=tree[1], committed_at=int(committer[1]))

    def find_text(self, tag: str, path: str) -> str | None:
        """A file's text, None where there is no such file."""
        found = self._object(f"{tag}:{path}")
        return found[2].decode() if found and found[1] == "blob" else None

    def text(self, tag: str, path: str) -> str:
        """A file's text. Raises CouldNotRead where it is not there."""
        text = self.find_text(tag, path)
        if text is None:
            raise CouldNotRead(f"{path} is not there")
        return text

    def is_directory(self, tag: str, path: str) -> bool:
        """Whether this is a directory."""
        found = self._object(f"{tag}:{path}")
        return bool(found and found[1] == "tree")

    def has_file(self, tag: str, path: str) -> bool:
        """Whether this is a file."""
        return self.find_text(tag, path) is not None

    def mode(self, tag: str, path: str) -> str:
        """The mode that a file of the tree has in a build context. Raises CouldNotRead where it is not there."""
        directory, _, name = path.rpartition("/")
        found = {entry.path: entry.mode for entry in self._children(tag, directory)}
        if name not in found:
            raise CouldNotRead(f"{path} is not there")
        return found[name]

    def files(self, tag: str, path: str) -> tuple[TreeEntry, ...]:
        """All files below a directory. Raises CouldNotRead where it is none, or holds links."""
        entries: list[TreeEntry] = []
        for entry in self._children(tag, path):
            if entry.mode != "directory":
                entries.append(entry)
                continue
            entries += [
                TreeEntry(path=f"{entry.path}/{below.path}", mode=below.mode) for below in self.files(tag, f"{path}/{entry.path}")
            ]
        return tuple(sorted(entries, key=lambda entry: entry.path))

    def _children(self, tag: str, path: str) -> Iterator[TreeEntry]:
        # A checkout has the modes that git knows, less a umask of 022, and git knows only these two.
        modes = {b"100644": "0644", b"100755": "0755", b"40000": "directory"}
        found = self._object(f"{tag}:{path}")
        if found is None or found[1] != "tree":
            raise CouldNotRead(f"{path or 'the root'} is not a directory")
        rest, size = found[2], len(found[0]) // 2
        while rest:
            mode, _, rest = rest.partition(b" ")
            name, _, rest = rest.partition(b"\0")
            rest = rest[size:]
            yield TreeEntry(path=name.decode(), mode=modes.get(mode, f"git mode {mode.decode()}"))

    def _ask(self, name: str) -> tuple[str, str, bytes] | None:
        stdin, stdout = self._pipes()
        stdin.write(f"{name}\n".encode())
        stdin.flush()
        header = stdout.readline().decode().split()
        if header[-1] == "missing":
            return None
        if len(header) != 3:
            raise CouldNotRead(f"git says {' '.join(header)!r} of {name}; is this a clone of istio/istio?")
        content = stdout.read(int(header[2]))
        stdout.read(1)
        return header[0], header[1], content

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._batch.stdin
        assert self._batch.stdout
        return self._batch.stdin, self._batch.stdout


def _numbers(found: re.Match[str]) -> tuple[int, ...]:
    return tuple(int(number) for number in found.groups())
