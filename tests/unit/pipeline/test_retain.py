"""Old tags of hubs in memory: what is looked at, what goes, and what keeps it from going."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from builder.cli.retain_view import retain_json, retain_table
from builder.config.settings import Job
from builder.errors import AccessDenied, RegistryError, RequestError
from builder.oci.manifest import INDEX, Manifest
from builder.oci.reference import HISTORY_TAG, RECORD_TAG, TRIAL_TAGS, ImageReference, Repository
from builder.pipeline.retain import Retained, plan_retention, retain
from builder.publish.history import FOUND, Happening, History, HistoryEntry, HistoryImage, encode_history
from tests.fakes.registry import FakeRegistry
from tests.unit.pipeline.test_releases import FakeAdapters, job
from tests.unit.publish.test_publication import HUB

PILOT, PROXY = HUB.repository("pilot"), HUB.repository("proxyv2")
NIGHTS = ("n-1", "n-2", "n-3", "n-4")


class Hub:
    """Two images; each night has its tag and that of a variant in both, and `latest` is at the last one."""

    def __init__(self, work: Path) -> None:
        self.adapters = FakeAdapters(work, FakeRegistry())
        self.registry = self.adapters.view
        for day, night in enumerate(NIGHTS, 1):
            for repository in (PILOT, PROXY):
                index = self.put(repository, night, f"2026-11-0{day}T00:00:00Z")
                self.registry.manifests[repository][f"{night}-debug"] = index
                self.registry.manifests[repository]["latest"] = index

    def put(self, repository: Repository, tag: str, created: str, *, ours: bool = True) -> Manifest:
        notes = {"org.opencontainers.image.created": created, "said": f"{repository} {tag}"}
        annotations = {**notes, **({"dev.istio-build.inputs": "sha256:1"} if ours else {})}
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [], "annotations": annotations}
        index = Manifest(media_type=INDEX, content=json.dumps(document).encode())
        self.registry.manifests[repository] |= {tag: index, str(index.digest): index}
        return index

    def remember(self, time: str, by: str, tag: str) -> None:
        index = self.registry.manifests[PILOT][tag]
        happening = Happening(release=tag * 4, time=time, by=by, host="ci", builder="1")
        image = HistoryImage(key="pilot", digest=index.digest, tags=(tag,))
        entry = HistoryEntry(happening=happening, version="", commit="", beside=("pilot",), images=(image,))
        self.registry.manifests[PILOT][HISTORY_TAG] = encode_history(History(entries=(entry,), kept=(index.descriptor,)))

    def plan(self, keep: str = "2", *, also_foreign: bool = False, **more: str) -> Retained:
        return plan_retention(wish(keep, **more), self.adapters, also_foreign=also_foreign)

    def tags(self, repository: Repository = PILOT) -> set[str]:
        return set(self.registry.list_tags(repository))


def wish(keep: str = "2", patterns: str = "n-*", **more: str) -> Job:
    return job(hub=str(HUB), retain=keep, retain_tags=patterns, **more)


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    return Hub(tmp_path)


def names(planned: Retained) -> list[str]:
    return [str(verdict.tag.reference).removeprefix(f"{HUB}/") for verdict in planned.verdicts if verdict.goes]


OLD = [f"{image}:{tag}" for image in ("pilot", "proxyv2") for tag in ("n-1", "n-1-debug", "n-2", "n-2-debug")]


def test_what_would_go_is_shown_and_nothing_is_changed(hub: Hub) -> None:
    planned = hub.plan()
    assert names(planned) == OLD
    assert planned.others == 2
    assert not hub.registry.operations("delete_tag") + hub.registry.operations("put_tag")
    assert f"{PILOT}:latest" not in hub.registry.operations("get_manifest"), "what no pattern names is not even looked at"


def test_old_tags_go_and_nothing_else_does(hub: Hub) -> None:
    before = dict(hub.registry.manifests[PILOT])
    done = retain(hub.plan(), hub.adapters)
    assert sorted(str(reference).removeprefix(f"{HUB}/") for reference in done.gone) == OLD
    for repository in (PILOT, PROXY):
        assert hub.tags(repository) == {"latest", "n-3", "n-3-debug", "n-4", "n-4-debug"}
    left = hub.registry.manifests[PILOT]
    assert {key for key in before if key not in left} == {"n-1", "n-1-debug", "n-2", "n-2-debug"}, "no image is deleted"
    assert names(hub.plan()) == []
    deleted = [key.rpartition(":")[2][:3] for key in hub.registry.operations("delete_tag") if TRIAL_TAGS[0] not in key]
    assert deleted == ["n-1"] * 4 + ["n-2"] * 4


def test_notes_and_lists_of_referrers_stay(hub: Hub) -> None:
    kept = {HISTORY_TAG, RECORD_TAG, *TRIAL_TAGS, f"sha256-{'a' * 64}", f"sha256-{'a' * 64}.sig"}
    for tag in kept - {HISTORY_TAG}:
        hub.put(PILOT, tag, "2020-01-01T00:00:00Z")
    hub.remember("2026-11-04T00:00:00Z", "push", "n-4")
    planned = hub.plan("1", patterns="*")
    assert not kept & {verdict.tag.reference.tag for verdict in planned.verdicts}
    retain(planned, hub.adapters)
    assert hub.tags() >= kept - {*TRIAL_TAGS}


def test_when_a_tag_was_put_there_counts_before_when_its_image_was_made(hub: Hub) -> None:
    hub.remember("2026-11-09T00:00:00Z", FOUND, "n-1")
    assert "pilot:n-1" in names(hub.plan(image="pilot")), "that it was found there says nothing of its age"
    hub.remember("2026-11-09T00:00:00Z", "push", "n-1")
    assert names(hub.plan(image="pilot")) == ["pilot:n-2", "pilot:n-2-debug", "pilot:n-3", "pilot:n-3-debug"]


def test_what_somebody_else_made_goes_only_when_it_is_meant(hub: Hub) -> None:
    hub.put(PILOT, "n-0", "2026-10-01T00:00:00Z", ours=False)
    assert "pilot:n-0" not in names(hub.plan())
    assert "pilot:n-0" in names(hub.plan(also_foreign=True))
    assert names(hub.plan(immutable="n-1*,n-2")) == ["pilot:n-2-debug", "proxyv2:n-2-debug"]


def test_what_was_moved_meanwhile_stays(hub: Hub) -> None:
    planned = hub.plan()
    new = hub.put(PILOT, "n-1", "2026-12-01T00:00:00Z")
    del hub.registry.manifests[PILOT]["n-2"]
    done = retain(planned, hub.adapters)
    assert done.left == {PILOT.at("n-1")}
    assert len(done.gone) == 7
    assert hub.registry.manifests[PILOT]["n-1"] == new
    assert f"{PILOT}:n-1" in retain_table(done, done=True)
    assert [tag["state"] for tag in retain_json(done, done=True)["tags"]].count("moved") == 1


def test_a_registry_that_cannot_delete_tags_says_so_and_is_given_nothing(hub: Hub) -> None:
    hub.registry.can_delete_tags = False
    with pytest.raises(RegistryError, match=r"hub\.test cannot delete tags, so hub\.test/istio/pilot:n-1 stays") as caught:
        retain(hub.plan(), hub.adapters)
    assert "retention rules" in caught.value.hint
    assert not hub.registry.operations("put_tag")
    assert len(hub.tags()) == 9


def test_a_registry_that_takes_the_image_with_its_tag_is_found_out_before_a_tag_is_lost(hub: Hub) -> None:
    before = hub.tags()

    def delete_image(reference: ImageReference) -> bool:
        own = hub.registry.manifests[reference.repository]
        gone = own.get(reference.tag)
        for key in [key for key, manifest in own.items() if gone and manifest.digest == gone.digest]:
            del own[key]
        return True

    hub.registry.delete_tag = delete_image  # type: ignore[method-assign]
    with pytest.raises(RegistryError, match="deletes an image with all its tags"):
        retain(hub.plan(), hub.adapters)
    assert hub.tags() == before


def test_what_a_trial_leaves_is_named(hub: Hub) -> None:
    """A registry that says of a tag that is not there that it is gone, and of one that is that it cannot be deleted."""
    hub.registry.delete_tag = lambda reference: reference.tag not in hub.tags()  # type: ignore[method-assign]
    with pytest.raises(RegistryError, match=r"hub\.test/istio/pilot:istio-build-retain and istio-build-retain-2, .* are left"):
        retain(hub.plan(), hub.adapters)


def test_whoever_is_refused_in_the_middle_is_told_how_much_is_gone(hub: Hub) -> None:
    def refuse(operation: str, key: str) -> Exception | None:
        refused = operation == "delete_tag" and key == f"{PROXY}:n-2"
        return AccessDenied("no", status=403) if refused else None

    hub.registry.fail_on = refuse
    with pytest.raises(AccessDenied):
        retain(hub.plan(), hub.adapters)
    # What was not begun yet when one was refused is not begun any more.
    hub.registry.fail_on = lambda operation, key: None
    left = names(hub.plan())
    assert "proxyv2:n-2" in left
    assert len(left) <= 4
    assert hub.adapters.messages[-1] == f"{8 - len(left)} of 8 tags are gone; the same again goes on with the others."


def test_a_repository_that_may_not_be_listed_is_named_and_all_of_them_are_an_error(hub: Hub) -> None:
    def refusing(*refused: Repository) -> Callable[[str, str], Exception | None]:
        denied = set(map(str, refused))
        return lambda operation, key: (
            AccessDenied("no", status=401) if operation == "list_tags" and (not denied or key in denied) else None
        )

    hub.registry.fail_on = refusing(PROXY)
    planned = hub.plan(image="pilot,proxyv2")
    assert planned.notes[-1] == f"{PROXY} is not there, or its tags may not be listed"
    assert names(planned) == OLD[:4]
    hub.registry.fail_on = refusing()
    with pytest.raises(AccessDenied):
        hub.plan()


def test_what_is_damaged_stays_and_a_registry_that_is_down_is_an_error(hub: Hub) -> None:
    def fail(*, damaged: bool) -> Callable[[str, str], Exception | None]:
        return lambda operation, key: (
            RegistryError("bad", damaged=damaged) if (operation, key) == ("get_manifest", f"{PILOT}:n-1") else None
        )

    hub.registry.fail_on = fail(damaged=True)
    assert "pilot:n-1" not in names(hub.plan())
    hub.registry.fail_on = fail(damaged=False)
    with pytest.raises(RegistryError, match="bad"):
        hub.plan()


@pytest.mark.parametrize(
    ("words", "lacking"),
    [
        ({"retain": "2"}, "which tags it is about"),
        ({"retain_tags": "n-*"}, "how many stay"),
        ({}, "which tags it is about"),
    ],
)
def test_nothing_goes_by_default(hub: Hub, words: dict[str, str], lacking: str) -> None:
    with pytest.raises(RequestError, match=lacking) as caught:
        plan_retention(job(hub=str(HUB), **words), hub.adapters, also_foreign=False)
    assert "--retain-tags" in caught.value.hint
    assert not hub.registry.log


def test_people_and_programs_see_what_would_go_and_why(hub: Hub) -> None:
    planned = hub.plan("3", image="pilot")
    head, *rows = retain_table(planned, done=False).splitlines()
    assert head.split() == ["TAG", "DIGEST", "SINCE", "WHY"]
    digest = hub.registry.manifests[PILOT]["n-1"].digest
    assert rows[0].split() == [
        *(f"{PILOT}:n-1", digest.short, "2026-11-01T00:00:00Z", "goes"),
        *("older", "than", "the", "newest", "3", "of", "n-*"),
    ]
    assert rows[2].split()[3:] == ["stays", "of", "the", "newest", "3", "of", "n-*"]
    assert rows[-2] == "2 tags would go, 6 would stay; 1 other tag that no pattern names."
    assert rows[-1] == "Nothing was changed: --yes takes them away."
    document = json.loads(json.dumps(retain_json(planned, done=False)))
    assert document["tags"][0] == {
        "reference": f"{PILOT}:n-1",
        "release": "n-1",
        "digest": str(digest),
        "time": "2026-11-01T00:00:00Z",
        "state": "goes",
        "reason": "older than the newest 3 of n-*",
    }
    assert (document["done"], document["other_tags"]) == (False, 1)
    nothing = replace(planned, verdicts=())
    assert "No tag is named by these patterns." in retain_table(nothing, done=False)
