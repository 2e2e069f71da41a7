"""Which release was where, and which one was before: over repositories that remember different things."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from builder.errors import RequestError
from builder.oci.reference import Digest, Hub, ImageReference, Repository
from builder.publish.history import FOUND, MOST_RELEASES, Happening, History, HistoryEntry, HistoryImage
from builder.publish.timeline import Timeline, Way, find_way, join_histories
from tests.samples.images import make_digest

HUB = Hub.parse("hub.test/istio")
BOTH = ("istioctl", "pilot")


class Hubs:
    """Repositories that remember, in the order in which releases were made; digests are made of `NUMBER image variant`."""

    def __init__(self) -> None:
        self.entries: dict[str, list[HistoryEntry]] = {}
        self.now: dict[ImageReference, Digest | None] = {}

    def make(
        self,
        release: str,
        images: Sequence[str] = BOTH,
        *,
        tag: str = "1.29",
        by: str = "push",
        of: str = "",
        remembered: Sequence[str] | None = None,
        time: str = "",
    ) -> None:
        back_to = of * 4 if by.startswith("rollback") else ""
        happening = Happening(release=release * 4, time=time, by=by, host="ci", builder="0.1.0", back_to=back_to)
        for image in images:
            own = tuple(
                HistoryImage(key=f"{image}-{variant}", digest=digest_of(of or release, image, variant), tags=tags)
                for variant, tags in (("debug", (tag, f"{tag}-debug")), ("distroless", (f"{tag}-distroless",)))
            )
            beside = (image,) if by == FOUND else tuple(images)
            entry = HistoryEntry(happening=happening, version="1.29.0", commit="", beside=beside, images=own)
            if remembered is None or image in remembered:
                self.entries.setdefault(image, []).insert(0, entry)
                self.now |= {HUB.repository(image).at(name): there for name, there in entry.tags.items()}

    def timeline(self, images: Sequence[str] = ()) -> Timeline:
        histories = {HUB.repository(image): History(entries=tuple(own)) for image, own in self.entries.items()}
        return join_histories(histories, (), frozenset(images))

    def way(self, tag: str = "1.29", to: str = "", images: Sequence[str] = ()) -> Way:
        timeline = self.timeline(images)
        return find_way(timeline, timeline.of_tags(timeline.keys(), (tag,)), self.now, to)

    def apply(self, way: Way) -> None:
        self.now |= {reference: digest for reference, _, digest in way.moves}


def digest_of(release: str, image: str, variant: str) -> Digest:
    return make_digest(f"{release} {image} {variant}")


def state_of(release: str, images: Sequence[str] = BOTH, tag: str = "1.29") -> Mapping[ImageReference, Digest]:
    return {
        HUB.repository(image).at(name): digest_of(release, image, variant)
        for image in images
        for name, variant in ((tag, "debug"), (f"{tag}-debug", "debug"), (f"{tag}-distroless", "distroless"))
    }


@pytest.fixture
def hubs() -> Hubs:
    hubs = Hubs()
    for release in "abcd":
        hubs.make(release)
    return hubs


def ids(timeline: Timeline) -> str:
    return "".join(release.id[0] for release in timeline.releases)


class TestJoin:
    def test_the_order_of_each_repository_stands_whatever_clocks_say(self) -> None:
        hubs = Hubs()
        hubs.make("a", time="2026-01-09")
        hubs.make("b", ("pilot",), time="2026-01-01")
        hubs.make("c", time="2026-01-02")
        hubs.make("d", ("istioctl",), time="2025-01-01")
        timeline = hubs.timeline()
        assert ids(timeline) == "dcba"
        assert [len(release.parts) for release in timeline.releases] == [1, 2, 1, 2]

    def test_repositories_that_contradict_each_other_end_all_the_same(self) -> None:
        hubs = Hubs()
        hubs.make("a")
        hubs.make("b")
        hubs.entries["pilot"].reverse()
        assert set(ids(hubs.timeline())) == {"a", "b"}

    def test_the_state_is_of_all_that_was_made_until_then(self, hubs: Hubs) -> None:
        hubs.make("e", ("pilot",))
        timeline = hubs.timeline()
        assert timeline.state(timeline.releases[0]) == {**state_of("d"), **state_of("e", ("pilot",))}
        assert timeline.state(timeline.releases[2]) == state_of("c")


class TestBack:
    def test_all_tags_of_the_release_go_to_the_one_before(self, hubs: Hubs) -> None:
        way = hubs.way()
        assert way.to.id == "cccc"
        assert {reference: (now, to) for reference, now, to in way.moves} == {
            reference: (digest, state_of("c")[reference]) for reference, digest in state_of("d").items()
        }

    def test_twice_goes_on_from_there(self, hubs: Hubs) -> None:
        hubs.make("e", by="rollback", of="c")
        assert hubs.way().to.id == "bbbb"
        hubs.make("f", by="rollback", of="b")
        assert hubs.way().to.id == "aaaa"
        assert hubs.way(to="dddd").to.id == "dddd"

    def test_only_what_the_last_release_had_goes_back(self, hubs: Hubs) -> None:
        hubs.make("e", ("pilot",))
        way = hubs.way()
        assert {reference: to for reference, _, to in way.moves} == state_of("d", ("pilot",))

    def test_another_tag_is_of_no_interest(self, hubs: Hubs) -> None:
        hubs.make("e", tag="1.30")
        assert hubs.way().to.id == "cccc"
        with pytest.raises(RequestError, match="no release before eeee is known"):
            hubs.way("1.30")

    def test_what_somebody_put_there_by_other_means_goes_to_the_last_release(self, hubs: Hubs) -> None:
        hubs.now[HUB.repository("pilot").at("1.29")] = make_digest("foreign")
        way = hubs.way()
        assert way.to.id == "dddd"
        assert [str(reference) for reference, _, _ in way.moves] == ["hub.test/istio/pilot:1.29"]

    def test_a_tag_that_is_gone_comes_back(self, hubs: Hubs) -> None:
        hubs.now[HUB.repository("pilot").at("1.29-distroless")] = None
        assert [(str(reference), now) for reference, now, _ in hubs.way().moves] == [
            ("hub.test/istio/pilot:1.29-distroless", None)
        ]

    def test_an_image_that_was_not_there_yet_stays(self) -> None:
        hubs = Hubs()
        hubs.make("a", ("pilot",))
        hubs.make("b")
        way = hubs.way()
        assert {reference.repository for reference, _, _ in way.moves} == {HUB.repository("pilot")}
        assert {reference.repository for reference in way.stay} == {HUB.repository("istioctl")}

    def test_what_was_found_before_the_first_release_is_one(self) -> None:
        hubs = Hubs()
        hubs.make("a", ("pilot",), by=FOUND)
        hubs.make("b")
        assert hubs.way().to.id == "aaaa"

    def test_the_first_release_has_none_before(self) -> None:
        hubs = Hubs()
        hubs.make("a")
        with pytest.raises(RequestError, match="no release before aaaa is known"):
            hubs.way()


class TestTo:
    @pytest.mark.parametrize(
        "to", ["bbbb", str(digest_of("b", "pilot", "distroless")), digest_of("b", "istioctl", "debug").short]
    )
    def test_a_release_is_named_by_its_id_or_a_digest(self, hubs: Hubs, to: str) -> None:
        hubs.apply(hubs.way(to=to))
        assert hubs.now == state_of("b")

    @pytest.mark.parametrize("to", ["eeee", "b", "sha256:", ""])
    def test_what_is_none_is_told(self, hubs: Hubs, to: str) -> None:
        with pytest.raises(RequestError, match=r"no release .* is known"):
            hubs.timeline().find(to)

    def test_a_beginning_of_two_ids_is_none(self, hubs: Hubs) -> None:
        first = hubs.entries["pilot"][0]
        hubs.entries["pilot"].insert(0, replace(first, happening=replace(first.happening, release="dddde")))
        with pytest.raises(RequestError, match="beginning of 2 releases' ids"):
            hubs.way(to="dddd")

    def test_where_it_is_already_nothing_is_to_move(self, hubs: Hubs) -> None:
        with pytest.raises(RequestError, match="already"):
            hubs.way(to="dddd")


class TestForgotten:
    def test_a_repository_that_does_not_remember_it_is_named(self) -> None:
        hubs = Hubs()
        hubs.make("a", remembered=("pilot",))
        hubs.make("b")
        with pytest.raises(RequestError, match=r"hub\.test/istio/istioctl does not remember release aaaa"):
            hubs.way()
        assert hubs.timeline().releases[-1].forgotten == (Repository("hub.test", "istio/istioctl"),)
        del hubs.entries["istioctl"]
        hubs.now = {reference: digest for reference, digest in hubs.now.items() if reference.repository.path == "istio/pilot"}
        assert hubs.way(images=("pilot",)).to.id == "aaaa"

    def test_a_full_memory_may_have_had_it(self) -> None:
        hubs = Hubs()
        hubs.make("a", ("istioctl",))
        for number in range(MOST_RELEASES):
            hubs.make(chr(ord("b") + number), ("pilot",))
        with pytest.raises(RequestError, match="istio/pilot does not remember release aaaa"):
            hubs.way(to="aaaa")
