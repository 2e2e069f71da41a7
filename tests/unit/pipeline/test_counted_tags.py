"""Counted tags at hubs that hold something: which number a push takes, and that no number is ever another's, whatever happens."""

import json
import re
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from builder.cli.against_hub import ask_hubs
from builder.config.merged import Given
from builder.config.settings import make_job
from builder.errors import AccessDenied, BuilderError, PublishError, RegistryError, RequestError, TagKept, VerifyError
from builder.images.check import read_layer_of
from builder.oci.manifest import Manifest
from builder.oci.reference import RESERVED_TAGS, Digest, Hub
from builder.pipeline.counted_tags import Numbered, number_plan, number_release
from builder.pipeline.prepare import Resolved
from builder.pipeline.report import Report
from builder.pipeline.run import publish_release, push_plan
from builder.pipeline.verify import VerifyRequest, plan_newest
from builder.plan.planner import make_plan
from builder.publish.guards import CAREFUL, Permissions
from builder.publish.lease_times import LeaseTimes
from builder.publish.release_parts import read_release
from builder.runtime.progress import CauseTold, Progress
from tests.fakes.registry import FakeRegistry
from tests.samples.images import AMD64
from tests.samples.plans import load_book, make_base, make_lock, make_request, make_source, make_state
from tests.unit.pipeline.test_guards import ANEW, MERGE
from tests.unit.pipeline.test_guards import Site as OneHub
from tests.unit.pipeline.test_hubs import A, B, Fault, Killed, refuse
from tests.unit.pipeline.test_releases import FakeAdapters

IMAGES = ("pilot", "istioctl")
FIRST: dict[str, Any] = {"tags": ("1.29.0-r<n>",)}
BESIDE: dict[str, Any] = {"tags": ("1.29.0", "1.29.0-r<n>")}
IMMUTABLE = Permissions(immutable=("*-r*",))


@dataclass
class Site(OneHub):
    """Hubs, and machines that push pilot and istioctl there every night; `now` is whatever those are made of besides."""

    request: dict[str, Any] = field(default_factory=lambda: dict(FIRST))
    hubs: tuple[Hub, ...] = (A,)
    machine: str = "one"
    now: dict[str, Any] = field(default_factory=dict)
    base: str = "1"

    def resolve(self, **request: Any) -> Resolved:  # noqa: ANN401 - fields of the value
        moved = {name: replace(make_base(f"{name}-{self.base}"), name=name) for name in ("base", "distroless", "iptables")}
        lock, book = make_lock(make_source(make_state()), bases=tuple(moved.values())), load_book()
        wanted = {"images": IMAGES, "variants": ("distroless",), "hubs": self.hubs}
        asked = make_request(**(wanted | self.request | self.now | request))
        plan = make_plan(asked, book, lock)
        return Resolved(request=asked, tree=Path(), origin=Path(), book=book, lock=lock, plan=plan, always_build=False)

    def number(
        self,
        permissions: Permissions = CAREFUL,
        *,
        rebuild: bool = False,
        **request: Any,  # noqa: ANN401 - fields of the value
    ) -> tuple[Resolved, Numbered]:
        return number_plan(self.resolve(**request), self.adapters(), permissions, rebuild=rebuild)

    def night(
        self,
        permissions: Permissions = CAREFUL,
        *,
        rebuild: bool = False,
        **request: Any,  # noqa: ANN401 - fields of the value
    ) -> Report:
        return self.go_on(*self.number(permissions, rebuild=rebuild, **request), permissions, rebuild=rebuild)

    def go_on(
        self, resolved: Resolved, numbered: Numbered, permissions: Permissions = CAREFUL, *, rebuild: bool = False
    ) -> Report:
        """What a push does with the number that it has."""
        self.runs += 1
        work = self.root / f"{self.machine} {self.runs}"
        publishing = self._publishing(replace(permissions, counted=numbered.tags))
        publishing = replace(publishing, lost=numbered.lost, journals=self.root / self.machine / "journals")
        publishing = replace(publishing, lease_times=LeaseTimes(settle=0.0, poll=0.001, patience=0.0))
        return push_plan(resolved.plan, work / "layouts", self._building(work), publishing, rebuild=rebuild, started=0.0)

    def adapters(self) -> FakeAdapters:
        adapters = FakeAdapters(self.root, self.registry)
        adapters.__dict__["registry"] = self.registry
        adapters.progress = Progress(lambda event: self.events.append(event))
        return adapters

    def at(self, hub: Hub = A) -> dict[str, Digest]:
        """Where the tags of a hub are, but for those of debugging variants."""
        return {
            f"{image}:{tag.removesuffix('-distroless')}": digest
            for image in IMAGES
            for tag, digest in self.registry.tags(hub.repository(image)).items()
            if tag not in RESERVED_TAGS
        }

    def names(self, hub: Hub = A) -> list[str]:
        return sorted(self.at(hub))

    def twin(self) -> "Site":
        """Another machine, which knows nothing but the hubs."""
        registry = FakeRegistry()
        registry.manifests, registry.blobs = self.registry.manifests, self.registry.blobs
        return replace(self, registry=registry, machine=f"{self.machine}+", events=[])


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(params=[FIRST, BESIDE], ids=["first", "beside"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """Where the counted tag is the one that is stamped into the programs, and where it is not."""
    return Site(tmp_path, request=dict(request.param))


def numbers(site: Site, hub: Hub = A) -> list[str]:
    return [name for name in site.names(hub) if "-r" in name]


R1 = ["istioctl:1.29.0-r1", "pilot:1.29.0-r1"]
R2 = ["istioctl:1.29.0-r1", "istioctl:1.29.0-r2", "pilot:1.29.0-r1", "pilot:1.29.0-r2"]


class TestNights:
    def test_the_first_is_1_and_a_night_without_a_change_makes_none(self, either: Site) -> None:
        either.night(IMMUTABLE)
        assert numbers(either) == R1
        before = either.at()
        either.registry.log.clear()
        report = either.night(IMMUTABLE)
        assert not report.changed
        assert either.at() == before
        assert not {"put_tag", "put_manifest", "push_blob"} & {operation for operation, _ in either.registry.log}

    def test_each_change_is_the_next_one_and_what_was_there_stays(self, either: Site) -> None:
        before: dict[str, Digest] = {}
        for number in range(1, 12):
            either.base = str(number)
            either.night(IMMUTABLE)
            assert {tag for tag in either.at() if tag.endswith(f"-r{number}")} == {f"{name}:1.29.0-r{number}" for name in IMAGES}
            assert before.items() <= either.at().items()
            before = {tag: digest for tag, digest in either.at().items() if "-r" in tag}

    def test_all_images_get_the_number_though_one_has_changed(self, site: Site) -> None:
        site.request = dict(BESIDE)
        site.night()
        pilot = A.repository("pilot")
        other = make_manifest(site.registry.manifests[pilot]["1.29.0-distroless"], inputs="linux/amd64=x linux/arm64=y")
        for tag in ("1.29.0-distroless", "1.29.0-r1-distroless"):
            site.registry.manifests[pilot][tag] = other
        compiled = len(site.runner.calls)
        report = site.night()
        assert numbers(site) == R2
        states = {image.key: image.state for image in report.images}
        assert states == {"pilot-distroless": "built", "istioctl-distroless": "unchanged"}
        assert len(site.runner.calls) > compiled
        assert site.at()["istioctl:1.29.0-r2"] == site.at()["istioctl:1.29.0-r1"]

    def test_digests_do_not_depend_on_the_number_where_it_is_not_first(self, site: Site) -> None:
        site.request = dict(BESIDE)
        site.night()
        first = site.at()["pilot:1.29.0-r1"]
        site.base = "2"
        site.night()
        site.base = "1"
        site.night()
        assert site.at()["pilot:1.29.0-r3"] == first != site.at()["pilot:1.29.0-r2"]

    def test_where_it_is_first_it_is_stamped_and_why_it_is_a_new_one_is_told(self, site: Site) -> None:
        site.night()
        site.base = "2"
        site.events.clear()
        resolved, numbered = site.number()
        assert resolved.plan.version == "1.29.0-r2"
        causes = [event.line for event in site.events if isinstance(event, CauseTold)]
        assert causes
        assert all(re.match(r"why: base image \w+ moved from ", cause) for cause in causes)
        assert {reason.kind for reasons in numbered.reasons.values() for reason in reasons} == {"base"}
        assert {dict(image.annotations)["org.opencontainers.image.version"] for image in resolved.plan.images} == {"1.29.0-r2"}

    def test_rebuild_makes_the_next_one(self, either: Site) -> None:
        either.night()
        either.night(rebuild=True)
        assert numbers(either) == R2

    def test_numbers_of_other_releases_and_other_tags_are_none_of_it(self, site: Site) -> None:
        site.night()
        pilot = site.registry.manifests[A.repository("pilot")]
        for tag in ("1.29.1-r7-distroless", "1.29.0-r8-debug", "1.29.0-r09-distroless", "1.29.0-r20261129-distroless", "x-r5"):
            pilot[tag] = pilot["1.29.0-r1-distroless"]
        site.base = "2"
        assert site.number()[1].number == 2

    def test_a_number_that_others_have_put_there_counts(self, site: Site) -> None:
        pilot = A.repository("pilot")
        site.night(tags=("dev",))
        site.registry.manifests[pilot]["1.29.0-r6-distroless"] = site.registry.manifests[pilot]["dev-distroless"]
        assert site.number()[1].tags == ("1.29.0-r7",)

    def test_one_number_is_that_of_all_counted_tags(self, site: Site) -> None:
        site.night()
        site.request = {"tags": ("1.29.0-r<n>", "corp-<n>")}
        # The other one joins what is there.
        site.night()
        assert site.at()["pilot:corp-1"] == site.at()["pilot:1.29.0-r1"]
        site.base = "2"
        assert site.number()[1].tags == ("1.29.0-r2", "corp-2")

    def test_an_image_that_is_asked_for_later_joins(self, either: Site) -> None:
        either.night(IMMUTABLE, images=("pilot",))
        before = either.at()
        either.night(IMMUTABLE)
        assert numbers(either) == R1
        assert before.items() <= either.at().items()

    def test_one_platform_is_another_content_than_two(self, site: Site) -> None:
        site.night(platforms=(AMD64,))
        site.night()
        assert numbers(site) == R2

    def test_merging_into_it_is_refused(self, site: Site) -> None:
        with pytest.raises(RequestError, match="a counted tag never moves"):
            site.number(MERGE)
        assert not site.registry.log

    def test_who_counts_nothing_asks_nothing(self, site: Site) -> None:
        resolved = site.resolve(tags=("1.29.0",))
        assert number_plan(resolved, site.adapters(), CAREFUL) == (resolved, Numbered())
        assert not site.registry.log

    def test_where_all_images_have_tags_of_their_own_nobody_is_asked(self, site: Site) -> None:
        resolved = site.resolve()
        fixed = replace(resolved.plan, images=(), mirrors=())
        assert number_plan(replace(resolved, plan=fixed), site.adapters(), CAREFUL)[1].tags == ("1.29.0-r1",)
        assert not site.registry.log

    def test_what_it_asks_for_besides(self, either: Site) -> None:
        either.night()
        either.registry.log.clear()
        either.number()
        assert sorted(either.registry.log) == [
            *(("get_manifest", f"{A}/{image}:1.29.0-r1-distroless") for image in sorted(IMAGES)),
            *(("list_tags", f"{A}/{image}") for image in sorted(IMAGES)),
        ]


def make_manifest(like: Manifest, *, inputs: str = "", lose: str = "") -> Manifest:
    """What somebody else has made of an index: of other inputs, or without a platform."""
    document = like.json()
    if inputs:
        document["annotations"]["dev.istio-build.inputs"] = inputs
    document["manifests"] = [child for child in document["manifests"] if child["platform"]["architecture"] != lose]
    return Manifest(media_type=like.media_type, content=json.dumps(document, separators=(",", ":")).encode())


class TestRepair:
    """What was lost comes back under the number that it had, to the digest."""

    @pytest.mark.parametrize("permissions", [CAREFUL, IMMUTABLE], ids=["careful", "immutable"])
    def test_a_manifest_of_one_platform(self, either: Site, permissions: Permissions) -> None:
        either.night()
        before, pilot = either.at(), A.repository("pilot")
        arm64 = either.registry.manifests[pilot]["1.29.0-r1-distroless"].children()[1].digest
        del either.registry.manifests[pilot][str(arm64)]
        report = either.night(permissions)
        assert {image.key: image.state for image in report.images}["pilot-distroless"] == "built"
        assert either.at() == before
        assert str(arm64) in either.registry.manifests[pilot]

    def test_an_index_that_somebody_has_written_without_one(self, either: Site) -> None:
        either.night()
        before, pilot = either.at(), A.repository("pilot")
        for tag in [tag for tag in either.registry.tags(pilot) if tag.startswith("1.29.0")]:
            either.registry.manifests[pilot][tag] = make_manifest(either.registry.manifests[pilot][tag], lose="arm64")
        with pytest.raises(TagKept):
            either.night(IMMUTABLE)
        either.night()
        assert either.at() == before

    def test_a_tag(self, either: Site) -> None:
        either.night()
        before = either.at()
        del either.registry.manifests[A.repository("istioctl")]["1.29.0-r1-distroless"]
        either.night(IMMUTABLE)
        assert either.at() == before

    def test_not_where_the_tag_is_at_something_else(self, either: Site) -> None:
        either.night()
        pilot = A.repository("pilot")
        changed = make_manifest(either.registry.manifests[pilot]["1.29.0-r1-distroless"], inputs="linux/amd64=x linux/arm64=y")
        either.registry.manifests[pilot]["1.29.0-r1-distroless"] = changed
        either.night(IMMUTABLE)
        assert numbers(either) == R2
        assert either.at()["pilot:1.29.0-r1"] == changed.digest


class TestSeveralHubs:
    def test_a_hub_that_comes_later_gets_the_number_that_the_others_have(self, either: Site) -> None:
        either.night()
        either.base = "2"
        either.night()
        either.hubs = (A, B)
        either.night(IMMUTABLE)
        assert numbers(either, B) == ["istioctl:1.29.0-r2", "pilot:1.29.0-r2"]
        assert {tag: either.at(A)[tag] for tag in numbers(either, B)} == {tag: either.at(B)[tag] for tag in numbers(either, B)}

    def test_one_that_is_down_gets_nothing_and_no_number_twice(self, either: Site) -> None:
        either.hubs = (A, B)
        either.night()
        down(either, B)
        either.base = "2"
        report = either.night()
        assert [(hub.hub, hub.state) for hub in report.hubs] == [(str(A), "moved"), (str(B), "failed")]
        assert isinstance(report.failure, RegistryError)
        assert (numbers(either), numbers(either, B)) == (R2, R1)
        up(either)
        # It gets what the other has, if that is still it; else it goes without that number.
        other = either.twin()
        other.base = "3"
        other.registry.manifests = copy_of(other.registry)
        other.night(IMMUTABLE)
        assert [name for name in numbers(other, B) if name.startswith("pilot")] == ["pilot:1.29.0-r1", "pilot:1.29.0-r3"]
        either.night(IMMUTABLE)
        assert numbers(either, B) == R2
        assert either.at(A) == either.at(B)

    def test_hubs_that_were_down_in_turns_go_on_with_a_number_that_none_has(self, either: Site) -> None:
        either.hubs = (A, B)
        either.night()
        for number, hub in enumerate((A, B), start=2):
            down(either, hub)
            either.base = str(number)
            either.night()
            up(either)
        # Nothing has told the one of the other: what each has stays, and is seen now.
        before = {hub: either.at(hub) for hub in (A, B)}
        assert numbers(either, A) == numbers(either, B) == R2
        assert before[A]["pilot:1.29.0-r2"] != before[B]["pilot:1.29.0-r2"]
        either.night(IMMUTABLE)
        for hub in (A, B):
            assert {tag: digest for tag, digest in before[hub].items() if "-r" in tag}.items() <= either.at(hub).items()
            assert either.at(hub)["pilot:1.29.0-r3"] == either.at(A)["pilot:1.29.0-r3"]

    def test_with_fail_fast_no_number_is_given_while_one_is_down(self, either: Site) -> None:
        either.hubs = (A, B)
        either.night()
        down(either, B)
        either.base = "2"
        resolved, numbered = either.number()
        publishing = replace(either._publishing(CAREFUL), lost=numbered.lost)
        building = replace(either._building(either.root / "x"), fail_fast=True)
        compiled = len(either.runner.calls)
        with pytest.raises(RegistryError) as raised:
            push_plan(resolved.plan, either.root / "y", building, publishing, rebuild=False, started=0.0)
        assert f"2 of 2 hubs do not have this release:\n  {A}: no tag has moved\n" in raised.value.message
        assert len(either.runner.calls) == compiled
        assert numbers(either, A) == R1

    def test_one_that_ends_between_two_questions_has_no_say_either(self, either: Site) -> None:
        """It said that it has the number 2, and not what that is: so nobody knows whether that is what is to be pushed."""
        either.hubs = (A, B)
        either.night()
        down(either, A)
        either.base = "2"
        either.night()
        up(either)
        down(either, B, "get_manifest")
        either.night()
        assert [name for name in numbers(either) if name.startswith("pilot")] == ["pilot:1.29.0-r1", "pilot:1.29.0-r3"]

    def test_where_none_tells_that_is_the_error(self, site: Site) -> None:
        site.registry.fail_on = refuse(A, "list_tags", error=AccessDenied("no right to list", status=403))
        with pytest.raises(AccessDenied, match="no right to list"):
            site.number()
        site.hubs = (A, B)
        site.registry.fail_on = lambda operation, key: RegistryError(f"{operation} of {key}: 503", status=503)
        with pytest.raises(RegistryError) as raised:
            site.number()
        assert "2 of 2 hubs do not have this release:" in raised.value.message

    def test_a_repository_that_is_refused_as_it_is_not_there_has_no_tags(self, site: Site) -> None:
        site.night(images=("pilot",))
        denied = AccessDenied("401", status=401)
        site.registry.fail_on = lambda operation, key: denied if (operation, key) == ("list_tags", f"{A}/istioctl") else None
        assert site.number()[1].number == 1

    def test_two_that_have_it_of_the_same_inputs_and_not_the_same_get_the_next(self, either: Site) -> None:
        either.hubs = (A, B)
        either.night()
        for hub in (A, B):
            assert numbers(either, hub) == R1
        pilot = B.repository("pilot")
        for tag in [tag for tag in either.registry.tags(pilot) if tag.startswith("1.29.0")]:
            found = either.registry.manifests[pilot][tag]
            changed = replace(found, content=found.content.replace(b'"schemaVersion":2', b'"schemaVersion": 2'))
            either.registry.manifests[pilot][tag] = changed
        before = either.at(B)["pilot:1.29.0-r1"]
        either.night(IMMUTABLE)
        assert (numbers(either, A), numbers(either, B)) == (R2, R2)
        assert either.at(B)["pilot:1.29.0-r1"] == before
        assert either.at(A)["pilot:1.29.0-r2"] == either.at(B)["pilot:1.29.0-r2"]


def down(site: Site, hub: Hub, *operations: str) -> None:
    told = RegistryError(f"cannot speak to {hub}: 503", status=503)
    site.registry.fail_on = lambda operation, key: (
        told if key.startswith(f"{hub}/") and (not operations or operation in operations) else None
    )


def up(site: Site) -> None:
    site.registry.fail_on = lambda operation, key: None


def copy_of(registry: FakeRegistry) -> Any:  # noqa: ANN401 - a defaultdict
    manifests = registry.manifests.copy()
    for repository, own in registry.manifests.items():
        manifests[repository] = dict(own)
    return manifests


class Watch:
    """Sees every counted tag that is put at a hub, and what it was before."""

    def __init__(self, *sites: Site) -> None:
        self.taken: list[str] = []
        for site in sites:
            site.registry.fail_on = self.over(site)

    def over(self, site: Site) -> Fault:
        inner = site.registry.fail_on

        def hook(operation: str, key: str) -> Exception | None:
            if operation == "put_tag" and re.search(r"-r[0-9][^:]*$", key):
                repository, _, tag = key.rpartition(":")
                own = next(own for where, own in site.registry.manifests.items() if str(where) == repository)
                if own.get(tag):
                    self.taken.append(key)
            return inner(operation, key)

        return hook


class TestTwoMachines:
    """They choose the same number for different content, and one of them comes first, at whichever moment."""

    def race(self, site: Site, call: int) -> tuple[list[BuilderError], Site, int]:
        """The other machine's whole push comes after this call of the first."""
        other = site.twin()
        site.now, other.now = {}, dict(ANEW)
        errors: list[BuilderError] = []
        chosen = {each.machine: each.number() for each in (site, other)}
        assert len({numbered.tags for _, numbered in chosen.values()}) == 1
        watch = Watch(site, other)
        count, lock = iter(range(10**6)), threading.Lock()
        site.registry.log.clear()

        def come_between(operation: str, key: str) -> None:
            with lock:
                if next(count) == call:
                    push(other)

        def push(each: Site) -> None:
            try:
                each.go_on(*chosen[each.machine])
            except BuilderError as error:
                errors.append(error)

        site.registry.fail_after = come_between
        push(site)
        assert not watch.taken
        return errors, other, len(site.registry.log)

    def test_never_put_different_content_at_one_number(self, tmp_path: Path) -> None:
        told = set()
        *_, total = self.race(Site(tmp_path / "count"), 10**6)
        for call in range(0, total, 3):
            site = Site(tmp_path / str(call), request=dict(BESIDE if call % 2 else FIRST))
            errors, other, _ = self.race(site, call)
            assert len(errors) <= 1, f"call {call}: {errors}"
            assert all(isinstance(error, PublishError) for error in errors), errors
            at = {site.at()[name] for name in R1}
            assert len(at) == 2, "one of each image"
            assert numbers(site) == R1
            # The one that came too late has the next number when it comes again; the other has nothing to do.
            site.registry.fail_after = lambda operation, key: None
            first_won = site.number()[1].number == 1
            late = other if first_won else site
            late.night()
            assert numbers(site) == R2, f"call {call}"
            told.add((first_won, bool(errors)))
        assert told == {(True, True), (False, True)}

    def test_the_one_that_comes_late_is_told_so_before_it_builds_and_comes_again(self, site: Site) -> None:
        resolved, numbered = site.number(**ANEW)
        other = site.twin()
        other.night()
        compiled = len(site.runner.calls)
        with pytest.raises(
            PublishError, match=r"another run has taken a.test/istio/\w+:1.29.0-r1-distroless meanwhile"
        ) as raised:
            site.go_on(resolved, numbered)
        assert raised.value.exit_code == 15
        assert len(site.runner.calls) == compiled
        assert raised.value.hint == "Run the same again: it takes the next number."
        assert numbers(site) == R1
        site.night(**ANEW)
        assert numbers(site) == R2

    def test_the_same_content_at_once_is_one_number(self, either: Site) -> None:
        other, chosen = either.twin(), either.number()
        other.night()
        assert not either.go_on(*chosen).changed
        assert numbers(either) == R1


class TestARunThatDied:
    """Killed at each request that moves a tag; the next one takes the number up, or leaves it to nobody else."""

    @pytest.mark.parametrize("changed", [False, True], ids=["the same", "changed"])
    @pytest.mark.parametrize("deletes", [True, False], ids=["deletes", "keeps"])
    def test_the_next_takes_up_its_number_or_the_next(self, tmp_path: Path, changed: bool, deletes: bool) -> None:
        left_behind = set()
        for number in range(4):
            site = Site(tmp_path / str(number), request=dict(BESIDE))
            site.registry.can_delete_tags = deletes
            site.night()
            site.base = "2"
            kill_at_tag(site, number)
            with pytest.raises(Killed):
                site.night()
            up(site)
            left = {name: digest for name, digest in site.at().items() if name.endswith("-r2")}
            left_behind.add(len(left))
            site.base = "3" if changed else "2"
            watch = Watch(site)
            site.night()
            assert not watch.taken
            names = {name.rpartition("-")[2] for name in numbers(site)}
            if not changed or not left:
                # A number that nobody has seen is free.
                assert names == {"r1", "r2"}
                assert left.items() <= site.at().items()
                assert numbers(site) == R2
                continue
            assert {"r1", "r3"} <= names
            assert {name for name in numbers(site) if name.endswith("-r3")} == {f"{image}:1.29.0-r3" for image in IMAGES}
            # What was put there and could not be taken away stays what it was.
            stays = {name: digest for name, digest in site.at().items() if name.endswith("-r2")}
            assert stays == ({} if deletes else left)
        assert left_behind >= {0, 1}


def kill_at_tag(site: Site, number: int) -> None:
    """End the process at this tag of all that it moves."""
    count = iter(range(10**6))

    def hook(operation: str, key: str) -> Exception | None:
        if operation == "put_tag" and ":1.29.0" in key and next(count) == number:
            raise Killed
        return None

    site.registry.fail_on = hook


class TestLayouts:
    """`push --from`: what is ready, and of which no source is known."""

    def push(self, site: Site, directory: Path, *tags: str) -> Report:
        adapters = site.adapters()
        release = read_release((directory,), (), tags, read_layer_of)
        release, numbered = number_release(release, tags, adapters, CAREFUL)
        publishing = replace(site._publishing(Permissions(counted=numbered.tags)), lost=numbered.lost)
        return publish_release(release, {entry.key: "given" for entry in release.publications}, publishing, 0.0)

    def test_they_get_the_next_number_where_they_are_others(self, site: Site) -> None:
        one, two = site.build(hubs=(A,)), site.build(hubs=(A,), **ANEW)
        for directory, names in (
            (one, ["r1"]),
            (one, ["r1"]),
            (two, ["r1", "r2"]),
            (two, ["r1", "r2"]),
            (one, ["r1", "r2", "r3"]),
        ):
            self.push(site, directory, "corp", "1.29.0-r<n>")
            assert [name.rpartition("-")[2] for name in numbers(site)] == names
        assert site.at()["pilot:1.29.0-r1"] == site.at()["pilot:1.29.0-r3"] == site.at()["pilot:corp"]

    def test_what_has_no_counted_tag_is_as_it_was(self, site: Site) -> None:
        self.push(site, site.build(hubs=(A,)))
        assert site.names() == ["pilot:1.29.0"]
        assert not site.registry.operations("list_tags")


class TestVerify:
    def plan(self, site: Site, *hubs: Hub) -> list[str]:
        given = {"hub": tuple(map(str, hubs)), "istio": ("1.29.0",), "tag": ("{{ release }}-r{{ n }}",), "image": IMAGES}
        words = {name: Given(words=value, origin=f"--{name}") for name, value in given.items()}
        found = plan_newest(make_job(words, None, needs_hub=False), VerifyRequest(compare_with="none"), site.adapters())
        assert {version for wanted in found.wanted if wanted.expected for version in wanted.expected.versions} <= {
            "1.29.0",
            *(wanted.reference.tag.partition("-distroless")[0].partition("-debug")[0] for wanted in found.wanted),
        }
        return sorted({str(wanted.reference) for wanted in found.wanted})

    def test_the_newest_number_is_what_a_hub_should_have(self, site: Site) -> None:
        site.night()
        site.base = "2"
        site.night()
        assert f"{A}/pilot:1.29.0-r2-distroless" in self.plan(site, A)
        # Of all hubs: one that lacks it is found to.
        assert f"{B}/pilot:1.29.0-r2-distroless" in self.plan(site, A, B)

    def test_where_there_is_none_that_is_what_is_wrong(self, site: Site) -> None:
        with pytest.raises(VerifyError, match=r"a\.test/istio has no tag such as 1\.29\.0-r<n>"):
            self.plan(site, A)


class TestPlan:
    def test_the_number_is_open_until_the_hub_is_asked(self, site: Site) -> None:
        resolved = site.resolve()
        assert {str(ref) for image in resolved.plan.images for ref in image.references} == {
            f"{A}/{image}:1.29.0-r<n>-distroless" for image in IMAGES
        }
        assert resolved.plan.version == "1.29.0-r<n>"
        assert not site.registry.log

    def test_against_the_hub_it_is_that_of_a_push(self, site: Site) -> None:
        words = {"hub": str(A), "istio": "1.29.0"}
        job = make_job({name: Given(words=(word,), origin=f"--{name}") for name, word in words.items()}, None)
        site.night()
        resolved, compared = ask_hubs(site.resolve(), job, site.adapters())
        assert resolved.plan.version == "1.29.0-r1"
        assert not [move for image in compared.images for move in image.moves]
        site.base = "2"
        _, compared = ask_hubs(site.resolve(), job, site.adapters())
        assert sorted(move.reference.tag for image in compared.images for move in image.moves) == ["1.29.0-r2-distroless"] * 2
