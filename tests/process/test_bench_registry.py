"""The benchmark's registry: comes back to its bases, and counts what it is asked. With the real program."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from builder.oci.layout import Layout
from builder.oci.reference import ImageReference
from builder.registry.client import HttpRegistry
from builder.runtime.retry import RetryPolicy
from tests.real.registry import registry_program
from tests.samples.images import AMD64, ARM64, BASE_LAYER, add_image, make_config, write_image_index
from tools.bench.process import BenchError
from tools.bench.registry import BenchRegistry, copy_image, read_platforms


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[BenchRegistry]:
    """With a base image in it, which it remembers."""
    registry_program("the benchmark's registry")
    registry = BenchRegistry(tmp_path / "registry")
    registry.start()
    try:
        push(f"{registry.host}/istio-base/base:1", tmp_path / "layout")
        registry.stop()
        registry.remember()
        registry.start()
        yield registry
    finally:
        registry.stop()


def push(name: str, root: Path) -> None:
    reference = ImageReference.parse(name)
    root.mkdir()
    client = HttpRegistry(credentials=lambda _: None, retry=RetryPolicy(sleep=time.sleep))
    layout = write_image_index(
        root, {platform: add_image(Layout(root), make_config(platform), [BASE_LAYER]) for platform in (AMD64, ARM64)}
    )
    for child in layout.index().children():
        manifest = layout.manifest(child)
        for blob in (manifest.config(), *manifest.layers()):
            client.push_blob(reference.repository, blob, partial(layout.blob, blob.digest))
        client.put_manifest(reference.repository, manifest)
    client.put_tag(reference, layout.index())


def test_an_image_is_copied_whole_and_gone_after_a_reset(registry: BenchRegistry) -> None:
    base, copy = f"{registry.host}/istio-base/base:1", f"{registry.host}/bench/pilot:bench-debug"
    copy_image(base, copy)
    assert read_platforms(copy) == read_platforms(base)
    assert read_platforms(copy)[1] == {"linux/amd64", "linux/arm64"}
    host = registry.host
    registry.reset()
    assert registry.host == host
    assert read_platforms(base)[1] == {"linux/amd64", "linux/arm64"}
    with pytest.raises(BenchError, match="404"):
        read_platforms(copy)


def test_requests_are_counted_from_a_mark(registry: BenchRegistry) -> None:
    base = f"{registry.host}/istio-base/base:1"
    read_platforms(base)
    mark = registry.mark()
    assert registry.requests_since(mark) == {}
    read_platforms(base)
    # The index, and for each platform a manifest and a configuration.
    assert registry.requests_since(mark) == {"GET": 5}
