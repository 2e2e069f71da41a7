"""Where files are kept, and that a job's directory is one run's alone."""

import threading
import time
from pathlib import Path

import pytest

from builder.cache.workspace import Workspace, find_cache


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({"ISTIO_BUILD_CACHE": "/scratch", "XDG_CACHE_HOME": "/x", "HOME": "/home/me"}, "/scratch"),
        ({"XDG_CACHE_HOME": "/x", "HOME": "/home/me"}, "/x/istio-build"),
        ({"HOME": "/home/me"}, "/home/me/.cache/istio-build"),
        ({"ISTIO_BUILD_CACHE": "", "HOME": "/home/me"}, "/home/me/.cache/istio-build"),
    ],
)
def test_the_cache_is_where_the_user_keeps_caches(environment: dict[str, str], place: str) -> None:
    assert find_cache(environment) == Path(place)


def test_a_relative_cache_means_the_same_wherever_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_cache({"ISTIO_BUILD_CACHE": "cache"}) == tmp_path / "cache"


def test_a_job_is_a_tree_and_a_hub(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    found = set()
    for tree, hub in [("a", "h"), ("a", "i"), ("b", "h"), ("a", "h")]:
        with workspace.job(tmp_path / tree, hub, lambda: pytest.fail("waited"), time.sleep) as directory:
            found.add(directory)
    assert len(found) == 3


def test_a_second_run_of_a_job_says_that_it_waits_and_then_goes_on(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    waiting = threading.Event()
    order: list[str] = []

    def second() -> None:
        with workspace.job(tmp_path, "hub", waiting.set, time.sleep):
            order.append("second")

    thread = threading.Thread(target=second)
    with workspace.job(tmp_path, "hub", lambda: pytest.fail("waited"), time.sleep):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
