"""What an index notes of the inputs of its images, by name."""

import json
from dataclasses import replace

import pytest

from builder.images.noted_inputs import read_notes
from builder.oci.reference import Hub
from builder.plan.lock import LockedGo, LockedPackages, UrlArtifact
from builder.plan.model import NOTES_ANNOTATION, Plan
from builder.plan.noted import bound_notes, join_notes
from builder.plan.planner import make_plan
from builder.plan.shards import take_shard
from builder.recipe.loader import load_recipes
from tests.samples.images import AMD64, ARM64, make_digest
from tests.samples.plans import (
    COMMIT,
    RELEASE,
    image_of,
    load_book,
    make_base,
    make_lock,
    make_request,
    make_sample_plan,
    make_source,
    make_state,
)
from tests.unit.plan.test_planner import BOOK, Change, binaries, other_envoy, other_source, with_book, with_lock, with_request

BASES = load_recipes(build_bases=True).at(RELEASE)
PARTS = (("go.mod", "a" * 40), ("pilot", "b" * 40))


def noted(plan: Plan, key: str = "proxyv2-distroless", platform: str = "linux/arm64") -> dict[str, str]:
    return dict(read_notes(dict(image_of(plan, key).annotations))[platform])


def packages(version: str, count: int = 1) -> LockedPackages:
    files = tuple(
        UrlArtifact(name=f"lib{number}_{version}_arm64.deb", platform=ARM64, url="http://archive/a.deb", sha256=f"{number:064}")
        for number in range(count)
    )
    return LockedPackages(image="base", platform=ARM64, packages=files, sources=("deb http://archive noble main",))


def test_they_say_by_name_what_an_image_is_made_from() -> None:
    plan = make_sample_plan(lock=make_lock(source=make_source(make_state(parts=PARTS))))
    found = noted(plan)
    assert found["Go"] == "1.26.0"
    assert found["commit"] == COMMIT
    assert found["version"] == "1.29.0"
    assert found["base iptables"] == str(make_digest("index of iptables"))
    assert found["artifact envoy"] == f"sha256:{make_digest('envoy linux/arm64').hex} usr/local/bin/envoy"
    assert found["source pilot"] == "b" * 12
    assert {name for name in found if name.startswith("base ")} == {"base iptables"}


def test_they_are_the_same_on_every_platform_where_the_inputs_are() -> None:
    """So that they stand in the annotation once."""
    document = json.loads(dict(image_of(make_sample_plan(), "pilot-debug").annotations)[NOTES_ANNOTATION])
    assert document["v"] == 1
    # The linker stamps the platform itself.
    assert {platform: set(own) for platform, own in document["on"].items()} == {
        "linux/amd64": {"stamp"},
        "linux/arm64": {"stamp"},
    }


def test_they_name_no_place() -> None:
    lock = make_lock(bases=tuple(make_base(name, registry="secret-host.example") for name in ("base", "distroless", "iptables")))
    plan = make_sample_plan(lock=lock, hubs=(Hub.parse("secret-host.example/istio"),), base_registry="secret-host.example/bases")
    for image in plan.images:
        text = dict(image.annotations)[NOTES_ANNOTATION]
        assert "secret-host" not in text
        assert "googleapis" not in text


@pytest.mark.parametrize(
    ("change", "names"),
    [
        pytest.param(other_source(content="f" * 40), {"tree"}, id="a file of the source"),
        pytest.param(other_source(parts=(("pilot", "c" * 40),)), {"source pilot"}, id="a part of the source"),
        pytest.param(other_source(commit="f" * 40), {"commit", "stamp"}, id="the commit"),
        pytest.param(with_lock(go=LockedGo(version="1.26.1")), {"Go"}, id="Go"),
        pytest.param(other_envoy(sha256="0" * 64), {"artifact envoy"}, id="an artifact"),
        pytest.param(binaries("proxyv2", mode="0555"), {"recipe"}, id="a mode"),
        pytest.param(with_request(hubs=(Hub.parse("docker.io/me"),)), {"stamp"}, id="the hub that is stamped"),
        pytest.param(with_request(compression="zstd"), {"compression"}, id="the compression"),
        pytest.param(with_book(lambda book: replace(book, templates=_with_stop(book.templates))), {"recipe"}, id="a template"),
    ],
)
def test_a_change_shows_under_its_own_name(change: Change, names: set[str]) -> None:
    before, after = noted(make_sample_plan()), noted(make_plan(*change(make_request(), BOOK, make_lock())))
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == names


def _with_stop(templates: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, f"{text}STOPSIGNAL SIGQUIT\n" if name.startswith("proxyv2") else text) for name, text in templates)


def test_equal_sums_have_equal_notes() -> None:
    """What is noted is among the inputs: the same inputs give the same index, whatever is noted of them."""
    plan = make_sample_plan()
    parts = make_sample_plan(lock=make_lock(source=make_source(make_state(parts=PARTS))))
    for image, other in zip(plan.images, parts.images, strict=True):
        assert image.fingerprint != other.fingerprint
    again = make_sample_plan(book=load_book())
    assert [image.annotations for image in again.images] == [image.annotations for image in plan.images]


def test_a_shard_notes_the_platforms_that_it_has() -> None:
    whole = make_sample_plan()
    for number in (1, 2):
        for image in take_shard(whole, number, 2).images:
            [platform] = (str(on.platform) for on in image.platforms)
            notes = read_notes(dict(image.annotations))
            assert list(notes) == [platform]
            assert dict(notes[platform]) == noted(whole, image.key, platform)


def test_packages_are_named_with_their_versions() -> None:
    request = make_request(images=("base",), build_bases=True, platforms=(ARM64,))
    plan = make_plan(request, BASES, make_lock(packages=(packages("2.36-9"),)))
    found = noted(plan, "base")
    assert found["package lib0"] == "2.36-9"
    assert "commit" not in found


def test_they_have_a_bound() -> None:
    """Hundreds of packages are worth their names; thousands are one sum."""
    some = {f"package lib{number}": "1.2.3-4ubuntu5" for number in range(250)}
    assert dict(bound_notes({**some, "recipe": "a"})) == {**some, "recipe": "a"}
    many = {f"package lib{number}": "1.2.3-4ubuntu5" for number in range(1000)}
    bound = dict(bound_notes({**many, "recipe": "a"}))
    assert set(bound) == {"recipe", "packages"}
    assert bound != dict(bound_notes({**many, "package lib0": "2", "recipe": "a"}))
    parts = {f"source part-{number}": "a" * 12 for number in range(1000)}
    assert dict(bound_notes({**parts, "tree": "b"})) == {"tree": "b"}


def test_what_is_joined_is_read_again_in_whatever_order() -> None:
    one = (("Go", "1"), ("recipe", "a"))
    two = (("Go", "1"), ("recipe", "b"), ("tree", "c"))
    joined = join_notes({"linux/amd64": one, "linux/arm64": two})
    assert joined == join_notes({"linux/arm64": two, "linux/amd64": one})
    assert read_notes({NOTES_ANNOTATION: joined}) == {"linux/amd64": one, "linux/arm64": two}
    assert join_notes({"linux/amd64": (), "linux/arm64": ()}) == ""
    assert read_notes({NOTES_ANNOTATION: join_notes({"linux/amd64": one})}) == {"linux/amd64": one}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "1",
        "{}",
        '{"v":2,"all":{},"on":{"linux/amd64":{}}}',
        '{"v":1,"all":[],"on":{"linux/amd64":{}}}',
        '{"v":1,"all":{"Go":1},"on":{"linux/amd64":{}}}',
        '{"v":1,"on":["linux/amd64"]}',
        '{"v":1,"on":{"linux/amd64":"a"}}',
        '{"v":1,"all":{"Go":"\\u001b[31m"},"on":{"linux/amd64":{}}}',
        '{"v":1,"all":{"Go":"' + "1" * 400 + '"},"on":{"linux/amd64":{}}}',
        '{"v":1,"all":{"Go":"' + "1" * 300_000 + '"},"on":{"linux/amd64":{}}}',
        '{"v":1,"all":' + "[" * 100_000,
    ],
    ids=range(14),
)
def test_what_somebody_else_has_noted_harms_nobody(text: str) -> None:
    assert read_notes({NOTES_ANNOTATION: text}) == {}


def test_where_nothing_is_noted_nothing_is_known() -> None:
    assert read_notes({}) == {}
    assert set(read_notes({NOTES_ANNOTATION: '{"v":1,"all":{"Go":"1"},"on":{"linux/amd64":{}}}'})) == {str(AMD64)}
