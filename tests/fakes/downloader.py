"""A `ports.Downloader` without a network: files and texts by their URL."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import ArtifactError, ChecksumError
from builder.oci.reference import Digest


@dataclass
class FakeDownloader:
    """`files` are what is published; `asked` has every URL in order, for a text or a file; `probed` those
    of which it was only asked whether they are there."""

    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    probed: list[str] = field(default_factory=list)

    def read_text(self, url: str) -> str | None:
        self.asked.append(url)
        content = self.files.get(url)
        return None if content is None else content.decode()

    def exists(self, url: str) -> bool:
        self.probed.append(url)
        return url in self.files

    def download_unsummed(self, url: str, into: Path) -> str:
        self.asked.append(url)
        if url not in self.files:
            raise ArtifactError(f"cannot download {url}: HTTP 404")
        into.write_bytes(self.files[url])
        return Digest.of(self.files[url]).hex

    def download(self, url: str, sha256: str, into: Path, *, on_bytes: Callable[[int, int], None] | None = None) -> None:
        self.asked.append(url)
        content = self.files.get(url)
        if content is None:
            raise ArtifactError(f"cannot download {url}: HTTP 404")
        if Digest.of(content).hex != sha256:
            raise ChecksumError(f"{url} is not what it should be")
        into.write_bytes(content)
        if on_bytes:
            on_bytes(len(content), len(content))
