"""What a run achieved, for people and for machines."""

import json
import re
from dataclasses import replace

import pytest

from builder.cli.report_view import report_json, report_references, report_text
from builder.oci.reference import Hub, ImageReference
from builder.pipeline.report import HubReport, ImageReport, MovedTag, PlatformReport, Report
from builder.publish.publication import Traffic
from builder.publish.reasons import Reason
from builder.runtime.text import format_size, format_table
from tests import ROOT
from tests.samples.images import AMD64, ARM64, make_digest

GO = Reason(kind="go", text="Go 1.25.9 → 1.25.10", what="Go", before="1.25.9", after="1.25.10")
HUB = Hub.parse("registry.corp.example/istio")


def words(text: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", text)


def make_image(image: str, *tags: str, state: str = "built", layout: str = "") -> ImageReport:
    return ImageReport(
        key=f"{image}-debug",
        references=tuple(HUB.repository(image).at(tag) for tag in tags),
        digest=make_digest(image),
        platforms=(
            PlatformReport(platform=AMD64, digest=make_digest(f"{image} amd64"), size=38_900_000),
            PlatformReport(platform=ARM64, digest=make_digest(f"{image} arm64"), size=1_500),
        ),
        state=state,
        layout=layout,
    )


REPORT = Report(
    version="1.29.0",
    builder_version="0.9.1",
    hub=str(HUB),
    images=(make_image("istioctl", "1.29.0", "1.29.0-debug"), make_image("pilot", "1.29.0", state="unchanged")),
    traffic=Traffic(uploaded=3, mounted=2, present=1, bytes_sent=38_900_000, tags_moved=4),
    stages=(("compile", 12.34), ("push", 0.5)),
    seconds=13.0,
    hubs=(HubReport(hub=str(HUB), state="moved", tags_moved=4),),
)


_PILOT = make_image("pilot", "1.29.1", "1.29", "latest")
MOVED = replace(
    _PILOT,
    moved=tuple(
        MovedTag(reference=reference, before=None if reference.tag == "1.29.1" else make_digest("old"))
        for reference in _PILOT.references
    ),
)


class TestForMachines:
    def test_references_are_one_a_line_each_with_its_digest(self) -> None:
        lines = report_references(REPORT).splitlines()
        assert lines == [
            f"{HUB}/istioctl:1.29.0@{make_digest('istioctl')}",
            f"{HUB}/istioctl:1.29.0-debug@{make_digest('istioctl')}",
            f"{HUB}/pilot:1.29.0@{make_digest('pilot')}",
        ]
        # What is printed can be handed to any tool that reads references.
        assert [str(ImageReference.parse(line)) for line in lines] == lines

    def test_json_has_everything(self) -> None:
        document = json.loads(json.dumps(report_json(REPORT)))
        assert set(document) == {
            "schema_version",
            "version",
            "builder_version",
            "hub",
            "seconds",
            "stages",
            "traffic",
            "hubs",
            "images",
        }
        assert document["version"] == "1.29.0"
        assert document["builder_version"] == "0.9.1"
        assert document["seconds"] == 13.0
        assert document["hub"] == "registry.corp.example/istio"
        assert document["stages"] == {"compile": 12.34, "push": 0.5}
        assert document["traffic"] == {
            "blobs_uploaded": 3,
            "blobs_mounted": 2,
            "blobs_present": 1,
            "bytes_sent": 38_900_000,
            "tags_moved": 4,
        }
        assert document["hubs"] == [{"hub": str(HUB), "state": "moved", "tags_moved": 4, "error": ""}]
        [istioctl, pilot] = document["images"]
        assert istioctl == {
            "image": "istioctl-debug",
            "state": "built",
            "digest": str(make_digest("istioctl")),
            "references": [f"{HUB}/istioctl:1.29.0", f"{HUB}/istioctl:1.29.0-debug"],
            "platforms": {
                "linux/amd64": {"digest": str(make_digest("istioctl amd64")), "size": 38_900_000},
                "linux/arm64": {"digest": str(make_digest("istioctl arm64")), "size": 1_500},
            },
        }
        assert pilot["state"] == "unchanged"

    def test_json_says_why_an_image_was_made(self) -> None:
        document = report_json(replace(REPORT, images=(replace(make_image("pilot", "1.29.0"), reasons=(GO,)),)))
        assert document["images"][0]["reasons"] == [
            {"kind": "go", "text": "Go 1.25.9 → 1.25.10", "what": "Go", "before": "1.25.9", "after": "1.25.10", "platforms": []}
        ]

    def test_the_page_has_every_field_and_no_other(self) -> None:
        """docs/progress.md: the first cell has the fields; the second those of what is within them."""
        image = replace(make_image("pilot", "1.29.0", layout="out/pilot-debug"), reasons=(GO,))
        image = replace(image, moved=(MovedTag(reference=image.references[0], before=None),))
        document = report_json(replace(REPORT, images=(image,)))
        table = (ROOT / "docs" / "progress.md").read_text().partition("## The report")[2]
        rows = re.findall(r"^\| (`[^|]+) \| ([^|]+) \|$", table, re.MULTILINE)
        assert [field for fields, _ in rows for field in words(fields)] == list(document)
        [traffic] = [words(value) for fields, value in rows if fields == "`traffic`"]
        assert traffic == list(document["traffic"])
        [hubs] = [value for fields, value in rows if fields == "`hubs`"]
        assert words(re.sub(r"\([^)]*\)", "", hubs)) == list(document["hubs"][0])
        [images] = [value for fields, value in rows if fields == "`images`"]
        # In brackets stand values, and the fields of a platform.
        assert words(re.sub(r"\([^)]*\)", "", images)) == list(document["images"][0])
        [platform] = re.findall(r"`platforms` \(([^)]*)\)", images)
        assert words(platform) == list(document["images"][0]["platforms"]["linux/amd64"])
        [reason] = re.findall(r"`reasons` \(([^)]*)\)", images)
        assert words(reason) == list(document["images"][0]["reasons"][0])
        [moved] = re.findall(r"`moved` \(([^)]*)\)", images)
        assert words(moved) == list(document["images"][0]["moved"][0])

    def test_json_says_which_tags_were_elsewhere_and_which_are_new(self) -> None:
        [image, _] = report_json(replace(REPORT, images=(MOVED, REPORT.images[1])))["images"]
        assert image["moved"] == [
            {"reference": f"{HUB}/pilot:1.29.1", "before": None},
            {"reference": f"{HUB}/pilot:1.29", "before": str(make_digest("old"))},
            {"reference": f"{HUB}/pilot:latest", "before": str(make_digest("old"))},
        ]

    def test_json_of_a_build_names_layouts_and_no_traffic(self) -> None:
        image = make_image("pilot", "1.29.0", layout="out/pilot-debug")
        document = report_json(replace(REPORT, images=(image,), traffic=None))
        assert document["traffic"] is None
        assert document["images"][0]["layout"] == "out/pilot-debug"


class TestForPeople:
    def test_it_says_what_is_where_and_how_long_it_took(self) -> None:
        text = report_text(REPORT, installable=False)
        [line] = [line for line in text.splitlines() if "istioctl:1.29.0 " in line]
        assert line.split("  ")[-1].strip() == "built"
        assert make_digest("istioctl").short in line
        assert "linux/amd64 38.9 MB, linux/arm64 1.5 kB" in line
        assert f"\n{HUB}/istioctl:1.29.0-debug\n" in text
        assert "13.0 s in all. Stages overlap: compile 12.3s  push 0.5s." in text
        assert "Uploaded 3 blobs (38.9 MB), mounted 2, 1 was there; moved 4 tags." in text

    def test_why_images_were_made_was_told_before_and_is_not_told_again(self) -> None:
        images = (replace(make_image("istioctl", "1.29.0"), reasons=(GO,)),)
        assert GO.text not in report_text(replace(REPORT, images=images), installable=False)
        assert report_json(replace(REPORT, images=images))["images"][0]["reasons"][0]["text"] == GO.text

    def test_it_says_which_tags_were_elsewhere(self) -> None:
        text = report_text(replace(REPORT, images=(MOVED,)), installable=False)
        told = f"\nTags that were elsewhere:\n  pilot-debug: 1.29, latest from sha256:{make_digest('old').short}\n"
        assert told in text
        elsewhere = Hub.parse("ghcr.io/me").repository("pilot").at("latest")
        two_hubs = replace(MOVED, references=(*MOVED.references, elsewhere))
        assert f"  pilot-debug: {HUB}/pilot:1.29, {HUB}/pilot:latest from" in report_text(
            replace(REPORT, images=(two_hubs,)), installable=False
        )
        assert "elsewhere" not in report_text(REPORT, installable=False)

    def test_it_says_how_to_install_where_there_is_something_to_install_with(self) -> None:
        command = "istioctl install --set hub=registry.corp.example/istio --set tag=1.29.0"
        assert command in report_text(REPORT, installable=True)
        assert "istioctl install" not in report_text(REPORT, installable=False)

    def test_nothing_uploaded_is_said_in_words(self) -> None:
        traffic = Traffic(present=6)
        assert "Nothing was uploaded: the hub has it all." in report_text(replace(REPORT, traffic=traffic), installable=False)
        moved = Traffic(present=6, tags_moved=1)
        assert "Nothing was uploaded" not in report_text(replace(REPORT, traffic=moved), installable=False)

    def test_a_build_moves_nothing(self) -> None:
        text = report_text(replace(REPORT, traffic=None, stages=()), installable=False)
        assert "ploaded" not in text
        assert "Stages overlap: none." in text

    def test_columns_are_aligned_and_end_without_spaces(self) -> None:
        assert format_table([("a", "b", "c"), ("long", "", "x"), ("a", "bb", "")]) == ["a     b   c", "long      x", "a     bb"]

    @pytest.mark.parametrize(
        ("count", "text"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1500, "1.5 kB"),
            (999_940, "999.9 kB"),
            (999_960, "1.0 MB"),
            (38_900_000, "38.9 MB"),
            (999_960_000, "1.0 GB"),
            (2_500_000_000_000, "2500.0 GB"),
        ],
    )
    def test_sizes_are_in_powers_of_ten(self, count: int, text: str) -> None:
        assert format_size(count) == text
