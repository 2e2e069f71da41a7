"""What a repository remembers: as values, within bounds, and written at a registry that refuses, loses or races."""

import dataclasses
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from builder.errors import AccessDenied, Interrupted, RegistryError, RequestError
from builder.oci.manifest import INDEX, Manifest
from builder.oci.reference import HISTORY_TAG, RESERVED_TAGS, Digest, ImageReference
from builder.plan.tags import image_references
from builder.publish.history import (
    FOUND,
    HISTORY_ANNOTATION,
    HISTORY_TYPE,
    MOST_RELEASES,
    Happening,
    History,
    HistoryEntry,
    HistoryImage,
    UnreadableHistory,
    decode_history,
    encode_history,
)
from builder.publish.publication import Publication
from builder.publish.recorder import read_history, record_release
from builder.runtime.progress import Event, Message, Progress
from tests.fakes.registry import FakeRegistry
from tests.samples.images import make_digest
from tests.unit.publish.test_publication import HUB, Release, make_release

PILOT = HUB.repository("pilot")


def happening(number: int = 0, by: str = "push") -> Happening:
    return Happening(release=uuid.UUID(int=number).hex, time=f"2026-03-01T12:{number:02}:00Z", by=by, host="ci", builder="0.1.0")


def entry(number: int, *tags: str) -> HistoryEntry:
    image = HistoryImage(key="pilot-debug", digest=make_digest(str(number)), tags=tags or ("1.29",), inputs=f"inputs {number}")
    return HistoryEntry(
        happening=happening(number), version="1.29.0", commit="c" * 40, beside=("istioctl", "pilot"), images=(image,)
    )


def text_of(history: History) -> str:
    return encode_history(history).annotations()[HISTORY_ANNOTATION]


def damaged(document: object, **more: Any) -> Manifest:  # noqa: ANN401 - JSON
    text = document if isinstance(document, str) else json.dumps(document)
    value = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": {HISTORY_ANNOTATION: text}, **more}
    return Manifest(media_type=INDEX, content=json.dumps(value).encode())


class TestValues:
    def test_what_is_written_is_what_is_read(self) -> None:
        back = dataclasses.replace(entry(2), happening=dataclasses.replace(happening(2, "rollback 1"), back_to="1"))
        images = [Manifest(media_type=INDEX, content=str(number).encode()).descriptor for number in (1, 2)]
        entries = [
            dataclasses.replace(each, images=(dataclasses.replace(each.images[0], digest=image.digest),))
            for each, image in zip((entry(1), back), images, strict=True)
        ]
        history = History().adding([entries[0]], [images[0]]).adding([entries[1]], [images[1]])
        manifest = encode_history(history)
        assert decode_history(manifest) == history
        document = manifest.json()
        assert document["artifactType"] == HISTORY_TYPE
        assert [child["digest"] for child in document["manifests"]] == [str(image.digest) for image in reversed(images)]

    def test_the_oldest_make_room(self) -> None:
        history = History()
        for number in range(MOST_RELEASES + 5):
            image = Manifest(media_type=INDEX, content=str(number).encode()).descriptor
            own = dataclasses.replace(entry(number), images=(HistoryImage(key="pilot", digest=image.digest, tags=("1",)),))
            history = history.adding([own], [image])
        assert [each.happening for each in history.entries] == [happening(number) for number in range(24, 4, -1)]
        assert [image.digest for image in history.kept] == [each.images[0].digest for each in history.entries]

    def test_so_they_do_where_releases_have_many_tags(self) -> None:
        history = History()
        for number in range(MOST_RELEASES):
            history = history.adding([entry(number, *(f"{number}-{tag:0120}" for tag in range(60)))], [])
        assert len(text_of(history)) <= 64 * 1024
        assert 1 < len(history.entries) < MOST_RELEASES
        assert history.entries[0].happening == happening(MOST_RELEASES - 1)

    @pytest.mark.parametrize(
        ("document", "told"),
        [
            ({"version": 2, "releases": []}, "of version 2, and this istio-build knows 1"),
            ("{", "damaged"),
            ([], "damaged"),
            ({"version": 1}, "damaged"),
            ({"version": 1, "releases": {}}, "damaged"),
            ({"version": 1, "releases": [{"id": ""}]}, "damaged"),
            ({"version": 1, "releases": [{"id": "a", "images": [{}]}]}, "damaged"),
            (
                {"version": 1, "releases": [{"id": "a", "beside": [], "images": [{"image": "", "digest": "x", "tags": []}]}]},
                "damaged",
            ),
            ('"' + "a" * 200_000 + '"', "damaged"),
        ],
    )
    def test_what_cannot_be_read_is_told(self, document: object, told: str) -> None:
        with pytest.raises(UnreadableHistory, match=told):
            decode_history(damaged(document))

    @pytest.mark.parametrize("annotations", [{}, None, {HISTORY_ANNOTATION: 1}])
    def test_an_index_without_it_is_damaged(self, annotations: object) -> None:
        with pytest.raises(UnreadableHistory, match="damaged"):
            decode_history(damaged("{}", annotations=annotations))


class Hub:
    """A hub in memory, and what is told while it is written to."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.registry = FakeRegistry()
        self.messages: list[Message] = []

    def push(self, content: str) -> tuple[Release, dict[ImageReference, Manifest | None]]:
        """Publish without a word in the history; gives what was there before."""
        release = make_release(self.work, content, self.registry)
        before = {ref: self.registry.get_manifest(ref) for each in release.publications for ref in each.references}
        release.publish()
        return release, before

    def record(
        self, publications: tuple[Publication, ...], before: Mapping[ImageReference, Manifest | None], number: int = 1
    ) -> None:
        record_release(publications, before, happening(number), self.registry, Progress(self._observe))

    def release(self, content: str, number: int) -> dict[str, Digest]:
        release, before = self.push(content)
        self.record(release.publications, before, number)
        return {each.key: each.index.digest for each in release.publications}

    def pilot(self) -> History:
        found = read_history(PILOT, self.registry)
        assert found
        return found

    def _observe(self, event: Event) -> None:
        if isinstance(event, Message):
            self.messages.append(event)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


class TestAtTheHub:
    def test_every_repository_is_told_of_all_that_were_beside_it(self, hub: Hub) -> None:
        first = hub.release("one", 1)
        second = hub.release("two", 2)
        for image in ("istioctl", "pilot", "proxyv2"):
            history = read_history(HUB.repository(image), hub.registry)
            assert history
            assert [each.happening for each in history.entries] == [happening(2), happening(1)]
            assert [each.tags for each in history.entries] == [
                {"1.29": made[image], "1.29-debug": made[image]} for made in (second, first)
            ]
            assert {each.beside for each in history.entries} == {("istioctl", "pilot", "proxyv2")}
            assert [image.digest for image in history.kept] == [second[image], first[image]]
        assert hub.messages == []

    def test_what_was_there_before_the_first_one_is_noted(self, hub: Hub) -> None:
        old, _ = hub.push("old")
        hub.release("one", 1)
        newest, found = hub.pilot().entries
        assert (newest.happening.by, found.happening.by) == ("push", FOUND)
        digest = next(each.index.digest for each in old.publications if each.key == "pilot")
        assert found.tags == {"1.29": digest, "1.29-debug": digest}
        assert digest in [image.digest for image in hub.pilot().kept]

    def test_and_what_somebody_put_there_by_other_means(self, hub: Hub) -> None:
        hub.release("one", 1)
        foreign, _ = hub.push("foreign")
        hub.release("two", 2)
        digest = next(each.index.digest for each in foreign.publications if each.key == "pilot")
        assert [each.happening.by for each in hub.pilot().entries] == ["push", FOUND, "push"]
        assert hub.pilot().entries[1].tags["1.29"] == digest

    def test_an_image_that_was_deleted_is_no_longer_kept_but_remembered(self, hub: Hub) -> None:
        first = hub.release("one", 1)
        second = hub.release("two", 2)
        del hub.registry.manifests[PILOT][str(first["pilot"])]
        third = hub.release("three", 3)
        assert [image.digest for image in hub.pilot().kept] == [third["pilot"], second["pilot"]]
        assert len(hub.pilot().entries) == 3
        assert hub.messages == []

    @pytest.mark.parametrize("status", [400, 403, 405])
    def test_a_registry_that_refuses_it_is_told_of_once(self, hub: Hub, status: int) -> None:
        error = AccessDenied if status == 403 else RegistryError
        hub.registry.fail_on = lambda operation, key: (
            error("no such type", status=status) if operation == "put_tag" and HISTORY_TAG in key else None
        )
        hub.release("one", 1)
        [message] = hub.messages
        assert (message.level, "hub.test does not take the history" in message.text) == ("note", True)

    def test_a_failing_registry_and_a_damaged_history_are_warnings_and_nothing_is_overwritten(self, hub: Hub) -> None:
        strange = damaged({"version": 7, "releases": []})
        hub.registry.manifests[PILOT][HISTORY_TAG] = strange
        hub.registry.fail_on = lambda operation, key: (
            RegistryError("out of order", status=500)
            if operation == "put_tag" and key.endswith(f"proxyv2:{HISTORY_TAG}")
            else None
        )
        hub.release("one", 1)
        assert hub.registry.manifests[PILOT][HISTORY_TAG] is strange
        assert {message.level for message in hub.messages} == {"warning"}
        texts = sorted(message.text for message in hub.messages)
        assert "pilot:istio-build-history does not say so: it is of version 7" in texts[0]
        assert texts[0].endswith("it is left as it is.")
        assert "proxyv2:istio-build-history does not say so: out of order" in texts[1]
        assert read_history(HUB.repository("istioctl"), hub.registry)

    def test_another_run_that_writes_at_the_same_time_is_not_lost(self, hub: Hub) -> None:
        hub.release("one", 1)
        theirs = encode_history(hub.pilot().adding([entry(7, "other")], []))
        written: list[str] = []

        def overwrite(operation: str, key: str) -> None:
            if operation == "put_tag" and key == f"{PILOT}:{HISTORY_TAG}" and not written:
                written.append(key)
                hub.registry.manifests[PILOT][HISTORY_TAG] = theirs

        hub.registry.fail_after = overwrite
        hub.release("two", 2)
        assert [each.happening.release for each in hub.pilot().entries] == [happening(number).release for number in (2, 7, 1)]

    def test_an_interruption_is_one(self, hub: Hub) -> None:
        def interrupt(operation: str, key: str) -> Exception | None:
            return Interrupted("interrupted") if operation == "put_tag" and HISTORY_TAG in key else None

        hub.registry.fail_on = interrupt
        with pytest.raises(Interrupted):
            hub.release("one", 1)


def test_reserved_tags_are_no_tags_of_images() -> None:
    assert HISTORY_TAG in RESERVED_TAGS
    for tag in RESERVED_TAGS:
        with pytest.raises(RequestError, match="reserved"):
            image_references((HUB,), (tag,), "pilot", "debug", is_default=True)
        plain, _, variant = tag.rpartition("-")
        with pytest.raises(RequestError, match="reserved"):
            image_references((HUB,), (plain,), "pilot", variant, is_default=False)
