"""The releases that schedules push, and a hub that has one of them already."""

import atexit
import functools
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.reference import Digest, Hub, ImageReference
from builder.publish.content import LayoutContent
from builder.publish.publication import Publication, Release
from tests.fakes.registry import FakeRegistry
from tests.unit.publish.test_publication import make_layout

HUB = Hub.parse("hub.test/istio")
IMAGES = ("pilot", "proxyv2")
# What the hub has when a schedule begins, under this tag alone; the other one is new.
OLD, OLD_TAG, NEW_TAG = "old", "1.29", "1.30"
# What runs push; what somebody else moves tags to; and what is pushed when all of that is over.
RELEASES = ("a", "b", "c")
FOREIGN, LAST, AGAIN = "foreign", "last", "again"


@dataclass(frozen=True)
class Ground:
    """Every release's layouts, made once; `names` says of an index whose it is."""

    layouts: dict[tuple[str, str], Layout]
    indexes: dict[tuple[str, str], Manifest]
    names: dict[Digest, str]
    content: dict[tuple[str, str], tuple[dict[str, Manifest], dict[Digest, bytes]]]

    def release(self, name: str, tags: Iterable[str], *, sends: bool) -> Release:
        """A release with these tags; without its content where the hub has that."""
        publications = tuple(
            Publication(
                key=image,
                index=self.indexes[name, image],
                references=tuple(HUB.repository(image).at(tag) for tag in tags),
                content=LayoutContent(self.layouts[name, image]) if sends else None,
            )
            for image in IMAGES
        )
        return Release(version="1.29.0", hub=str(HUB), publications=publications)

    def hub(self, without: Iterable[str] = (), **settings: bool) -> FakeRegistry:
        """A registry that has the content of all releases but these, and the old one under its tag."""
        registry = FakeRegistry(**settings)
        for (name, image), (manifests, blobs) in self.content.items():
            if name not in without:
                registry.manifests[HUB.repository(image)].update(manifests)
                registry.blobs[HUB.repository(image)].update(blobs)
        for image in IMAGES:
            registry.manifests[HUB.repository(image)][OLD_TAG] = self.indexes[OLD, image]
        return registry


def _read(layout: Layout) -> tuple[dict[str, Manifest], dict[Digest, bytes]]:
    """All that a repository has of an image."""
    index, content = layout.index(), LayoutContent(layout)
    manifests = [content.manifest(child) for child in index.children()]
    blobs = {blob.digest for manifest in manifests for blob in (manifest.config(), *manifest.layers())}
    return (
        {str(manifest.digest): manifest for manifest in (*manifests, index)},
        {digest: layout.blob(digest).read_bytes() for digest in blobs},
    )


@functools.cache
def ground() -> Ground:
    """It stays for the life of the process."""
    directory = fast_directory()
    names = (OLD, *RELEASES, FOREIGN, LAST, AGAIN)
    layouts = {(name, image): make_layout(directory / name / image, f"{image} {name}") for name in names for image in IMAGES}
    indexes = {key: layout.index() for key, layout in layouts.items()}
    content = {key: _read(layout) for key, layout in layouts.items()}
    return Ground(layouts, indexes, {index.digest: name for (name, _), index in indexes.items()}, content)


_DIRECTORIES: list[Path] = []


def fast_directory() -> Path:
    """A directory of its own, in memory where there is such a thing: journals are written through to the disk."""
    shared = Path("/dev/shm")
    within = shared if shared.is_dir() and _is_writable(shared) else None
    _DIRECTORIES.append(Path(tempfile.mkdtemp(prefix="istio-build-faults-", dir=within)))
    return _DIRECTORIES[-1]


@atexit.register
def remove_directories() -> None:
    """At the end of all tests, or of the process."""
    while _DIRECTORIES:
        shutil.rmtree(_DIRECTORIES.pop(), ignore_errors=True)


def _is_writable(directory: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=directory):
            return True
    except OSError:
        return False


def all_references(tags: Iterable[str]) -> tuple[ImageReference, ...]:
    """These tags of all images."""
    return tuple(HUB.repository(image).at(tag) for tag in tags for image in IMAGES)
