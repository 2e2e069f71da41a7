"""What a digest names is asked for once in a look; tags, and what failed, are asked for again."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.errors import RegistryError
from builder.images.one_look import OneLook
from builder.images.pull import pull
from builder.oci.layout import Layout
from builder.oci.reference import ImageReference
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64, ARM64, BASE_LAYER, add_image, make_config, write_image_index
from tests.samples.seeding import seed

TAG = ImageReference.parse("hub.test/istio/pilot:1.29")


@pytest.fixture
def registry(tmp_path: Path) -> FakeRegistry:
    """Holds one image for two platforms, of the same layer."""
    registry = FakeRegistry()
    layout = Layout(tmp_path)
    images = {platform: add_image(layout, make_config(platform), [BASE_LAYER]) for platform in (AMD64, ARM64)}
    seed(registry, write_image_index(tmp_path, images), TAG)
    registry.log.clear()
    return registry


def test_a_second_image_of_the_same_content_asks_for_its_tag_alone(registry: FakeRegistry) -> None:
    look = OneLook(registry)
    first = pull(TAG, look)
    # The index, two manifests, two configurations, and the one layer that both have.
    assert len(registry.log) == len(set(registry.log)) == 6
    registry.log.clear()
    assert pull(TAG, look) == first
    assert registry.log == [("get_manifest", str(TAG))]


def test_what_is_missing_is_missing(registry: FakeRegistry) -> None:
    registry.blobs[TAG.repository].clear()
    assert [problem.partition(":")[2] for problem in pull(TAG, OneLook(registry)).problems] == [
        " its configuration is missing",
        " its configuration is missing",
    ]


def test_what_failed_is_asked_for_again(registry: FakeRegistry) -> None:
    failures = iter([RegistryError("reset", status=503)])
    registry.fail_on = lambda operation, key: next(failures, None) if operation == "has_blob" else None
    look = OneLook(registry)
    with pytest.raises(RegistryError, match="reset"):
        pull(TAG, look)
    assert pull(TAG, look).problems == ()


def test_whoever_asks_meanwhile_waits_for_the_first(registry: FakeRegistry) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(operation: str, key: str) -> Exception | None:
        if operation == "has_blob":
            asked.set()
            assert go_on.wait(10)
        return None

    registry.fail_on = slow
    look = OneLook(registry)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(pull, TAG, look) for _ in range(2)]
        assert asked.wait(10)
        go_on.set()
        assert both[0].result() == both[1].result()
    assert len(registry.operations("has_blob")) == 1
