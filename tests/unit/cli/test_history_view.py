"""What hubs remember is shown to people and to programs, whatever texts a history holds."""

import json
from dataclasses import replace

import pytest

from builder.cli.history_view import history_json, history_table, rollback_json, rollback_table
from builder.oci.reference import Digest, ImageReference
from builder.pipeline.history import Past
from builder.publish.history import FOUND
from builder.publish.timeline import Timeline, find_way
from tests.unit.publish.test_timeline import HUB, Hubs, digest_of

PILOT = HUB.repository("pilot")


def past_of(hubs: Hubs, gone: tuple[Digest, ...] = ()) -> Past:
    return Past(timeline=hubs.timeline(), now=hubs.now, gone=frozenset((PILOT, digest) for digest in gone))


@pytest.fixture
def hubs() -> Hubs:
    hubs = Hubs()
    hubs.make("a", ("pilot",), by=FOUND, time="2026-03-01T12:00:00Z")
    hubs.make("b", time="2026-03-01T12:00:00Z")
    hubs.make("c", ("pilot",), tag="1.30", by="promote docker.io/me:1.30", time="2026-03-02T12:00:00Z")
    return hubs


def test_people_see_when_by_what_and_where_tags_are(hubs: Hubs) -> None:
    blocks = history_table(past_of(hubs, (digest_of("a", "pilot", "debug"),))).split("\n\n")
    assert [block.split()[0] for block in blocks] == ["cccc", "bbbb", "aaaa"]
    assert "2026-03-02T12:00:00Z  promote docker.io/me:1.30  1.29.0  (istio-build 0.1.0 on ci)" in blocks[0]
    debug = digest_of("b", "pilot", "debug").short
    assert f"  hub.test/istio/pilot     {debug}  1.29 (now), 1.29-debug (now)" in blocks[1]
    assert "(not by istio-build, or unknown)" in blocks[2]
    assert f"{digest_of('a', 'pilot', 'debug').short}  1.29, 1.29-debug  gone" in blocks[2]
    assert history_table(past_of(hubs), ("1.30",)) == history_table(past_of(hubs)).split("\n\n")[0]
    assert history_table(past_of(hubs), ("2",)) == "No release is remembered."


def test_programs_see_the_same(hubs: Hubs) -> None:
    document = json.loads(json.dumps(history_json(past_of(hubs, (digest_of("a", "pilot", "debug"),)))))
    newest, _, oldest = document["releases"]
    assert newest["release"] == "cccc"
    assert newest["images"][0] == {
        "image": "pilot-debug",
        "repository": "hub.test/istio/pilot",
        "digest": str(digest_of("c", "pilot", "debug")),
        "inputs": "",
        "tags": ["1.30", "1.30-debug"],
        "tags_here_now": ["1.30", "1.30-debug"],
        "present": True,
    }
    assert [(image["present"], image["tags_here_now"]) for image in oldest["images"]] == [(False, []), (True, [])]
    assert document["tags"]["hub.test/istio/istioctl:1.29"] == str(digest_of("b", "istioctl", "debug"))


def test_who_does_not_remember_is_named(hubs: Hubs) -> None:
    hubs.make("d", remembered=("pilot",))
    assert "  hub.test/istio/istioctl does not remember it" in history_table(past_of(hubs)).split("\n\n")[0]
    only = replace(past_of(hubs), timeline=hubs.timeline(("pilot",)))
    assert "does not remember" not in history_table(only)


def test_no_text_of_a_history_reaches_the_terminal_as_a_command(hubs: Hubs) -> None:
    release = hubs.timeline().releases[0]
    evil = replace(release, version="\x1b[2J", happening=replace(release.happening, host="\u202e", by="push\nall is well"))
    shown = history_table(replace(past_of(hubs), timeline=Timeline(releases=(evil,))))
    assert all(line.isprintable() for line in shown.splitlines())
    assert len(shown.splitlines()) == 3


def test_the_way_back_is_shown(hubs: Hubs) -> None:
    timeline = hubs.timeline()
    now: dict[ImageReference, Digest | None] = {**hubs.now, PILOT.at("1.29-distroless"): None}
    way = find_way(timeline, timeline.of_tags(timeline.keys(), ("1.29",)), now, "aaaa")
    head, _, *rows, first, second, third = rollback_table(way).splitlines()
    assert head == "back to release aaaa of 2026-03-01T12:00:00Z, found:"
    old, new = (digest_of(release, "pilot", "debug").short for release in "ba")
    assert [row.split() for row in rows] == [
        ["hub.test/istio/pilot:1.29", old, new],
        ["hub.test/istio/pilot:1.29-debug", old, new],
        ["hub.test/istio/pilot:1.29-distroless", "gone", digest_of("a", "pilot", "distroless").short],
    ]
    assert {line.rpartition(" stays")[0] for line in (first, second, third)} == {
        f"hub.test/istio/istioctl:{tag}" for tag in ("1.29", "1.29-debug", "1.29-distroless")
    }
    document = rollback_json(way)
    assert document["release"] == "aaaa"
    assert document["moves"][2] == {
        "reference": "hub.test/istio/pilot:1.29-distroless",
        "from": None,
        "to": str(digest_of("a", "pilot", "distroless")),
    }
    assert len(document["stay"]) == 3
