"""Two machines at one hub: a lease keeps them apart, and what one left that died is settled by the other."""

import contextlib
import dataclasses
import json
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builder.errors import AccessDenied, Interrupted, JournalError, PublishError, RegistryError
from builder.oci.manifest import Manifest
from builder.oci.reference import RECORD_TAG, Digest, Hub, Repository
from builder.publish.hub_record import HubRecord, Lease, NotedMove, read_record, record_reference, write_record
from builder.publish.lease_times import LeaseTimes
from builder.publish.upload import Uploads
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Progress
from tests.fakes.registry import FakeRegistry
from tests.unit.publish.test_publication import (
    HUB,
    IMAGES,
    Clock,
    Killed,
    Release,
    _fail_tag,
    _kill_after,
    _view,
    make_release,
    moves_tag,
)

PILOT = HUB.repository("pilot")
# What every machine here calls the beginning.
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def old(tmp_path: Path) -> Release:
    release = make_release(tmp_path, "old", FakeRegistry())
    release.publish()
    return release


@pytest.fixture
def new(old: Release) -> Release:
    return make_release(old.work, "new", old.registry)


@pytest.fixture
def other(old: Release) -> Release:
    """Another release for the same tags, of another machine."""
    return make_release(old.work, "other", old.registry).elsewhere()


def of_1_29(release: Release) -> dict[str, Digest]:
    return {name: digest for name, digest in release.tags().items() if ":1.29" in name}


def upload(release: Release) -> None:
    """Send its content, and move no tag."""
    with Uploads(release.registry, Progress(lambda event: None), Cancellation().group()) as uploads:
        uploads.publish(release.publications)


def record_at(release: Release, repository: Repository = PILOT) -> HubRecord:
    manifest = release.registry.record(repository)
    assert manifest is not None
    return read_record(record_reference(repository), manifest)


def put_record(release: Release, record: HubRecord, repository: Repository = PILOT) -> Manifest:
    manifest = write_record(record)
    release.registry.manifests[repository][RECORD_TAG] = manifest
    return manifest


def make_lease(run: str = "theirs", expires: float = 60.0) -> Lease:
    return Lease(run=run, owner="their machine", started=START, expires=START + timedelta(seconds=expires), seconds=60)


class TestARunThatDiedOnAnotherMachine:
    """Machine 1 is killed after each single request of its tag phase, and is gone; machine 2 comes with a cache of its own."""

    @pytest.mark.parametrize("what", ["the same", "another", "other tags", "one image"])
    def test_is_finished_or_undone_by_the_next(self, old: Release, new: Release, other: Release, what: str) -> None:
        for release in (new, other):
            upload(release)
        next_one = {
            "the same": new.elsewhere(),
            "another": other,
            "other tags": make_release(old.work / "next", "next", old.registry, tags=("1.30",)).elsewhere(),
            "one image": dataclasses.replace(new.elsewhere(), publications=new.publications[1:2]),
        }[what]
        last = make_release(old.work / "last", "last", old.registry, tags=("1.31",))
        for release in (next_one, last):
            upload(release)
        before = old.tags()
        outcomes = set()
        for number in self._numbers(new):
            first, second = self._machines(new, next_one, number)
            tags = of_1_29(first)
            second.mover().move(second.publications)
            expected = {
                "the same": new.wanted(),
                "another": other.wanted(),
                # All had moved already: that release is whole, and stays.
                "other tags": new.wanted() if tags == new.wanted() else before,
                "one image": new.wanted() if tags == new.wanted() else before | next_one.wanted(),
            }[what]
            assert of_1_29(second) == expected, f"killed after request {number}"
            assert second.wanted().items() <= second.tags().items()
            # A record may stay where nobody has come since, if its run had not begun to move anything, or had ended that.
            assert not set(second.records()) & {entry.key for entry in second.publications}
            # Its own cache, which machine 1 may yet have, changes nothing any more.
            dataclasses.replace(first, publications=last.publications).mover().move(last.publications)
            assert of_1_29(second) == expected, f"killed after request {number}, and run again"
            outcomes.add(tuple(sorted(tags.items())) == tuple(sorted(before.items())))
        assert outcomes == {True, False}

    def _numbers(self, new: Release) -> range:
        counted = dataclasses.replace(new, registry=_copy(new.registry), cache=new.work / "counted")
        counted.mover().move(counted.publications)
        return range(len(counted.registry.log))

    def _machines(self, new: Release, next_one: Release, number: int) -> tuple[Release, Release]:
        """Both at a hub of their own, after the first has been killed."""
        registry = _copy(new.registry)
        first = dataclasses.replace(new, registry=registry, cache=new.work / f"cache {number}", clock=Clock())
        count = iter(range(10**6))

        def kill(operation: str, key: str) -> Exception | None:
            if next(count) >= number:
                raise Killed
            return None

        registry.fail_after = kill
        with pytest.raises(Killed):
            first.mover().move(first.publications)
        registry.fail_after = lambda operation, key: None
        return first, dataclasses.replace(next_one, registry=_view(registry), cache=new.work / f"second {number}", clock=Clock())

    def test_what_a_third_party_has_moved_since_is_left_and_told(self, new: Release, other: Release) -> None:
        _kill_after(new, 4)
        theirs = make_release(new.work / "theirs", "theirs", new.registry).publications[1].index
        new.registry.manifests[PILOT]["1.29"] = theirs
        before = new.tags()
        second = make_release(new.work / "next", "next", new.registry, tags=("1.30",)).elsewhere()
        second.publish()
        assert of_1_29(second) == before
        assert any(f"{PILOT}:1.29 is {theirs.digest}" in message for message in second.messages)

    def test_is_waited_for_as_long_as_its_lease_lasts_and_no_longer(self, new: Release, other: Release) -> None:
        _kill_after(new, 4)
        other.publish()
        assert 60 < other.clock.seconds < 70
        assert any("another run moves tags of hub.test/istio/istioctl" in message for message in other.messages)
        assert other.tags() == other.wanted()

    def test_that_long_ago_is_not_waited_for(self, new: Release, other: Release) -> None:
        _kill_after(new, 4)
        other.clock = Clock(skew=3600)
        other.publish()
        assert other.clock.seconds < 5
        assert other.tags() == other.wanted()

    def test_on_this_machine_is_not_waited_for(self, new: Release) -> None:
        """Its journal is here, and nobody holds its lock: it has ended."""
        _kill_after(new, 4)
        new.publish()
        assert new.clock.seconds < 5
        assert new.tags() == new.wanted()

    def test_when_it_could_not_put_all_back_is_settled_at_once(self, old: Release, new: Release) -> None:
        before = old.tags()
        undoing = _view(new.registry)
        undoing.fail_on = lambda operation, key: RegistryError("gone", status=503) if moves_tag(operation, key) else None
        new.registry.fail_on = _fail_tag("proxyv2:1.29")
        with pytest.raises(PublishError, match="not every tag could be put back"):
            new.publish(undoing)
        assert new.tags() != before
        assert record_at(new).lease is None
        second = make_release(new.work / "next", "next", new.registry, tags=("1.30",)).elsewhere()
        second.publish()
        assert second.clock.seconds < 5
        assert of_1_29(second) == before

    def test_who_takes_over_and_dies_too_loses_nothing(self, old: Release, new: Release) -> None:
        before = old.tags()
        _kill_after(new, 4)
        second = make_release(new.work / "next", "next", new.registry, tags=("1.30",)).elsewhere()
        _kill_after(second, 1)
        third = dataclasses.replace(second.elsewhere(), cache=new.work / "third")
        third.publish()
        assert of_1_29(third) == before


def _copy(registry: FakeRegistry) -> FakeRegistry:
    copy = _view(registry)
    copy.manifests = registry.manifests.copy()
    for repository, manifests in registry.manifests.items():
        copy.manifests[repository] = dict(manifests)
    return copy


class TestTwoAtOnce:
    @pytest.mark.parametrize("reserves", [False, True])
    @pytest.mark.parametrize("seed", range(12))
    def test_never_leave_a_mixture(self, old: Release, new: Release, other: Release, seed: int, reserves: bool) -> None:
        """Different releases for the same tags, with delays of every request: one goes through, or both, one by one."""
        chance = random.Random(seed)
        # The later ones are slower than what a record is waited for.
        slowest = 0.004 if seed < 8 else 0.06
        errors: list[Exception] = []
        new.registry = _view(old.registry)

        def run(release: Release, generator: random.Random) -> None:
            def delay(operation: str, key: str) -> None:
                time.sleep(generator.random() * slowest)

            release.registry.fail_on = release.registry.fail_after = delay
            try:
                time.sleep(generator.random() * slowest * 4)
                mover = release.mover()
                with mover.journal.reserving() as reserve:
                    if reserves:
                        reserve()
                        time.sleep(generator.random() * slowest * 8)
                    mover.move(release.publications)
            except PublishError as error:
                errors.append(error)

        for release in (new, other):
            upload(release)
            release.clock = _RealClock()
            release.pause = time.sleep
        threads = [threading.Thread(target=run, args=(release, random.Random(chance.random()))) for release in (new, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert old.tags() in (new.wanted(), other.wanted()), errors
        assert len(errors) < 2, errors
        assert old.records() == []

    def test_who_is_alive_is_waited_for(self, new: Release) -> None:
        second = make_release(new.work / "next", "next", new.registry, tags=("1.30",)).elsewhere()
        with _moving(new, second):
            second.publish()
        assert of_1_29(new) == new.wanted()
        assert second.wanted().items() <= second.tags().items()
        assert [message for message in second.messages if "cut off" in message] == []

    @pytest.mark.parametrize("skew", [-300, -61, 61, 300])
    def test_who_is_alive_is_waited_for_whatever_the_clocks_say(self, new: Release, skew: float) -> None:
        second = make_release(new.work / "next", "next", new.registry, tags=("1.30",)).elsewhere(skew)
        with _moving(new, second):
            second.publish()
        assert of_1_29(new) == new.wanted()
        assert second.wanted().items() <= second.tags().items()
        assert [message for message in second.messages if "cut off" in message] == []

    def test_who_waited_does_not_overwrite_what_was_moved_meanwhile(self, new: Release, other: Release) -> None:
        with _moving(new, other), pytest.raises(PublishError, match=r"somebody else has moved .*:1\.29.* meanwhile"):
            other.publish()
        assert new.tags() == new.wanted()

    def test_who_is_interrupted_while_it_waits_leaves_nothing(self, old: Release, other: Release) -> None:
        before = old.tags()
        theirs = put_record(old, HubRecord(lease=make_lease()))

        def interrupt(seconds: float) -> None:
            # It has taken that of istioctl by now.
            if other.clock.seconds > 10:
                assert other.records() == ["istioctl", "pilot"]
                raise Interrupted("interrupted")

        other.pause = interrupt
        with pytest.raises(Interrupted, match="no tag has moved"):
            other.publish()
        assert (old.tags(), old.records(), old.registry.record(PILOT)) == (before, ["pilot"], theirs)

    def test_who_does_not_end_is_not_waited_for_without_end(self, old: Release, other: Release) -> None:
        before = old.tags()
        renewals = iter(range(10**6))

        def renew(seconds: float) -> None:
            put_record(old, HubRecord(lease=make_lease(expires=60.0 + next(renewals))))

        put_record(old, HubRecord(lease=make_lease()))
        other.pause = renew
        with pytest.raises(
            PublishError, match=r"another run moves tags of .*pilot \(their machine, since 00:00:00 UTC\)"
        ) as raised:
            other.publish()
        assert "no tag has moved" in raised.value.message
        assert 180 < other.clock.seconds < 200
        assert old.tags() == before
        assert old.records() == ["pilot"]


class _RealClock(Clock):
    def wait(self, seconds: float) -> None:
        """`pause` sleeps."""

    def times(self) -> LeaseTimes:
        return LeaseTimes(settle=0.02, poll=0.02)


def _moving(first: Release, second: Release) -> "_Moving":
    return _Moving(first, second)


class _Moving:
    """The first is in the middle of moving its tags, and goes on once the second has waited for it 20 times."""

    def __init__(self, first: Release, second: Release) -> None:
        first.registry = _view(first.registry)
        upload(first)
        self._first = first
        self._moving, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: first.mover().move(first.publications))
        waits = iter(range(1, 10**6))

        def pause(seconds: float) -> None:
            if seconds and next(waits) == 20:
                self._go_on.set()
                self._thread.join()

        second.pause = pause

    def __enter__(self) -> None:
        def block(operation: str, key: str) -> None:
            if (operation, key) == ("put_tag", f"{PILOT}:1.29-debug"):
                self._moving.set()
                assert self._go_on.wait(60)

        self._first.registry.fail_on = block
        self._thread.start()
        assert self._moving.wait(60)

    def __exit__(self, *_: object) -> None:
        self._go_on.set()
        self._thread.join()


class TestALeaseThatIsLost:
    @pytest.mark.parametrize("gone", [False, True])
    def test_ends_the_run_and_nothing_of_the_holders_is_touched(self, old: Release, new: Release, gone: bool) -> None:
        before = old.tags()
        theirs = write_record(HubRecord(lease=make_lease()))

        def take_over(operation: str, key: str) -> Exception | None:
            if (operation, key) == ("put_tag", f"{HUB}/pilot:1.29"):
                new.registry.manifests[PILOT].pop(RECORD_TAG)
                if not gone:
                    new.registry.manifests[PILOT][RECORD_TAG] = theirs
            return None

        new.registry.fail_after = take_over
        who = "somebody has removed it" if gone else "their machine holds it now"
        with pytest.raises(
            PublishError, match=f"every tag is where it was before: this run has lost its lease on {PILOT}: {who}"
        ):
            new.publish(_view(new.registry))
        assert new.tags() == before
        assert new.registry.record(PILOT) == (None if gone else theirs)
        assert new.records() == ([] if gone else ["pilot"])

    def test_is_none_that_ran_out_while_nobody_came(self, new: Release) -> None:
        """A machine that slept, or a registry that took two minutes over one tag."""

        def sleep(operation: str, key: str) -> None:
            if (operation, key) == ("put_tag", f"{HUB}/pilot:1.29"):
                new.clock.wait(120)

        new.registry.fail_after = sleep
        new.publish()
        assert new.tags() == new.wanted()
        assert new.records() == []

    def test_is_none_that_is_renewed_in_time(self, new: Release) -> None:
        """Each tag takes 20 seconds, so all of it longer than a lease: a watcher never sees one record for that long."""
        seen: list[tuple[float, Digest]] = []

        def take_time(operation: str, key: str) -> None:
            if moves_tag(operation, key):
                new.clock.wait(20)
            if record := new.registry.record(HUB.repository("proxyv2")):
                seen.append((new.clock.seconds, record.digest))

        new.registry.fail_after = take_time
        new.publish()
        assert new.tags() == new.wanted()
        spans = [
            max(at for at, record in seen if record == one) - min(at for at, record in seen if record == one) for _, one in seen
        ]
        assert max(spans) < 60 < seen[-1][0] - seen[0][0]

    def test_is_told_where_it_cannot_be_given_back(self, new: Release, other: Release) -> None:
        """The release is there, and others wait no longer than for one that died."""
        undoing = _view(new.registry)
        undoing.fail_on = lambda operation, key: RegistryError("gone away", status=503) if operation == "delete_tag" else None
        new.publish(undoing)
        assert new.tags() == new.wanted()
        assert len([message for message in new.messages if "could not be removed" in message and "gone away" in message]) == 3
        other.publish()
        assert other.tags() == other.wanted()
        assert 60 < other.clock.seconds < 70
        assert other.records() == []


class TestAHubWithoutRecords:
    @pytest.mark.parametrize("status", [400, 404, 405, 409, 412, 415, 422])
    def test_is_told_once_and_served_by_the_journal_here(self, old: Release, new: Release, status: int) -> None:
        before = old.tags()
        new.registry.refuses_records = status
        _kill_after(new, 3)
        assert len([message for message in new.messages if "cannot be written" in message]) == 1
        make_release(new.work, "next", new.registry, tags=("1.30",)).publish()
        assert of_1_29(new) == before
        assert new.records() == []

    def test_that_takes_the_first_alone_is_one(self, old: Release, new: Release) -> None:
        """Tags that cannot be changed once they are there: not the record either."""
        first: set[str] = set()

        def refuse(operation: str, key: str) -> Exception | None:
            if operation == "put_tag" and key.endswith(RECORD_TAG):
                if key in first:
                    return RegistryError("immutable", status=400)
                first.add(key)
            return None

        new.registry.fail_on = refuse
        new.publish()
        assert new.tags() == new.wanted()
        assert len([message for message in new.messages if "cannot be written" in message]) == 1

    def test_that_takes_no_list_of_others_gets_a_record_without_one(self, old: Release, new: Release) -> None:
        put = new.registry._store

        def store(repository: Repository, manifest: Manifest) -> None:
            if "artifactType" in manifest.json() and manifest.children():
                raise RegistryError("MANIFEST_INVALID", status=400)
            put(repository, manifest)

        new.registry._store = store  # type: ignore[method-assign]
        _kill_after(new, 3)
        assert len(record_at(new).moves) == 6
        assert not [message for message in new.messages if "cannot be written" in message]

    @pytest.mark.parametrize(
        "error", [AccessDenied("no", status=403), RegistryError("busy", status=429), RegistryError("down", status=500)]
    )
    def test_is_none_that_refuses_us_or_is_in_trouble(self, old: Release, new: Release, error: RegistryError) -> None:
        before = old.tags()
        new.registry.fail_on = lambda operation, key: error if operation == "put_tag" and key.endswith(RECORD_TAG) else None
        with pytest.raises(type(error), match=error.message):
            new.publish()
        assert new.tags() == before


class TestARecord:
    def test_is_there_with_all_moves_while_tags_move(self, old: Release, new: Release) -> None:
        _kill_after(new, 1)
        assert new.records() == list(IMAGES)
        record = record_at(new)
        assert record.lease
        assert record.lease.run == record.run
        assert record.moves == {
            reference: NotedMove(before=was.index.digest, after=entry.index.digest)
            for was, entry in zip(old.publications, new.publications, strict=True)
            for reference in entry.references
        }
        manifest = new.registry.record(PILOT)
        assert manifest
        assert [child.digest for child in manifest.children()] == [old.publications[1].index.digest]

    def test_is_not_written_by_a_push_that_changes_nothing(self, new: Release) -> None:
        new.publish()
        new.registry.log.clear()
        assert new.mover().move(new.publications) == 0
        assert {operation for operation, _ in new.registry.log} == {"get_manifest"}
        assert len([key for _, key in new.registry.log if key.endswith(RECORD_TAG)]) == len(IMAGES)

    def test_says_nothing_any_more_where_tags_cannot_be_deleted(self, tmp_path: Path) -> None:
        registry = FakeRegistry(can_delete_tags=False)
        for content in ("old", "new"):
            release = make_release(tmp_path, content, registry)
            release.publish()
            assert release.tags() == release.wanted()
            assert record_at(release) == HubRecord()
        again = release.elsewhere()
        assert again.mover().move(again.publications) == 0
        assert {operation for operation, _ in again.registry.log} == {"get_manifest"}

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda text: text.replace("artifactType", "artefactType"),
            lambda text: text.replace("run.v1", "run.v2"),
            lambda text: text.replace('\\"version\\":1', '\\"version\\":2'),
            lambda text: text.replace("their machine", "another one"),
            lambda text: text.replace('\\"seconds\\":60', '\\"seconds\\":true'),
            lambda text: json.dumps({**json.loads(text), "annotations": {}}),
            lambda text: json.dumps({**json.loads(text), "annotations": {"vnd.istio-build.run": "[" * 60_000}}),
            lambda text: json.dumps({**json.loads(text), "annotations": {"vnd.istio-build.run": "[]"}}),
        ],
    )
    @pytest.mark.parametrize("changes", [True, False])
    def test_that_is_damaged_is_named_and_kept(
        self, old: Release, new: Release, spoil: Callable[[str], str], changes: bool
    ) -> None:
        whole = write_record(HubRecord(lease=make_lease())).content.decode()
        spoilt = Manifest(media_type=write_record(HubRecord()).media_type, content=spoil(whole).encode())
        assert spoilt.content.decode() != whole
        old.registry.manifests[PILOT][RECORD_TAG] = spoilt
        before = old.tags()
        with pytest.raises(JournalError, match=f"{PILOT}:{RECORD_TAG}") as raised:
            (new if changes else old).publish()
        assert "imagetools inspect" in raised.value.hint
        assert old.registry.record(PILOT) == spoilt
        assert old.tags() == before
        assert old.records() == ["pilot"]

    def test_is_believed_of_other_repositories_only_where_those_say_the_same(self, old: Release, new: Release) -> None:
        """Who may write in one repository is not to have a tag moved back in another."""
        new.publish()
        moves = {
            HUB.repository(image).at("1.29"): NotedMove(before=was.index.digest, after=now.index.digest)
            for image, was, now in zip(IMAGES, old.publications, new.publications, strict=True)
        }
        moves[PILOT.at("1.29-debug")] = NotedMove(before=new.publications[1].index.digest, after=old.publications[1].index.digest)
        put_record(new, HubRecord(run="forged", moves=moves))
        make_release(new.work, "next", new.registry, tags=("1.30",)).elsewhere().publish()
        assert of_1_29(new) == new.wanted()

    def test_of_what_is_no_longer_there_is_an_error(self, old: Release, new: Release, other: Release) -> None:
        _kill_after(new, 4)
        del old.registry.manifests[PILOT][str(old.publications[1].index.digest)]
        # So that the record can be written although what it lists is gone.
        other.registry._check_references = lambda repository, manifest: None  # type: ignore[method-assign]
        with pytest.raises(JournalError, match=r"pilot:1\.29 was sha256:\w+ before, which is no longer there"):
            other.publish()
        assert record_at(new).moves

    def test_of_a_large_release_is_small(self) -> None:
        hubs = [Hub.parse(f"registry{number}.corp.example:5000/platform/istio") for number in range(2)]
        moves = {
            hub.repository(f"image-{image}").at(f"1.29.{tag}-distroless"): NotedMove(
                before=Digest.of(f"{hub}{image}".encode()), after=Digest.of(f"new {image}".encode())
            )
            for hub in hubs
            for image in range(10)
            for tag in range(5)
        }
        record = HubRecord(lease=make_lease(), run="run", moves=moves)
        manifest = write_record(record)
        assert len(manifest.content) < 10_000
        assert read_record(record_reference(PILOT), manifest) == record


class TestReserving:
    """A lease that is begun earlier, so that nothing is waited for when the tags are to move."""

    def test_there_is_no_wait_once_it_has_stood(self, old: Release, new: Release) -> None:
        upload(new)
        mover = new.mover()
        with mover.journal.reserving() as reserve:
            reserve()
            assert new.records() == list(IMAGES)
            new.clock.wait(5)
            before = new.clock.seconds
            mover.move(new.publications)
            assert new.clock.seconds == before
        assert (old.tags(), old.records()) == (new.wanted(), [])

    def test_what_is_left_of_the_wait_is_waited(self, new: Release) -> None:
        upload(new)
        mover = new.mover()
        with mover.journal.reserving() as reserve:
            reserve()
            new.clock.wait(0.25)
            mover.move(new.publications)
        assert new.clock.seconds == LeaseTimes().settle

    def test_one_that_has_stood_for_long_is_begun_anew(self, new: Release) -> None:
        upload(new)
        mover = new.mover()
        with mover.journal.reserving() as reserve:
            reserve()
            first = new.registry.record(PILOT)
            new.clock.wait(LeaseTimes().lease / 2)
            before = new.clock.seconds
            mover.move(new.publications)
            assert new.clock.seconds == before + LeaseTimes().settle
        assert first is not None
        assert new.tags() == new.wanted()

    def test_one_that_is_not_taken_up_is_given_back(self, old: Release, new: Release) -> None:
        before = old.tags()
        stack = contextlib.ExitStack()
        stack.enter_context(new.mover().journal.reserving())()
        assert new.records() == list(IMAGES)
        stack.close()
        assert (old.records(), old.tags()) == ([], before)

    def test_who_is_alive_is_not_disturbed_and_waited_for_later(self, new: Release, other: Release) -> None:
        second = make_release(new.work / "next", "next", new.registry, tags=("1.30",)).elsewhere()
        with _moving(new, second):
            upload(second)
            mover = second.mover()
            with mover.journal.reserving() as reserve:
                reserve()
                mover.move(second.publications)
        assert of_1_29(new) == new.wanted()
        assert second.wanted().items() <= second.tags().items()

    @pytest.mark.parametrize("error", [RegistryError("down", status=503), AccessDenied("no", status=403)])
    def test_what_cannot_be_reserved_is_told_where_it_is_needed(self, old: Release, new: Release, error: Exception) -> None:
        upload(new)
        mover, before = new.mover(), old.tags()
        failing = [True]
        new.registry.fail_on = lambda operation, key: error if failing[0] and key.endswith(RECORD_TAG) else None
        with mover.journal.reserving() as reserve:
            reserve()
            assert old.tags() == before
            failing[0] = False
            mover.move(new.publications)
        assert (new.tags(), new.records()) == (new.wanted(), [])

    def test_a_record_that_came_between_is_found_and_waited_for(self, old: Release, new: Release) -> None:
        """Somebody looked when nobody was there, and wrote after we had."""
        upload(new)
        mover = new.mover()
        with mover.journal.reserving() as reserve:
            reserve()
            put_record(old, HubRecord(lease=make_lease()))
            new.clock.wait(2)
            mover.move(new.publications)
            # It was silent, and was taken for gone.
            assert new.clock.seconds > 60
        assert (new.tags(), new.records()) == (new.wanted(), [])

    def test_who_waits_for_this_machine_lets_go_of_what_it_has_reserved(self, new: Release, tmp_path: Path) -> None:
        """The other run on this machine holds the lock of the journal, and waits at the hub for just that."""
        upload(new)
        mover = new.mover()
        with mover.journal.reserving() as reserve:
            reserve()
            seen: list[list[str]] = []
            with new.mover().journal.held(time.sleep):

                def look(seconds: float) -> None:
                    seen.append(new.records())
                    raise Interrupted("seen")

                with pytest.raises(Interrupted), mover.journal.held(look):
                    pass
        assert seen == [[]]
