"""Whole runs, as users start them, against real registries of several makers and settings."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.fault_server import FaultServer, Received, Reply, error_reply
from tests.fakes.forwarder import Forwarder
from tests.real.program import Ended
from tests.real.registry import MAKERS, registry_program, running_registry
from tests.real.site import Site, digests_by_tag, tags_named
from tests.samples.releases import TAGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What came of a hub's day: two releases, one that failed in the middle of its tags, going back, and promoting."""

    first: Mapping[str, str]
    second: Mapping[str, str]
    failed: Ended
    after_failure: Mapping[str, str]
    new_after_failure: Mapping[str, str]
    uploaded: tuple[int, int]
    back: Mapping[str, str]
    after_rollback: Mapping[str, str]
    promoted: Mapping[str, str]
    at_target: Mapping[str, str]
    verified: Ended
    records: Mapping[str, str]


RECORDS = dict.fromkeys(TAGS, ("istio-build-run",))


def live_through(host: str, work: Path) -> Story:
    """All of it, at a registry of its own, the address in front of which lets no tag `v2-distroless` pass."""

    def refuse(received: Received) -> Reply | None:
        refused = received.method == "PUT" and received.path.endswith("/v2-distroless")
        return error_reply(403, "DENIED", "not this one") if refused else None

    with FaultServer(Forwarder(host, refuse)).running() as front:
        site = Site(front.host, work)
        first = site.push("one")
        again = site.push("one")
        failed = site.push("two", "--tag", "v1,v2")
        after_failure, new = site.tags(), site.tags(names=tags_named("v1", "v2"))
        second = site.push("two")
        rollback = site.run("rollback", "--hub", site.hub, "--tag", "v1", "--output-format", "json", cache="operator")
        after_rollback = site.tags()
        to = ("--hub", f"{site.host}/prod", "--tag", "p1", "--output-format", "json")
        promoted = site.run("promote", "--from", f"{site.hub}:v1", *to, cache="promoter")
        names = [f"{site.hub}/{name}" for name in digests_by_tag(first)]
        return Story(
            first=digests_by_tag(first),
            second=digests_by_tag(second),
            failed=failed,
            after_failure=after_failure,
            new_after_failure=new,
            uploaded=(first.report()["traffic"]["blobs_uploaded"], again.report()["traffic"]["blobs_uploaded"]),
            back=digests_by_tag(rollback),
            after_rollback=after_rollback,
            promoted=digests_by_tag(promoted),
            at_target=site.tags("prod", tags_named("v1", "p1")),
            verified=site.run("verify", *names, "--compare-with", "none", "--format", "json", cache="reader"),
            records=site.tags(names=RECORDS),
        )


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Story]]:
    """What happened at the registry of a maker. They are all begun at once: most of their time is waiting."""
    with ExitStack() as running, ThreadPoolExecutor() as threads:
        begun: dict[str, Future[Story]] = {}
        for name, maker in MAKERS.items():
            if maker.find():
                work = tmp_path_factory.mktemp(name)
                host = running.enter_context(running_registry(maker.find(), work, maker=name))
                begun[name] = threads.submit(live_through, host, work)

        def told(maker: str) -> Story:
            registry_program(f"tests/process/test_registries.py[{maker}]", maker)
            return begun[maker].result()

        yield told
        threads.shutdown()


@pytest.mark.parametrize("name", MAKERS)
class TestEveryMaker:
    def test_a_release_is_pushed_once_and_seen_whole(self, stories: Callable[[str], Story], name: str) -> None:
        story = stories(name)
        assert story.uploaded[0] > 0
        assert story.uploaded[1] == 0
        assert set(story.first) == {f"{image}:{tag}" for image, tags in TAGS.items() for tag in tags}
        assert story.first.keys() == story.second.keys()
        assert all(story.first[tag] != story.second[tag] for tag in story.first)
        assert story.verified.code == 0, story.verified.stderr
        images = json.loads(story.verified.stdout)["images"]
        assert {image["digest"] for image in images} == set(story.first.values())

    def test_a_release_that_fails_among_its_tags_is_taken_back(self, stories: Callable[[str], Story], name: str) -> None:
        story, maker = stories(name), MAKERS[name]
        assert story.failed.code == 15, story.failed.stderr
        assert "not this one" in story.failed.stderr
        assert story.after_failure == story.first, "tags that were there are back"
        if maker.deletes_tags:
            assert story.new_after_failure == {}, "tags that are new are gone"
        else:
            assert story.new_after_failure
            assert all(f"{tag}" in story.failed.stderr for tag in story.new_after_failure)

    def test_tags_go_back_and_a_release_is_promoted(self, stories: Callable[[str], Story], name: str) -> None:
        story = stories(name)
        assert story.back == story.after_rollback == story.first
        assert sorted(story.promoted.values()) == sorted(story.first.values())
        assert story.at_target == story.promoted

    def test_no_run_is_left_that_seems_to_go_on(self, stories: Callable[[str], Story], name: str) -> None:
        """Where tags cannot be deleted, its record stays and says that nobody is there."""
        assert bool(stories(name).records) == (not MAKERS[name].deletes_tags)
