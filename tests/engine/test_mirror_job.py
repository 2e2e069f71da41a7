"""Mirroring for real: a registry, two platforms, tags and layouts that have the digest of the source."""

import json
import uuid
from pathlib import Path

import pytest
import requests

from builder.oci.layout import Layout
from builder.oci.manifest import INDEX_TYPES
from tests.real.program import istio_build

BASE_VERSION = "1.29-2026-02-04T19-02-21"
RECIPE = """\
image: {name}
group: {group}
mirror: "{{{{ base_registry }}}}/{name}:{{{{ base_version }}}}"
{tags}
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    directory = tmp_path / "recipes"
    directory.mkdir()
    base = RECIPE.format(name="base", group="bases", tags='tags: ["{{ base_version }}"]')
    (directory / "base.yaml").write_text(base)
    gateway = RECIPE.format(name="distroless", group="mesh", tags="istio: 1.12+\nvariants: { debug: {}, distroless: {} }")
    (directory / "gateway.yaml").write_text(gateway)
    return directory


def digest_of(registry: str, repository: str, tag: str) -> str:
    """What the registry says, with no code of ours between."""
    answer = requests.get(
        f"http://{registry}/v2/{repository}/manifests/{tag}", headers={"Accept": ", ".join(INDEX_TYPES)}, timeout=30
    )
    assert answer.ok, answer.text
    return answer.headers["Docker-Content-Digest"]


def test_a_copy_has_the_digest_of_its_source(registry: str, bases: str, source: Path, recipes: Path, tmp_path: Path) -> None:
    run = f"mirror-{uuid.uuid4().hex[:8]}"
    repository = bases.partition("/")[2]
    settings = ("--source", source, "--recipes", recipes, "--hub", f"{registry}/{run}", "--base-registry", bases)
    arguments = ("push", *settings, "--image", "distroless,base", "--output-format", "json")
    env = {"ISTIO_BUILD_CACHE": str(tmp_path / "cache")}

    first = istio_build(*arguments, env=env)
    assert {image["image"]: image["state"] for image in first.report()["images"]} == {
        "base": "mirrored",
        "distroless": "mirrored",
    }
    assert first.report()["traffic"]["blobs_uploaded"] == 0, "the source is in the same registry"
    base = digest_of(registry, f"{repository}/base", BASE_VERSION)
    assert digest_of(registry, f"{run}/base", BASE_VERSION) == base
    for tag in ("1.29.0", "1.29.0-debug", "1.29.0-distroless"):
        assert digest_of(registry, f"{run}/distroless", tag) == digest_of(registry, f"{repository}/distroless", BASE_VERSION)

    again = istio_build(*arguments, env=env)
    assert {image["state"] for image in again.report()["images"]} == {"unchanged"}
    assert again.report()["traffic"]["tags_moved"] == 0


def test_a_copy_goes_over_an_air_gap(registry: str, bases: str, source: Path, recipes: Path, tmp_path: Path) -> None:
    run = f"mirror-{uuid.uuid4().hex[:8]}"
    env = {"ISTIO_BUILD_CACHE": str(tmp_path / "cache")}
    settings = ("--source", source, "--recipes", recipes, "--hub", f"{registry}/{run}", "--base-registry", bases)
    built = istio_build("build", *settings, "--image", "distroless,base", "--output", tmp_path / "images", env=env)
    assert built.code == 0, built.stderr
    digests = {path.name: str(Layout(path).index().digest) for path in (tmp_path / "images").iterdir() if path.is_dir()}
    carried = istio_build(
        *("push", "--from", tmp_path / "images", "--hub", f"{registry}/{run}/gap", "--tag", "7"), *("--output-format", "json")
    )
    assert carried.digests() == digests
    assert digest_of(registry, f"{run}/gap/base", BASE_VERSION) == digests["base"]
    assert digest_of(registry, f"{run}/gap/distroless", "7-debug") == digests["distroless"]


def test_a_plan_says_what_would_be_copied(registry: str, bases: str, source: Path, recipes: Path, tmp_path: Path) -> None:
    settings: list[str | Path] = ["--source", source, "--recipes", recipes, "--hub", f"{registry}/x", "--image", "base"]
    named: list[str | Path] = ["--mirror-from", f"base={bases}/iptables:{BASE_VERSION}"]
    env = {"ISTIO_BUILD_CACHE": str(tmp_path)}
    shown = istio_build("plan", *settings, *named, "--format", "json", env=env)
    assert shown.code == 0, shown.stderr
    [mirror] = json.loads(shown.stdout)["mirrors"]
    wanted = digest_of(registry, f"{bases.partition('/')[2]}/iptables", BASE_VERSION)
    assert mirror["source"] == f"{bases}/iptables:{BASE_VERSION}@{wanted}"
    assert mirror["references"] == [f"{registry}/x/base:{BASE_VERSION}"]
