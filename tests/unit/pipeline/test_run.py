"""Publishing from end to end on a registry in memory: what is told of the tags is true at every moment."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from builder import __version__
from builder.errors import BuilderError, Interrupted, NotReadBack, PublishError, RegistryError, VerifyError
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.report import Report
from builder.pipeline.run import publish_release
from builder.publish.lease_times import LeaseTimes
from builder.publish.publication import Release
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Progress
from tests.fakes.registry import FakeRegistry
from tests.unit.publish.test_publication import HUB, make_release, moves_tag

TAGS = 6


class Run:
    """One release going to a hub that holds an older one; `registry` is what the run sees of it, and fails as told."""

    def __init__(self, work: Path) -> None:
        self.old = make_release(work, "old", FakeRegistry())
        self.old.publish()
        self.before = self.old.tags()
        self.new = make_release(work, "new", self.old.registry)
        self.cancellation = Cancellation()
        self.registry = _view(self.old.registry, self.cancellation)
        self.work = work

    def publish(self) -> Report:
        context = PublishContext(
            registry=self.registry,
            rollback_tags=_view(self.old.registry),
            journals=self.work / "journals",
            progress=Progress(lambda event: None),
            cancellation=self.cancellation.group(),
            lease_times=LeaseTimes(settle=0.001),
        )
        states = {entry.key: "built" for entry in self.new.publications}
        built = Release(version="1.29", hub=str(HUB), publications=self.new.publications)
        return publish_release(built, states, context, 0.0)

    def interrupt_at(self, number: int) -> None:
        """Ctrl-C while this call to the registry, counted from 0, is being answered."""
        count = iter(range(10**6))
        lock = threading.Lock()

        def hook(operation: str, key: str) -> None:
            with lock:
                if next(count) == number:
                    self.cancellation.set()

        self.registry.fail_after = hook

    def fail_at(self, number: int) -> None:
        """Have this call to the registry, counted from 0, fail."""
        count = iter(range(10**6))
        self.registry.fail_on = lambda operation, key: RegistryError("injected", status=500) if next(count) == number else None


def _view(registry: FakeRegistry, cancellation: Cancellation | None = None) -> FakeRegistry:
    """The same content through a client of its own, which as a real one sends nothing once its run is interrupted."""
    view = FakeRegistry()
    view.manifests, view.blobs = registry.manifests, registry.blobs
    if cancellation:
        view.fail_on = lambda operation, key: cancellation.check()
    return view


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[[str], Run]:
    return lambda name: Run(tmp_path / name)


def test_a_release_is_uploaded_read_back_and_tagged_in_this_order(make_run: Callable[[str], Run]) -> None:
    run = make_run("run")
    report = run.publish()
    assert run.new.tags() == run.new.wanted()
    assert report.traffic is not None
    assert report.traffic.tags_moved == TAGS
    assert (report.version, report.builder_version) == ("1.29", __version__)
    first_tag = next(number for number, (operation, key) in enumerate(run.registry.log) if operation == "put_tag")
    assert {operation for operation, _ in run.registry.log[first_tag:]} == {"put_tag", "get_manifest"}
    assert "has_blob" in {operation for operation, _ in run.registry.log[:first_tag]}


def test_wherever_it_is_interrupted_what_is_told_is_so(make_run: Callable[[str], Run]) -> None:
    """Ctrl-C during every single call: code 130 means the tags are where they were, 19 that all have moved."""
    counted = make_run("count")
    counted.publish()
    total = len(counted.registry.log)
    told = set()
    for number in range(total):
        run = make_run(str(number))
        run.interrupt_at(number)
        try:
            run.publish()
            tags, code = run.new.wanted(), 0
        except Interrupted as error:
            told_of_tags = bool(re.search("no tag has moved|every tag is where it was before", error.message))
            tags, code = run.before if told_of_tags else {}, error.exit_code
        except NotReadBack as error:
            told_of_tags = "all 6 tags were at this release" in error.message
            tags, code = run.new.wanted() if told_of_tags else {}, error.exit_code
        assert run.new.tags() == tags, f"interrupted in call {number} of {total}, exit code {code}"
        told.add(code)
    # In the very last call nothing is left that could be interrupted.
    assert told == {0, 19, 130}


def test_wherever_the_registry_fails_what_is_told_is_so(make_run: Callable[[str], Run]) -> None:
    counted = make_run("count")
    counted.publish()
    for number in range(len(counted.registry.log)):
        run = make_run(str(number))
        run.fail_at(number)
        with pytest.raises(BuilderError, match="injected") as raised:
            run.publish()
        moved = isinstance(raised.value, VerifyError)
        assert ("all tags have moved" in raised.value.message) is moved
        assert run.new.tags() == (run.new.wanted() if moved else run.before), f"call {number}: {raised.value.message}"


def test_content_that_the_hub_lost_is_found_before_any_tag_moves(make_run: Callable[[str], Run]) -> None:
    run = make_run("run")
    pilot = HUB.repository("pilot")
    arm64 = run.new.publications[1].index.children()[1]

    def lose(operation: str, key: str) -> None:
        if operation == "put_manifest" and key.endswith(str(run.new.publications[1].index.digest)):
            del run.old.registry.manifests[pilot][str(arm64.digest)]

    run.registry.fail_after = lose
    with pytest.raises(VerifyError, match=f"no tag has moved:\n.*linux/arm64: its manifest {arm64.digest} is missing"):
        run.publish()
    assert run.new.tags() == run.before


def test_a_failed_undo_is_told(make_run: Callable[[str], Run]) -> None:
    """Interrupted, but not every tag could be put back: that is no 130."""
    run = make_run("run")
    release = run.new
    for image in ("istioctl", "pilot", "proxyv2"):
        run.old.registry.manifests[HUB.repository(image)].pop("1.29")
    run.old.registry.can_delete_tags = False
    tags = []

    def interrupt(operation: str, key: str) -> None:
        if moves_tag(operation, key):
            tags.append(key)
            if len(tags) == 2:
                run.cancellation.set()

    run.registry.fail_after = interrupt
    with pytest.raises(PublishError, match=r"not every tag could be put back:\n.*istioctl:1\.29 is new"):
        _publish_where_tags_stay(run)
    assert release.tags()["istioctl:1.29"] == release.wanted()["istioctl:1.29"]


def _publish_where_tags_stay(run: Run) -> None:
    undoing = _view(run.old.registry)
    undoing.can_delete_tags = False
    release = run.new
    release.registry = run.registry
    release.pause = run.cancellation.wait
    release.publish(undoing)
