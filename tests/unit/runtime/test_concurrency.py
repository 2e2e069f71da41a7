"""A task that fails ends the others of its group, and nothing else."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from builder.errors import ArtifactError, Interrupted
from builder.net.download import HttpDownloader
from builder.net.session import Waiting
from builder.runtime.cancellation import Cancellation, TaskGroup
from builder.runtime.concurrency import finish_or_end
from builder.runtime.retry import RetryPolicy
from tests.fakes.fault_server import FaultServer, Stall, TinyRegistry

# What is not ended waits for as long as this.
PATIENCE = 10.0
# What is ended ends in milliseconds.
SOON = 4.0


@pytest.fixture
def run() -> Cancellation:
    return Cancellation()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield pool


def fail() -> None:
    raise ArtifactError("it broke")


def finish(tasks: list[Callable[[], Any]], group: TaskGroup, pool: ThreadPoolExecutor) -> None:
    finish_or_end([pool.submit(task) for task in tasks], group, "interrupted; nothing was tagged")


def test_all_that_goes_well_goes_to_its_end(run: Cancellation, pool: ThreadPoolExecutor) -> None:
    group = run.group()
    done: list[int] = []
    finish([lambda: done.append(1), lambda: done.append(2)], group, pool)
    assert sorted(done) == [1, 2]
    assert not group.is_set()


def test_a_failure_ends_its_group_and_a_sibling_goes_on_to_its_end(run: Cancellation, pool: ThreadPoolExecutor) -> None:
    group, sibling = run.group(), run.group()
    failed, done = threading.Event(), threading.Event()

    def go_on() -> None:
        assert failed.wait(PATIENCE)
        sibling.wait(0.2)
        done.set()

    other = pool.submit(finish, [go_on], sibling, pool)
    started = time.monotonic()
    with pytest.raises(ArtifactError, match="it broke"):
        finish([lambda: group.wait(PATIENCE), fail], group, pool)
    assert time.monotonic() - started < SOON
    failed.set()
    other.result()
    assert done.is_set()
    assert (group.is_set(), sibling.is_set(), run.is_set()) == (True, False, False)
    run.check()


def test_interrupting_the_run_ends_all_its_groups(run: Cancellation, pool: ThreadPoolExecutor) -> None:
    groups = [run.group(), run.group()]
    waiting = [pool.submit(finish, [partial(group.wait, PATIENCE)], group, pool) for group in groups]
    started = time.monotonic()
    run.set()
    for future in waiting:
        with pytest.raises(Interrupted, match="nothing was tagged"):
            future.result()
    assert time.monotonic() - started < SOON
    with pytest.raises(Interrupted):
        run.group().check()


def test_what_fails_after_an_interruption_is_not_told(run: Cancellation, pool: ThreadPoolExecutor) -> None:
    def interrupt_and_fail() -> None:
        run.set()
        fail()

    with pytest.raises(Interrupted, match="nothing was tagged"):
        finish([interrupt_and_fail], run.group(), pool)


def test_the_failure_within_a_task_is_told_whoever_ends_first_because_of_it(run: Cancellation, pool: ThreadPoolExecutor) -> None:
    """A task waits for its own tasks before it fails; what it ended may say anything meanwhile."""
    group = run.group()
    told = threading.Event()

    def be_slow_to_end() -> None:
        with pytest.raises(Interrupted):
            group.wait(PATIENCE)
        assert told.wait(PATIENCE)

    def be_ended() -> None:
        with pytest.raises(Interrupted):
            group.wait(PATIENCE)
        # The task that failed is still waiting for its other one.
        threading.Timer(0.2, told.set).start()
        raise ArtifactError("context canceled")

    with pytest.raises(ArtifactError, match="it broke"):
        finish([lambda: finish([fail, be_slow_to_end], group, pool), be_ended], group, pool)


def make_downloader(group: TaskGroup) -> HttpDownloader:
    downloader = HttpDownloader(retry=RetryPolicy(sleep=group.wait), waiting=Waiting(check_interrupted=group.check))
    group.on_set(downloader.abort)
    return downloader


def test_who_waits_for_a_host_ends_with_its_group_alone(run: Cancellation, pool: ThreadPoolExecutor, tmp_path: Path) -> None:
    group, sibling = run.group(), run.group()
    storage = TinyRegistry()
    with FaultServer(storage).running() as server:
        server.inject("GET", "/stalls", Stall())
        theirs = make_downloader(group)

        def wait_for_it() -> None:
            theirs.download(f"{server.url}/stalls", "0" * 64, tmp_path / "file")

        def fail_meanwhile() -> None:
            group.wait(0.3)
            fail()

        started = time.monotonic()
        with pytest.raises(ArtifactError, match="it broke"):
            finish([wait_for_it, fail_meanwhile], group, pool)
        assert time.monotonic() - started < SOON
        assert not make_downloader(sibling).exists(f"{server.url}/nothing")


def test_what_is_protected_is_so_in_the_run_and_all_its_groups(run: Cancellation) -> None:
    group = run.group()
    killed: list[int] = []
    group.on_kill(lambda: killed.append(1))
    with group.protected():
        run.set()
        group.check_unprotected()
    assert run.was_protected
    with pytest.raises(Interrupted):
        group.check_unprotected()
    run.kill()
    assert killed == [1]
