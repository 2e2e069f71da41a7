"""Why something is made anew is said before it is, and in the report; and what a push would do is known without one."""

import json
from pathlib import Path
from typing import Any

import pytest

from builder.cli.comparison_view import comparison_json, comparison_table
from builder.oci.manifest import Manifest
from builder.oci.reference import Hub
from builder.pipeline.comparison import Comparison, compare_with_hubs
from builder.plan.model import NOTES_ANNOTATION, Plan
from builder.publish.guards import CAREFUL, Permissions
from builder.publish.tags import read_tags
from builder.runtime.progress import CauseTold, Progress, TaskStarted
from tests.samples.images import AMD64, ARM64
from tests.samples.plans import COMMIT
from tests.unit.pipeline.test_guards import ANEW, ANOTHER, AS_RELEASE, DIRTY, FOREIGN, HUB, MERGE, PILOT, REPLACE, Site

KEY = "pilot-distroless"
NEW = f"why: the tag is new at {HUB}: {KEY}"
FLAGS = f"why: the flags of `go build` changed: {KEY}"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """The hub has the clean 1.29.0 for both platforms."""
    site = Site(tmp_path)
    site.push()
    return site


def causes(site: Site) -> list[str]:
    return [event.line for event in site.events if isinstance(event, CauseTold)]


def lose_arm64(site: Site) -> None:
    """Somebody makes an index by hand, and leaves a platform out."""
    for tag in tuple(site.tags()):
        document = site.index(tag).json()
        document["manifests"] = [child for child in document["manifests"] if child["platform"]["architecture"] == "amd64"]
        site.registry.manifests[PILOT][tag] = Manifest(
            media_type=site.index(tag).media_type, content=json.dumps(document).encode()
        )


class TestPush:
    def test_it_says_why_before_it_builds(self, site: Site) -> None:
        assert causes(site) == [NEW]
        site.events.clear()
        site.push(**ANEW)
        assert causes(site) == [FLAGS]
        told = next(number for number, event in enumerate(site.events) if isinstance(event, CauseTold))
        stages = [event.stage for event in site.events[:told] if isinstance(event, TaskStarted)]
        assert stages == ["look"]

    def test_the_report_says_it_too(self, site: Site) -> None:
        [image] = site.push(**ANEW).images
        assert [(reason.kind, reason.text) for reason in image.reasons] == [("flags", "the flags of `go build` changed")]

    def test_what_is_unchanged_has_no_reason_and_asks_no_more_than_it_did(self, site: Site) -> None:
        site.events.clear()
        calls = len(site.registry.log)
        [image] = site.push().images
        assert (image.state, image.reasons, causes(site)) == ("unchanged", (), [])
        asked = [operation for operation, _ in site.registry.log[calls:]]
        # The index, and for each platform its manifest, configuration and layers: what a look at an image takes.
        assert asked.count("get_manifest") == 1 + 2 + len(site.tags())
        assert "put_tag" not in asked

    def test_a_platform_that_the_hub_lost(self, site: Site) -> None:
        lose_arm64(site)
        site.events.clear()
        site.push()
        assert causes(site) == [f"why: {HUB} lost linux/arm64: {KEY}"]

    def test_all_of_it_is_to_be_made_anew(self, site: Site) -> None:
        site.events.clear()
        [image] = site.push(rebuild=True).images
        assert [reason.kind for reason in image.reasons] == ["rebuild"]
        assert "--rebuild" in causes(site)[0]

    def test_platforms_that_are_kept_keep_what_is_noted_of_them(self, tmp_path: Path) -> None:
        """So that the next push of both explains itself, whichever machine pushed which."""
        site = Site(tmp_path)
        for platform in (AMD64, ARM64):
            site.push(MERGE, platforms=(platform,))
        notes = json.loads(site.index("1.29.0-distroless").annotations()[NOTES_ANNOTATION])
        assert set(notes["on"]) == {"linux/amd64", "linux/arm64"}
        site.events.clear()
        site.push(**ANEW)
        assert causes(site) == [FLAGS]

    def test_one_platform_of_a_merged_image_differs(self, site: Site) -> None:
        site.push(MERGE, platforms=(ARM64,), **ANEW)
        site.events.clear()
        site.push()
        assert causes(site) == [f"why: the flags of `go build` changed on linux/arm64: {KEY}"]


class TestComparison:
    def compare(self, site: Site, plan: Plan, permissions: Permissions = CAREFUL, *, rebuild: bool = False) -> Comparison:
        calls = len(site.registry.log)
        comparison = compare_with_hubs(plan, site.registry, Progress(lambda event: None), permissions, rebuild=rebuild)
        reads = {"get_manifest", "get_blob", "has_blob"}
        assert {operation for operation, _ in site.registry.log[calls:]} <= reads
        return comparison

    def test_nothing_would_be_done(self, site: Site) -> None:
        comparison = self.compare(site, site.plan())
        [image] = comparison.images
        assert (image.state, image.reasons, image.moves) == ("unchanged", (), ())
        assert "A push would do nothing: the hub has it all." in comparison_table(comparison)

    @pytest.mark.parametrize(
        ("tree", "request_"),
        [
            ({}, ANEW),
            (FOREIGN, {"tags": ("dev",)}),
            ({}, {"hubs": (Hub.parse("other.example/mesh"),)}),
            ({}, {"tags": ("1.29.0", "1.29")}),
            ({}, {}),
        ],
        ids=["flags", "commit", "hub", "tag", "nothing"],
    )
    def test_it_says_what_the_push_then_does(self, site: Site, tree: dict[str, Any], request_: dict[str, Any]) -> None:
        plan = site.plan(tree, **request_)
        comparison = self.compare(site, plan)
        references = [reference for image in plan.everything for reference in image.references]
        before = read_tags(references, site.registry)
        report = site.push(tree=tree, **request_)
        assert [(image.key, image.state, image.reasons) for image in comparison.images] == [
            (image.key, image.state, image.reasons) for image in report.images
        ]
        after = read_tags(references, site.registry)
        moved = {reference for reference in references if before[reference] != after[reference]}
        assert {move.reference for image in comparison.images for move in image.moves} == moved

    def test_tags_that_would_move_are_told_with_where_they_are(self, site: Site) -> None:
        before = site.tags()["1.29.0-distroless"]
        comparison = self.compare(site, site.plan(**ANEW))
        [move] = comparison.images[0].moves
        assert (str(move.reference), move.before, move.after) == (f"{PILOT}:1.29.0-distroless", before, None)
        table = comparison_table(comparison)
        assert f"{PILOT}:1.29.0-distroless  sha256:{before.short} → what is built" in table
        assert f"  the flags of `go build` changed: {KEY}" in table
        [image] = comparison_json(comparison)["images"]
        assert image["tags"] == [{"reference": f"{PILOT}:1.29.0-distroless", "before": str(before), "after": None}]
        assert image["reasons"][0]["kind"] == "flags"

    def test_a_further_tag_moves_without_a_build(self, site: Site) -> None:
        digest = site.tags()["1.29.0-distroless"]
        [image] = self.compare(site, site.plan(tags=("1.29.0", "1.29"))).images
        assert image.state == "unchanged"
        assert [(move.reference.tag, move.before, move.after) for move in image.moves] == [("1.29-distroless", None, digest)]
        assert f"new → sha256:{digest.short}" in comparison_table(self.compare(site, site.plan(tags=("1.29.0", "1.29"))))

    def test_it_says_what_would_be_refused(self, site: Site) -> None:
        comparison = self.compare(site, site.plan(DIRTY, **AS_RELEASE))
        assert comparison.exit_code == 26
        assert "has changes that are not committed" in comparison.refused
        assert "A push as this one would be refused (code 26):" in comparison_table(comparison)
        assert comparison_json(comparison)["refused"]["exit_code"] == 26
        assert not self.compare(site, site.plan(DIRTY, **AS_RELEASE), REPLACE).refused
        assert self.compare(site, site.plan(platforms=(AMD64,))).exit_code == 18
        assert self.compare(site, site.plan(**ANEW), Permissions(immutable=("1.*",))).exit_code == 27

    def test_all_of_it_is_built_where_the_commit_does_not_decide(self, site: Site) -> None:
        [image] = self.compare(site, site.plan(), rebuild=True).images
        assert (image.state, [reason.kind for reason in image.reasons]) == ("built", ["rebuild"])


def test_of_another_commit_both_are_told(site: Site) -> None:
    site.push(tags=("dev",))
    site.events.clear()
    site.push(tree=FOREIGN, tags=("dev",))
    assert causes(site) == [f"why: commit {COMMIT[:12]} → {ANOTHER[:12]}: {KEY}"]
