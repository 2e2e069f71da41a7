"""Tags that go on with releases, at hubs that hold something: never back, and together with the release's own tags."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.errors import PublishError, RegistryError
from builder.pipeline.moving_tags import leave_newer
from builder.pipeline.prepare import Resolved
from builder.plan.planner import make_plan
from builder.publish.guards import Permissions
from tests.samples.plans import COMMIT, load_book, make_lock, make_request, make_source, make_state
from tests.unit.pipeline.test_guards import ANOTHER, HUB, PILOT, Site
from tests.unit.pipeline.test_releases import FakeAdapters

OLDER: dict[str, Any] = {"commit": ANOTHER, "tag": "1.28.4", "description": "1.28.4"}
LATEST = Permissions(moving=("latest",))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def tags(site: Site) -> dict[str, str]:
    """The version of what each tag is at."""
    manifests = site.registry.manifests[PILOT]
    return {tag: manifests[tag].annotations().get("org.opencontainers.image.version", "") for tag in site.registry.tags(PILOT)}


def resolve(tree: dict[str, Any], **request: Any) -> Resolved:  # noqa: ANN401 - fields of values
    lock, book = make_lock(source=make_source(make_state(**tree))), load_book()
    asked = make_request(images=("pilot",), variants=("distroless",), **request)
    plan = make_plan(asked, book, lock)
    return Resolved(request=asked, tree=Path(), origin=Path(), book=book, lock=lock, plan=plan, always_build=False)


def leave(site: Site, resolved: Resolved) -> tuple[Resolved, FakeAdapters]:
    adapters = FakeAdapters(site.root, site.registry)
    return leave_newer(resolved, adapters), adapters


def references(resolved: Resolved) -> list[str]:
    return [str(reference).rpartition("/")[2] for image in resolved.plan.images for reference in image.references]


def test_they_are_set_together_with_the_releases_own(site: Site) -> None:
    site.push(LATEST, moving_tags=("1.29", "latest"))
    assert tags(site) == dict.fromkeys(("1.29.0-distroless", "1.29-distroless", "latest-distroless"), "1.29.0")


def test_where_one_cannot_move_no_tag_of_the_release_does(site: Site) -> None:
    def fail(operation: str, key: str) -> Exception | None:
        return RegistryError("no", status=403) if operation == "put_tag" and key.endswith("latest-distroless") else None

    site.registry.fail_on = fail
    with pytest.raises(PublishError, match="every tag is where it was before"):
        site.push(LATEST, moving_tags=("latest",))
    assert tags(site) == {}


def test_one_that_is_at_a_newer_release_is_left_there_and_the_others_move(site: Site) -> None:
    site.push(LATEST, moving_tags=("latest",))
    left, adapters = leave(site, resolve(OLDER, moving_tags=("1.28", "latest")))
    assert left.request.moving_tags == ("1.28",)
    assert references(left) == ["pilot:1.28.4-distroless", "pilot:1.28-distroless"]
    assert adapters.messages == [
        f"{HUB}/pilot:latest-distroless stays where it is: at 1.29.0 of commit {COMMIT[:12]}, which is newer."
    ]


@pytest.mark.parametrize(
    ("there", "moving", "stays"),
    [
        ({}, "latest", False),
        ({"tag": "1.30.0", "description": "1.30.0", "commit": ANOTHER}, "latest", True),
        ({"tag": "1.29.1", "description": "1.29.1", "commit": ANOTHER}, "latest", True),
        (OLDER, "latest", False),
        # What is there need not be named as Istio names its releases.
        ({"tag": "corp-1.30.0", "description": "corp-1.30.0", "commit": ANOTHER}, "latest", True),
        ({"tag": "nightly", "description": "nightly", "commit": ANOTHER}, "latest", False),
        # A number is no text: 1.10 is newer than 1.9.
        ({"tag": "1.100.0", "description": "1.100.0", "commit": ANOTHER}, "latest", True),
    ],
)
def test_what_counts_is_the_release_that_is_there(site: Site, there: dict[str, Any], moving: str, stays: bool) -> None:
    site.push(tree=there, moving_tags=(moving,))
    left, _ = leave(site, resolve({}, moving_tags=(moving,)))
    assert (left.request.moving_tags == ()) is stays


def test_where_nothing_is_there_nothing_is_in_the_way(site: Site) -> None:
    resolved = resolve({}, moving_tags=("latest",))
    left, adapters = leave(site, resolved)
    assert (left, adapters.messages) == (resolved, [])
    assert adapters.view.operations("get_manifest") == [f"{HUB}/pilot:latest-distroless"]
    # Who has none asks nobody.
    assert leave(site, resolve({}))[1].view.log == []


def test_one_that_another_run_has_moved_on_meanwhile_is_not_moved_back(site: Site) -> None:
    """Between the look at it and the move lie minutes of compiling."""
    site.push(LATEST, moving_tags=("latest",))
    with pytest.raises(PublishError, match=r"has moved .*/pilot:latest-distroless on to 1\.29\.0 of commit .* no tag has moved"):
        site.push(LATEST, OLDER, moving_tags=("latest",))
    assert tags(site) == dict.fromkeys(("1.29.0-distroless", "latest-distroless"), "1.29.0")


def test_a_tag_that_is_not_said_to_go_on_moves_as_ever(site: Site) -> None:
    site.push(tags=("1.29.0", "stable"))
    site.push(tree=OLDER, tags=("1.28.4", "stable"))
    assert tags(site)["stable-distroless"] == "1.28.4"


def test_leaving_it_changes_nothing_but_tags(site: Site) -> None:
    site.push(LATEST, moving_tags=("latest",))
    with_it = resolve(OLDER, moving_tags=("latest",))
    left, _ = leave(site, with_it)
    [one], [other] = with_it.plan.images, left.plan.images
    assert one.fingerprint == other.fingerprint
    assert replace(one, references=()) == replace(other, references=())
