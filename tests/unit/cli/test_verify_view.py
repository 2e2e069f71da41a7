"""What verifying found is shown to people and to programs, whatever texts a registry sent."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema_rs
import pytest

from builder.cli.verify_view import verify_json, verify_junit, verify_table, verify_verdict
from builder.errors import RegistryError
from builder.oci.reference import Hub, ImageReference
from builder.recipe.istio_release import IstioRelease
from builder.recipe.loader import load_recipes
from builder.runtime.progress import Progress
from builder.runtime.text import printable
from builder.verify.compare import Comparison
from builder.verify.contents import LayerReader
from builder.verify.expectation import ExpectedImage, Selection, expect_release
from builder.verify.findings import KINDS, Finding, Remedies, fix_hint
from builder.verify.verification import Verification, VerifyContext, Wanted, verify
from tests import ROOT
from tests.samples.golden import check_golden
from tests.samples.hubs import GOOD, WRONG, SampleHub, both, only_one_platform
from tests.samples.images import AMD64, ARM64

HUB = Hub.parse("docker.io/me")
SCHEMA = json.loads((ROOT / "docs" / "schemas" / "verify.json").read_text())


def pilot() -> ExpectedImage:
    book = load_recipes().at(IstioRelease(1, 29, 0))
    (expected,), _ = expect_release(book, Selection(images=("pilot",), variants=("debug",), tags=("1.29.0",)))
    return expected


def verified(hub: SampleHub, cache: Path, *references: ImageReference, expected: ExpectedImage | None = None) -> Verification:
    progress = Progress(lambda event: None)
    layers = LayerReader(hub.registry, kept=cache / "kept", remembered=cache / "looks", progress=progress)
    wanted = [
        Wanted(reference=each, platforms=(AMD64, ARM64), expected=expected, hub=HUB if expected else None) for each in references
    ]
    return verify(wanted, VerifyContext(registry=hub.registry, layers=layers, progress=progress))


@pytest.fixture
def hub() -> SampleHub:
    return SampleHub(HUB.repository("pilot"))


@pytest.mark.parametrize("name", [*GOOD, *WRONG])
def test_the_json_is_what_its_schema_says(name: str, hub: SampleHub, tmp_path: Path) -> None:
    make = GOOD[name] if name in GOOD else WRONG[name][0]
    found = verified(hub, tmp_path, make(hub), hub.repository.at("missing"), expected=pilot())
    document = verify_json(found, "1.29.0")
    jsonschema_rs.validate(SCHEMA, json.loads(json.dumps(document)))
    assert document["ok"] is False
    assert document["summary"]["images"] == 2


def test_the_schema_refuses_what_is_not_in_it(hub: SampleHub, tmp_path: Path) -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    document = verify_json(verified(hub, tmp_path, both(hub)), "")
    jsonschema_rs.validate(SCHEMA, document)
    changes: list[dict[str, Any]] = [{"schema_version": 2}, {"more": 1}, {"images": [{}]}]
    for change in changes:
        with pytest.raises(jsonschema_rs.ValidationError):
            jsonschema_rs.validate(SCHEMA, {**document, **change})


def test_every_kind_is_in_the_schema_and_on_the_page() -> None:
    """The table of docs/verify.md is made from `verify.findings`: `UPDATE_GOLDEN=1 make test-fast` writes it anew."""
    assert SCHEMA["$defs"]["finding"]["properties"]["kind"]["enum"] == list(KINDS)
    page = ROOT / "docs" / "verify.md"
    before, head, _ = page.read_text().partition("| kind | weight | what it means |\n| --- | --- | --- |\n")
    assert head
    rows = [f"| `{name}` | {kind.severity} | {kind.meaning} |\n" for name, kind in KINDS.items()]
    check_golden(page, before + head + "".join(rows))


def test_the_table_has_a_line_for_each_platform(hub: SampleHub, tmp_path: Path) -> None:
    same = hub.registry.manifests[hub.repository][both(hub).tag].descriptor
    found = verified(hub, tmp_path, both(hub), hub.tag(same, "1.29.0-debug"), expected=pilot())
    lines = verify_table(found, "1.29.0", fix=False).splitlines()
    assert re.fullmatch(r"docker\.io/me/pilot:1\.29\.0 = 1\.29\.0-debug +linux/amd64 +[0-9a-f]{12} +\d+ B +ok", lines[1])
    assert re.fullmatch(r" +linux/arm64 +[0-9a-f]{12} +\d+ B +ok", lines[2])
    assert lines[3:] == ["", "1 image, 0 faults, 0 warnings."]
    assert verify_verdict(found) == ""


def test_the_table_says_what_is_wrong_and_how_it_is_mended(hub: SampleHub, tmp_path: Path) -> None:
    found = verified(hub, tmp_path, only_one_platform(hub), expected=pilot())
    text = verify_table(found, "1.29.0", fix=True)
    assert "error: missing-platform: docker.io/me/pilot:1.29.0 linux/arm64: lost linux/arm64: pushed by a tool" in text
    assert "  mend it: istio-build push --hub docker.io/me --istio 1.29.0 --image pilot --variant debug --rebuild" in text
    assert "mend it" not in verify_table(found, "1.29.0", fix=False)
    assert verify_verdict(found) == "1 fault in 1 of 1 image"


def test_what_could_not_be_read_is_no_verdict_of_the_hub(hub: SampleHub, tmp_path: Path) -> None:
    hub.registry.fail_on = lambda operation, key: RegistryError("no route to host")
    found = verified(hub, tmp_path, hub.repository.at("1.29.0"))
    assert verify_verdict(found) == ""
    assert "1 image, 0 faults, 0 warnings, 1 unreadable." in verify_table(found, "", fix=False)
    assert verify_json(found, "")["ok"] is False


def test_comparisons_are_shown(hub: SampleHub, tmp_path: Path) -> None:
    found = verified(hub, tmp_path, both(hub))
    other = Hub.parse("docker.io/istio").repository("pilot").at("1.29.0")

    def shown(comparison: Comparison) -> str:
        return verify_table(replace(found, images=(replace(found.images[0], comparison=comparison),)), "", fix=False)

    reference = hub.repository.at("1.29.0")
    same = Comparison(reference=reference, other=other, state="same")
    assert "Beside docker.io/istio: 1 same." in shown(same)
    differs = replace(same, state="differs", differences=("linux/amd64: user is '0', and '1337' there",))
    assert "  docker.io/me/pilot:1.29.0: linux/amd64: user is '0', and '1337' there" in shown(differs)
    silent = replace(same, state="not compared", reason="Name or service not known")
    assert "Beside docker.io/istio: 1 not compared.\n  not compared: Name or service not known" in shown(silent)


def test_junit_fails_where_something_is_wrong(hub: SampleHub, tmp_path: Path) -> None:
    found = verified(hub, tmp_path, only_one_platform(hub), hub.repository.at("none"))
    root = ElementTree.fromstring(verify_junit(found, ""))
    cases = {(case.get("classname"), case.get("name")): case for case in root.iter("testcase")}
    assert len(cases) == 4
    failed = {name: [node.get("type") for node in case.iter("failure")] for name, case in cases.items()}
    assert failed == {
        ("docker.io/me/pilot:1.29.0", "linux/amd64"): [],
        ("docker.io/me/pilot:1.29.0", "linux/arm64"): ["missing-platform"],
        # Of the whole image, and counted once.
        ("docker.io/me/pilot:none", "linux/amd64"): ["missing-tag"],
        ("docker.io/me/pilot:none", "linux/arm64"): [],
    }
    assert [suite.get("failures") for suite in root.iter("testsuite")] == ["1", "1"]


HOSTILE = "\x1b]0;pwned\x07\x1b[2J\u202e\x00\n"


def test_nothing_that_a_terminal_obeys_is_printed(hub: SampleHub, tmp_path: Path) -> None:
    reference = both(hub, *(hub.pilot(p, user=HOSTILE, labels=(("description", HOSTILE),)) for p in (AMD64, ARM64)))
    found = verified(hub, tmp_path, reference, expected=pilot())
    raw = Finding(kind="wrong-user", reference=reference, message=HOSTILE, platform=HOSTILE)
    found = replace(found, images=(replace(found.images[0], findings=(*found.findings, raw)),))
    for text in (verify_table(found, "1.29.0", fix=True), verify_junit(found, "1.29.0")):
        assert all(char.isprintable() or char == "\n" for char in text)
    ElementTree.fromstring(verify_junit(found, "1.29.0"))
    assert "\x1b" not in json.dumps(verify_json(found, "1.29.0"))


def test_printable_writes_out_what_cannot_be_seen() -> None:
    assert printable("ä→\x1b[2J\u202e\n") == "ä→\\x1b[2J\\u202e\\n"


@pytest.mark.parametrize(
    ("kind", "known", "command"),
    [
        ("missing-tag", {}, "istio-build push --hub docker.io/me --istio 1.29.0 --image pilot --variant debug"),
        ("wrong-user", {}, "istio-build push --hub docker.io/me --istio 1.29.0 --image pilot --variant debug --rebuild"),
        (
            "wrong-user",
            {"tag": "1.29.0-corp.1"},
            "istio-build push --hub docker.io/me --istio 1.29.0 --tag 1.29.0-corp.1 --image pilot --variant debug --rebuild",
        ),
        (
            "missing-platform",
            {"original": "docker.io/istio/pilot:1.29.0-debug"},
            "crane copy docker.io/istio/pilot:1.29.0-debug docker.io/me/pilot:1.29.0",
        ),
        # An index that lost a platform may have been made of the same inputs.
        ("missing-platform", {}, "istio-build push --hub docker.io/me --istio 1.29.0 --image pilot --variant debug --rebuild"),
        ("missing-platform", {"release": ""}, "crane copy SOURCE docker.io/me/pilot:1.29.0"),
        ("wrong-user", {"release": ""}, "crane copy SOURCE docker.io/me/pilot:1.29.0"),
        ("unreadable", {}, "docker login docker.io"),
        ("other-hub", {}, "istioctl install --set hub=docker.io/me --set tag=1.29.0"),
        ("not-an-image", {}, ""),
    ],
)
def test_each_finding_is_mended_by_a_command(kind: str, known: dict[str, Any], command: str) -> None:
    remedies = Remedies(release="1.29.0", image="pilot", variant="debug", tag="1.29.0")
    finding = Finding(kind=kind, reference=HUB.repository("pilot").at("1.29.0"), message="")
    assert fix_hint(finding, replace(remedies, **known)) == command
