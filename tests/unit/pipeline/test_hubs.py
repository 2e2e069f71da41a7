"""Several hubs, each a release of its own: what fails at one neither ends nor hides what the others get."""

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import (
    AccessDenied,
    BuilderError,
    CompileError,
    DiskFull,
    Interrupted,
    JournalError,
    NotReadBack,
    RegistryError,
    TakeOver,
    VerifyError,
)
from builder.oci.reference import HISTORY_TAG, Digest, Hub
from builder.pipeline.hubs import HubGroups
from builder.pipeline.publish_context import PublishContext
from builder.pipeline.report import Report
from builder.pipeline.run import publish_release, push_plan
from builder.ports import ProcessFailed
from builder.publish.guards import CAREFUL, Permissions
from builder.publish.history import Happening
from builder.publish.lease_times import LeaseTimes
from builder.publish.publication import Release
from builder.runtime.cancellation import Cancellation
from builder.runtime.progress import Event, Message, Progress
from tests.fakes.registry import FakeRegistry
from tests.fakes.runner import FakeRunner, go_build
from tests.samples.images import AMD64, ARM64
from tests.unit.pipeline.test_guards import FOREIGN, MERGE
from tests.unit.pipeline.test_guards import Site as OneHub
from tests.unit.publish.test_publication import IMAGES, OLD_TAGS, make_release

A, B = Hub.parse("a.test/istio"), Hub.parse("b.test/istio")
WRITES = {"push_blob", "put_manifest", "put_tag", "delete_tag"}
Fault = Callable[[str, str], Exception | None]


def is_at(hub: Hub, key: str) -> bool:
    return key.startswith(f"{hub}/")


def refuse(hub: Hub, *operations: str, error: Exception | None = None) -> Fault:
    """Have this hub fail at these operations."""
    told = error or RegistryError(f"cannot speak to {hub}: 503", status=503)
    return lambda operation, key: told if operation in operations and is_at(hub, key) else None


class Run:
    """A release of images that are ready, going to two hubs that hold an older one."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.whole = FakeRegistry()
        self.messages: list[str] = []
        self.cancellation = Cancellation()
        self.registry = self.whole
        self.new = self.release("old")
        self.publish()
        self.before = self.tags(A) | self.tags(B)
        self.new = self.release("new")
        self.registry = view(self.whole)

    def release(self, content: str) -> Release:
        publications = tuple(
            replace(entry, references=tuple(hub.repository(entry.key).at(tag) for hub in (A, B) for tag in OLD_TAGS))
            for entry in make_release(self.work, content, self.whole).publications
        )
        return Release(version="1.29", hub=str(A), publications=publications)

    def publish(self, *, fail_fast: bool = False) -> Report:
        context = PublishContext(
            registry=self.registry,
            rollback_tags=view(self.whole),
            journals=self.work / "journals",
            progress=Progress(self.observe),
            cancellation=self.cancellation.group(),
            lease_times=LeaseTimes(settle=0.001, poll=0.01),
            happening=Happening(release="r", by="push", host="here", builder="0"),
            fail_fast=fail_fast,
        )
        return publish_release(self.new, dict.fromkeys(IMAGES, "given"), context, 0.0)

    def tags(self, hub: Hub) -> dict[str, Digest]:
        found = {str(hub.repository(image).at(tag)): at for image in IMAGES for tag, at in self.at(hub, image).items()}
        return {reference: at for reference, at in found.items() if not reference.endswith(HISTORY_TAG)}

    def at(self, hub: Hub, image: str) -> dict[str, Digest]:
        return self.whole.tags(hub.repository(image))

    def wanted(self, hub: Hub) -> dict[str, Digest]:
        return {str(ref): entry.index.digest for entry in self.new.at(hub).publications for ref in entry.references}

    def old(self, hub: Hub) -> dict[str, Digest]:
        return {reference: at for reference, at in self.before.items() if is_at(hub, reference)}

    def observe(self, event: Event) -> None:
        if isinstance(event, Message):
            self.messages.append(event.text)


def view(registry: FakeRegistry) -> FakeRegistry:
    """The same content through a client of its own."""
    seen = FakeRegistry()
    seen.manifests, seen.blobs = registry.manifests, registry.blobs
    return seen


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


class TestReady:
    """Images that are ready, as with `push --from`."""

    def test_both_get_it(self, run: Run) -> None:
        report = run.publish()
        assert report.failure is None
        assert run.tags(A) | run.tags(B) == run.wanted(A) | run.wanted(B)
        assert [(hub.hub, hub.state, hub.tags_moved) for hub in report.hubs] == [(str(A), "moved", 6), (str(B), "moved", 6)]
        assert [len(image.references) for image in report.images] == [4, 4, 4]
        assert report.traffic
        assert report.traffic.tags_moved == 12

    def test_wherever_one_fails_the_other_gets_it(self, tmp_path: Path) -> None:
        """Each single call to B fails once: A has its release, B all of its own or none of it, and what is told is so."""
        counted = Run(tmp_path / "count")
        counted.publish()
        total = sum(1 for _, key in counted.registry.log if is_at(B, key))
        told = set()
        for number in range(total):
            run = Run(tmp_path / str(number))
            run.registry.fail_on = fail_call(B, number)
            report = run.publish()
            assert run.tags(A) == run.wanted(A), f"call {number}"
            [at_a, at_b] = report.hubs
            assert at_a.state == "moved"
            if at_b.state != "failed":
                # What a hub remembers of its releases may fail without failing the release.
                assert run.tags(B) == run.wanted(B)
                continue
            assert report.failure
            has_moved = isinstance(report.failure, VerifyError)
            assert run.tags(B) == (run.wanted(B) if has_moved else run.old(B)), f"call {number}: {report.failure.message}"
            assert f"{A}: all 6 tags are at this release" in report.failure.message
            assert re.search(rf"{B}: .*(no tag has moved|every tag is where it was|all tags have moved)", report.failure.message)
            assert {ref.repository.hub for image in report.images for ref in image.references} == {A}
            states = {(entry.hub, entry.state, bool(entry.error)) for entry in report.failure.ledger}
            assert states == {(str(A), "moved", False), (str(B), "moved" if has_moved else "failed", True)}
            assert len(report.failure.ledger) == 3 * 2 * 2, "images, platforms, hubs"
            told.add(report.failure.exit_code)
        assert told == {13, 15, 16}

    @pytest.mark.parametrize("operation", ["get_manifest", "push_blob", "put_manifest", "put_tag"])
    def test_the_next_run_does_what_is_missing_and_nothing_else(self, run: Run, operation: str) -> None:
        run.registry.fail_on = refuse(B, operation)
        assert run.publish().failure
        run.registry = view(run.whole)
        report = run.publish()
        assert report.failure is None
        assert [(hub.hub, hub.state) for hub in report.hubs] == [(str(A), "unchanged"), (str(B), "moved")]
        assert run.tags(B) == run.wanted(B)
        sent = [(operation, key) for operation, key in run.registry.log if operation in WRITES and is_at(A, key)]
        # To be asked whether a blob is there is one call of this port.
        assert {operation for operation, _ in sent} <= {"push_blob"}

    def test_with_fail_fast_the_first_ends_the_others(self, run: Run) -> None:
        run.registry.fail_on = refuse(B, "get_manifest")
        with pytest.raises(RegistryError, match="503") as raised:
            run.publish(fail_fast=True)
        assert f"{A}: no tag has moved" in raised.value.message
        assert run.tags(A) | run.tags(B) == run.before

    def test_where_all_fail_the_first_one_named_decides(self, run: Run) -> None:
        first, second = refuse(A, "put_tag", error=AccessDenied("a says no", status=403)), refuse(B, "get_manifest")
        run.registry.fail_on = lambda operation, key: first(operation, key) or second(operation, key)
        with pytest.raises(BuilderError) as raised:
            run.publish()
        assert raised.value.exit_code == 14
        assert "2 of 2 hubs do not have this release" in raised.value.message
        assert "a says no" in raised.value.message
        assert "503" in raised.value.message
        assert run.tags(A) | run.tags(B) == run.before

    def test_a_full_disk_is_everybodys(self, run: Run) -> None:
        run.registry.fail_on = refuse(B, "push_blob", error=DiskFull("no room"))
        with pytest.raises(DiskFull):
            run.publish()
        assert run.tags(B) == run.old(B)

    def test_a_mistake_of_ours_is_not_hidden(self, run: Run) -> None:
        run.registry.fail_on = refuse(B, "push_blob", error=KeyError("ours"))
        with pytest.raises(KeyError):
            run.publish()

    def test_a_journal_that_cannot_be_read_is_its_own_hubs(self, run: Run) -> None:
        run.registry.fail_on = kill_at(B)
        with pytest.raises(Killed):
            run.publish()
        [journal] = [path for path in (run.work / "journals").glob("*.json") if str(B) in path.read_text()]
        journal.write_text("{")
        run.registry = view(run.whole)
        report = run.publish()
        assert isinstance(report.failure, JournalError)
        assert run.tags(A) == run.wanted(A)

    def test_wherever_it_is_interrupted_what_is_told_is_so(self, tmp_path: Path) -> None:
        counted = Run(tmp_path / "count")
        counted.publish()
        codes = set()
        for number in range(0, len(counted.registry.log), 3):
            run = Run(tmp_path / str(number))
            run.registry.fail_after = interrupt_at(number, run.cancellation)
            run.registry.fail_on = lambda operation, key, run=run: run.cancellation.check()  # type: ignore[misc]
            code = 0
            try:
                assert run.publish().failure is None
            except (Interrupted, NotReadBack) as error:
                code, message = error.exit_code, error.message
            now = {hub: run.tags(hub) for hub in (A, B)}
            if code == 130:
                assert now == {hub: run.old(hub) for hub in (A, B)}, f"call {number}: {message}"
            elif code == 19:
                for hub in (A, B):
                    line = next(line for line in message.splitlines() if str(hub) in line)
                    is_new = "at this release" in line
                    assert now[hub] == (run.wanted(hub) if is_new else run.old(hub)), f"call {number}: {message}"
            else:
                assert now == {hub: run.wanted(hub) for hub in (A, B)}
            codes.add(code)
        assert {19, 130} <= codes


class Killed(BaseException):
    """The process ends here."""


def kill_at(hub: Hub) -> Fault:
    """End the process in the middle of this hub's tags: nothing is put back there."""

    def hook(operation: str, key: str) -> None:
        if operation == "put_tag" and is_at(hub, key) and key.endswith(":1.29-debug"):
            raise Killed

    return hook


def fail_call(hub: Hub, number: int) -> Fault:
    count, lock = iter(range(10**6)), threading.Lock()

    def hook(operation: str, key: str) -> Exception | None:
        with lock:
            is_it = is_at(hub, key) and next(count) == number
        return RegistryError("injected", status=500) if is_it else None

    return hook


def interrupt_at(number: int, cancellation: Cancellation) -> Fault:
    count, lock = iter(range(10**6)), threading.Lock()

    def hook(operation: str, key: str) -> None:
        with lock:
            is_it = next(count) == number
        if is_it:
            cancellation.set()

    return hook


@dataclass
class Site(OneHub):
    """Two hubs, and a machine that builds pilot for them."""

    messages: list[tuple[str, int]] = field(default_factory=list)
    fail_fast: bool = False

    def push(
        self,
        permissions: Permissions = CAREFUL,
        tree: dict[str, Any] | None = None,
        *,
        rebuild: bool = False,
        **request: Any,  # noqa: ANN401 - fields of the value
    ) -> Report:
        plan = self.plan(tree, **{"hubs": (A, B), **request})
        self.runs += 1
        work = self.root / str(self.runs)
        building = replace(self._building(work), fail_fast=self.fail_fast)
        publishing = self._publishing(permissions)
        publishing = replace(publishing, cancellation=building.cancellation, progress=Progress(self.observe))
        publishing = replace(publishing, lease_times=LeaseTimes(settle=0.001))
        return push_plan(plan, work / "layouts", building, publishing, rebuild=rebuild, started=time.monotonic())

    def at(self, hub: Hub) -> dict[str, Digest]:
        return self.registry.tags(hub.repository("pilot"))

    def observe(self, event: Event) -> None:
        if isinstance(event, Message):
            self.messages.append((event.text, len(self.runner.calls)))

    def writes(self, hub: Hub) -> set[str]:
        return {operation for operation, key in self.registry.log if operation in WRITES and is_at(hub, key)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


class TestBuilt:
    """Images that are built in the run."""

    def test_a_hub_that_takes_nothing_is_told_before_the_compiler_starts(self, site: Site) -> None:
        site.registry.fail_on = refuse(B, "check_push", error=AccessDenied(f"no right to push to {B}", status=403))
        report = site.push()
        warning = f"{B} has failed, and the other hubs go on (code 14)."
        [compiled] = [compiled for text, compiled in site.messages if text == warning]
        assert compiled == 0
        assert isinstance(report.failure, AccessDenied)
        # What with is told once, with all hubs.
        assert "no right to push" in report.failure.message
        assert not [text for text, _ in site.messages if "no right" in text]
        assert site.at(A)
        assert not site.at(B)
        assert site.writes(B) == set()

    def test_where_none_takes_anything_nothing_is_compiled(self, site: Site) -> None:
        denied = AccessDenied("no", status=403)
        site.registry.fail_on = lambda operation, key: denied if operation == "check_push" else None
        with pytest.raises(AccessDenied) as raised:
            site.push()
        assert "2 of 2 hubs do not have this release" in raised.value.message
        assert not site.runner.calls

    def test_with_fail_fast_nothing_is_compiled(self, site: Site) -> None:
        site.fail_fast = True
        site.registry.fail_on = refuse(B, "check_push", error=AccessDenied("no", status=403))
        with pytest.raises(AccessDenied):
            site.push()
        assert not site.runner.calls
        assert not site.at(A)

    def test_what_must_not_become_of_one_hubs_tags_does_not_become_of_the_others(self, site: Site) -> None:
        site.push(hubs=(B,))
        before = site.at(B)
        report = site.push(tree=FOREIGN, tags=("1.29.0",))
        assert isinstance(report.failure, TakeOver)
        assert report.failure.exit_code == 26
        assert site.at(B) == before
        assert site.at(A)

    def test_the_next_run_finishes_what_one_hub_lacks_without_a_compiler(self, site: Site) -> None:
        """Its content was there already: only tags are left to move."""
        site.registry.fail_on = refuse(B, "put_tag")
        assert site.push().failure
        site.registry.fail_on = lambda operation, key: None
        site.registry.log.clear()
        compiled = len(site.runner.calls)
        report = site.push()
        assert report.failure is None
        assert len(site.runner.calls) == compiled
        assert site.writes(A) == set()
        assert site.writes(B) <= {"put_tag", "delete_tag"}
        assert site.at(B) == site.at(A) != {}

    def test_the_next_run_builds_what_one_hub_never_got(self, site: Site) -> None:
        site.registry.fail_on = refuse(B, "get_manifest")
        assert site.push().failure
        site.registry.fail_on = lambda operation, key: None
        site.registry.log.clear()
        report = site.push()
        assert report.failure is None
        assert site.writes(A) == set()
        assert site.at(B) == site.at(A) != {}

    def test_a_hub_that_lacks_nothing_is_left_as_it_is_when_another_fails(self, site: Site) -> None:
        site.push()
        before, compiled = site.at(A), len(site.runner.calls)
        site.registry.log.clear()
        site.registry.fail_on = refuse(B, "get_manifest")
        report = site.push()
        assert [hub.state for hub in report.hubs] == ["unchanged", "failed"]
        assert len(site.runner.calls) == compiled, "the one that is left lacks nothing"
        assert (site.at(A), site.writes(A)) == (before, set())

    def test_hubs_that_differ_get_the_same_again(self, site: Site) -> None:
        site.push(hubs=(A,))
        one = site.at(A)
        for tag in tuple(site.at(A)):
            manifest = site.registry.manifests[A.repository("pilot")][tag]
            changed = replace(manifest, content=manifest.content.replace(b'"schemaVersion":2', b'"schemaVersion": 2'))
            site.registry.manifests[B.repository("pilot")][tag] = changed
        site.push()
        assert site.at(A) == site.at(B) == one

    def test_a_hub_that_breaks_off_does_not_end_the_build(self, site: Site) -> None:
        site.registry.fail_on = refuse(B, "push_blob")
        report = site.push()
        assert report.failure
        assert report.failure.exit_code == 13
        assert "no tag has moved: cannot speak to b.test/istio: 503" in report.failure.message
        assert site.at(A)
        assert not site.at(B)

    def test_an_image_that_cannot_be_made_keeps_all_hubs_from_their_tags(self, site: Site) -> None:
        site.runner = FakeRunner(break_pilot_discovery)
        with pytest.raises(CompileError) as raised:
            site.push(images=("pilot", "istioctl"))
        assert not site.at(A)
        assert not site.at(B)
        ledger = {(entry.image, entry.hub, entry.state) for entry in raised.value.ledger}
        assert ledger == {
            ("pilot-distroless", "", "failed"),
            ("istioctl-distroless", str(A), "sent"),
            ("istioctl-distroless", str(B), "sent"),
        }
        assert len(raised.value.ledger) == 6, "on both platforms"

    def test_and_a_hub_that_fails_besides_is_told(self, site: Site) -> None:
        site.runner = FakeRunner(break_pilot_discovery)
        site.registry.fail_on = refuse(B, "check_push")
        with pytest.raises(CompileError) as raised:
            site.push(images=("pilot", "istioctl"))
        assert f"{B} has failed, too" in raised.value.message
        assert {entry.state for entry in raised.value.ledger if entry.hub == str(B)} == {"failed"}
        assert {entry.state for entry in raised.value.ledger if entry.hub == str(A)} == {"sent"}

    def test_when_all_hubs_break_off_the_build_ends(self, site: Site) -> None:
        site.registry.fail_on = lambda operation, key: RegistryError("503") if operation == "push_blob" else None
        with pytest.raises(RegistryError, match="503") as raised:
            site.push()
        assert "2 of 2 hubs do not have this release" in raised.value.message

    def test_a_hub_of_which_platforms_are_kept_need_not_be_up(self, site: Site) -> None:
        site.push(platforms=(AMD64,))
        site.registry.fail_on = refuse(B, "get_manifest")
        report = site.push(MERGE, platforms=(ARM64,))
        assert report.failure
        assert set(site.registry.manifests[A.repository("pilot")]["1.29.0-distroless"].platforms()) == {AMD64, ARM64}
        site.registry.fail_on = lambda operation, key: None
        assert site.push(MERGE, platforms=(ARM64,)).failure is None
        assert site.at(A) == site.at(B)


class TestOneRegistry:
    """Two hubs at one registry."""

    C = Hub.parse("a.test/mirror")

    def test_a_blob_is_sent_once(self, site: Site) -> None:
        alone = OneHub(site.root / "alone")
        sent = alone.push().traffic
        traffic = site.push(hubs=(A, self.C)).traffic
        assert sent
        assert traffic
        assert (traffic.uploaded, traffic.bytes_sent) == (sent.uploaded, sent.bytes_sent)
        assert traffic.mounted >= sent.uploaded

    def test_nor_to_a_hub_that_comes_later(self, site: Site) -> None:
        site.push(hubs=(A,))
        traffic = site.push(hubs=(A, self.C)).traffic
        assert traffic
        assert traffic.uploaded == 0
        assert site.at(self.C) == site.at(A)

    def test_what_one_of_them_cannot_be_sent_the_other_is(self, site: Site) -> None:
        site.registry.fail_on = refuse(A, "push_blob")
        report = site.push(hubs=(A, self.C))
        assert report.failure
        assert site.at(self.C)
        assert not site.at(A)


def break_pilot_discovery(call: Any) -> Any:  # noqa: ANN401 - as the runner's answers
    if any("pilot-discovery" in str(word) for word in call.argv):
        raise ProcessFailed(call.argv, 1, "", "pilot/cmd/pilot-discovery/main.go:1:1: undefined: x\n")
    return go_build(call)


def test_one_hub_alone_raises_what_failed_as_it_is() -> None:
    context = PublishContext(
        registry=FakeRegistry(),
        rollback_tags=FakeRegistry(),
        journals=Path(),
        progress=Progress(lambda event: None),
        cancellation=Cancellation().group(),
    )
    error = RegistryError("as it is")

    def fail(hub: Hub) -> None:
        raise error

    with pytest.raises(RegistryError) as raised:
        HubGroups([A, A], context).each(fail)
    assert raised.value is error
