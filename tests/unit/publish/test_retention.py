"""Which old tags go: each rule by itself."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from builder.oci.manifest import INDEX, Manifest
from builder.oci.reference import RESERVED_TAGS, Hub
from builder.publish.retention import RetentionRule, TagThere, judge, oldest_first, parse_time
from tests.samples.images import make_digest

HUB = Hub.parse("hub.test/istio")
OTHER = Hub.parse("hub.test/other")
FIRST = datetime(2026, 11, 1, tzinfo=UTC)


def rule(*patterns: str, keep: int = 2, **more: Any) -> RetentionRule:  # noqa: ANN401 - fields of the value
    return RetentionRule(patterns=patterns or ("*-2*",), keep=keep, variants=frozenset(("debug", "distroless")), **more)


def tag(name: str, day: int | None = 0, image: str = "pilot", *, hub: Hub = HUB, ours: bool = True) -> TagThere:
    time = None if day is None else FIRST + timedelta(days=day)
    return TagThere(reference=hub.repository(image).at(name), digest=make_digest(name), is_ours=ours, time=time)


def nights(count: int, *, line: str = "1.29", **more: Any) -> list[TagThere]:  # noqa: ANN401 - of `tag`
    return [tag(f"{line}-202611{day:02}", day, **more) for day in range(1, count + 1)]


def going(tags: list[TagThere], by: RetentionRule) -> list[str]:
    return [str(verdict.tag.reference).removeprefix("hub.test/") for verdict in judge(tags, by) if verdict.goes]


def reasons(tags: list[TagThere], by: RetentionRule) -> dict[str, str]:
    return {verdict.tag.reference.tag: verdict.reason for verdict in judge(tags, by)}


def test_all_but_the_newest_go() -> None:
    found = nights(4)
    assert going(found[::-1], rule()) == ["istio/pilot:1.29-20261102", "istio/pilot:1.29-20261101"]
    assert going(found, rule(keep=4)) == []
    assert reasons(found, rule(keep=3)) == {
        "1.29-20261101": "older than the newest 3 of *-2*",
        **{f"1.29-202611{day:02}": "of the newest 3 of *-2*" for day in (2, 3, 4)},
    }


def test_a_release_is_a_tag_with_its_variants_in_all_images() -> None:
    found = [
        tag(f"{name}{variant}", day, image)
        for day, name in enumerate(("a-2", "b-2", "c-2"))
        for image in ("pilot", "proxyv2")
        for variant in ("", "-debug", "-distroless")
    ]
    assert going(found, rule()) == [
        f"istio/{image}:a-2{variant}" for image in ("pilot", "proxyv2") for variant in ("", "-debug", "-distroless")
    ]


def test_a_release_is_as_old_as_the_newest_of_its_tags() -> None:
    found = [tag("a-2", 1), tag("a-2", 9, "proxyv2"), tag("b-2", 5), tag("c-2", 6)]
    assert going(found, rule()) == ["istio/pilot:b-2"]


def test_each_pattern_and_each_hub_keeps_its_own() -> None:
    found = [*nights(3), *nights(3, line="1.28"), *nights(3, hub=OTHER)]
    assert going(found, rule("1.29-2*", "1.28-2*")) == [
        "istio/pilot:1.29-20261101",
        "istio/pilot:1.28-20261101",
        "other/pilot:1.29-20261101",
    ]
    assert len(going(found, rule())) == 5


def test_what_one_pattern_keeps_no_other_takes_away() -> None:
    found = [tag("1.28-2", 1), tag("1.29-2", 2), tag("1.30-2", 3)]
    assert going(found, rule("1.28-*", "*-2", keep=1)) == ["istio/pilot:1.29-2"]


def test_tags_of_the_same_time_are_ordered_as_people_count() -> None:
    assert going([tag("n-2.10"), tag("n-2.9"), tag("n-2.8")], rule()) == ["istio/pilot:n-2.8"]


def test_what_is_not_ours_stays_unless_it_is_meant_and_takes_no_place() -> None:
    found = [*nights(2), tag("x-2", 8, ours=False), tag("y-2", 9, ours=False)]
    assert going(found, rule()) == []
    assert reasons(found, rule())["y-2"] == "not made by istio-build"
    assert going(found, rule(also_foreign=True)) == ["istio/pilot:1.29-20261101", "istio/pilot:1.29-20261102"]


def test_a_tag_that_must_not_move_does_not_go_either() -> None:
    found = [*nights(3), tag("1.29-20261101-debug", 1)]
    assert going(found, rule(immutable=("*01",))) == ["istio/pilot:1.29-20261101-debug"]
    assert reasons(found, rule(immutable=("*01",)))["1.29-20261101"] == "--immutable *01"


def test_what_cannot_be_read_or_tells_no_age_stays() -> None:
    damaged = TagThere(reference=HUB.repository("pilot").at("0-2"), digest=None)
    found = [*nights(2), tag("old-2", None), damaged]
    assert going(found, rule()) == []
    assert reasons(found, rule())["old-2"] == "nothing says how old it is"
    assert reasons(found, rule(also_foreign=True))["0-2"] == "what it is cannot be read"


def test_a_tag_goes_although_one_that_stays_is_at_the_same_image() -> None:
    same = make_digest("same")
    found = [TagThere(reference=one.reference, digest=same, is_ours=True, time=one.time) for one in nights(3)]
    assert going(found, rule()) == ["istio/pilot:1.29-20261101"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("1.29.0-20261128", True),
        ("1.29.0-20261128-distroless", True),
        ("1.29.0", False),
        ("1.29.0-20261128-corp", False),
        ("sha256-cafe-20", True),
    ],
)
def test_patterns_are_for_the_tag_without_its_variant(name: str, meant: bool) -> None:
    assert rule("*-2*[0-9]").is_about(name) is meant


@pytest.mark.parametrize("name", [*RESERVED_TAGS, f"sha256-{'a' * 64}", f"sha256-{'a' * 64}.sig", f"sha256-{'a' * 64}.att"])
def test_notes_and_lists_of_referrers_are_never_meant(name: str) -> None:
    assert not rule("*").is_about(name)


def test_the_oldest_release_goes_first_whole() -> None:
    found = [*nights(4)[::-1], *nights(4, image="proxyv2")]
    assert [[one.tag.reference.tag[-2:] for one in release] for release in oldest_first(judge(found, rule()))] == [
        ["01", "01"],
        ["02", "02"],
    ]


def test_what_is_there_says_whose_and_how_old_it_is() -> None:
    reference = HUB.repository("pilot").at("1-2")

    def index(**annotations: str) -> Manifest:
        named = {name.replace("__", ".").replace("_", "-"): value for name, value in annotations.items()}
        return Manifest(media_type=INDEX, content=json.dumps({"manifests": [], "annotations": named}).encode())

    created = {"org__opencontainers__image__created": "2026-11-01T02:00:00+02:00"}
    own = index(dev__istio_build__inputs="sha256:1", **created)
    assert TagThere.of(reference, own, None) == TagThere(reference=reference, digest=own.digest, is_ours=True, time=FIRST)
    later = FIRST + timedelta(days=3)
    assert TagThere.of(reference, own, later).time == later
    assert not TagThere.of(reference, index(**created), None).is_ours
    odd = Manifest(media_type=INDEX, content=b'{"manifests": [], "annotations": [1]}')
    assert TagThere.of(reference, odd, None) == TagThere(reference=reference, digest=odd.digest)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "\x00", "9" * 400])
def test_what_is_no_time_says_nothing(text: str) -> None:
    assert parse_time(text) is None
    assert parse_time("2026-11-01T00:00:00Z") == parse_time("2026-11-01T00:00:00") == FIRST
