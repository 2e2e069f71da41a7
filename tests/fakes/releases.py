"""A fake `pipeline.offline.Releases`: the tags of repositories, by their address."""

from collections.abc import Mapping
from pathlib import Path

from builder.errors import SourceError
from builder.ports import TreeState


class FakeReleases:
    """`asked` has every repository that was asked for its tags, in order."""

    def __init__(self, tags: Mapping[str, tuple[str, ...]]) -> None:
        self._tags = tags
        self.asked: list[str] = []

    def list_tags(self, url: str) -> tuple[str, ...]:
        self.asked.append(url)
        if url not in self._tags:
            raise SourceError(f"git ls-remote failed: {url} not found")
        return self._tags[url]

    def checkout_release(self, url: str, tag: str) -> Path:
        raise SourceError(f"there is no release {tag} at {url}")

    def describe(self, tree: Path) -> TreeState:
        raise SourceError(f"{tree} is not a git checkout")
