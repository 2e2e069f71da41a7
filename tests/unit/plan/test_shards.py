"""A plan in parts: nothing is lost or doubled, everybody cuts alike, and each part is the plan of what is in it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.cli.plan_view import plan_matrix
from builder.errors import RequestError
from builder.plan.model import CompiledFile, FetchedFile, Plan, Unit
from builder.plan.shards import parse_shard, split_plan, take_shard
from tests.samples.images import AMD64, ARM64
from tests.samples.plans import make_sample_plan

PLAN = make_sample_plan()
BIG = make_sample_plan(images=("core", "install-cni", "app"))


def units(plan: Plan) -> list[Unit]:
    return [Unit(image.image, image.variant, str(on.platform)) for image in plan.images for on in image.platforms]


def held(plan: Plan, count: int) -> list[list[str]]:
    return [[f"{piece.image} {piece.platform}" for piece in part] for part in split_plan(plan, count)]


@given(count=st.integers(min_value=1, max_value=10))
def test_each_image_on_each_platform_is_in_one_part(count: int) -> None:
    parts = [take_shard(BIG, number, count) for number in range(1, count + 1)]
    assert sorted(unit for part in parts for unit in units(part)) == sorted(units(BIG))
    for number, part in enumerate(parts, start=1):
        assert part.shard
        assert (str(part.shard), part.shard.whole[number - 1]) == (f"{number}/{count}", tuple(sorted(units(part))))
        assert part.shard.whole == parts[0].shard.whole  # type: ignore[union-attr]


def test_one_part_a_platform_as_far_as_they_go() -> None:
    assert [{name.partition(" ")[2] for name in part} for part in held(PLAN, 2)] == [{"linux/amd64"}, {"linux/arm64"}]
    assert all(len({name.partition(" ")[2] for name in part}) == 1 for part in held(BIG, 7))


def test_parts_of_a_platform_are_balanced_by_what_is_compiled() -> None:
    """The dearest first, each to where it makes the least: what pilot needs is compiled apart from the rest."""
    costs = [
        [len({program for piece in part for program in piece.programs}) for part in split_plan(BIG, count)] for count in (2, 4)
    ]
    assert costs[0][0] == costs[0][1]
    assert max(costs[1]) < max(costs[0])


def test_the_order_in_which_images_and_platforms_are_asked_for_does_not_matter() -> None:
    one = make_sample_plan(images=("pilot", "istioctl"), platforms=(AMD64, ARM64))
    other = make_sample_plan(images=("istioctl", "pilot"), platforms=(ARM64, AMD64))
    assert [take_shard(one, 2, 3).shard] == [take_shard(other, 2, 3).shard]


def test_other_bases_cut_the_plan_alike() -> None:
    """What moves between two machines' looks must not move the cuts: the difference is then told as one."""
    moved = replace(PLAN, images=tuple(replace(image, base=None) for image in PLAN.images))
    assert held(moved, 4) == held(PLAN, 4)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_part_compiles_and_fetches_what_it_holds_and_nothing_else(count: int) -> None:
    for number in range(1, count + 1):
        part = take_shard(PLAN, number, count)
        origins = [file.origin for image in part.images for on in image.platforms for file in on.files]
        assert {(step.key, program) for step in part.compiles for program in step.programs} == {
            (origin.step, origin.program) for origin in origins if isinstance(origin, CompiledFile)
        }
        assert set(part.artifacts) == {origin.artifact for origin in origins if isinstance(origin, FetchedFile)}
        assert set(part.platforms) == {on.platform for image in part.images for on in image.platforms}


@pytest.mark.parametrize("change", [{"images": ("pilot",)}, {"platforms": (ARM64,)}, {"variants": ("debug",)}], ids=str)
def test_a_part_is_what_a_request_of_its_own_would_be(change: dict[str, Any]) -> None:
    """The same inputs, so that what is lost can be built by name."""
    asked = make_sample_plan(**change)
    fingerprints = {
        (image.key, on.platform): on.fingerprint
        for number in range(1, 7)
        for image in take_shard(PLAN, number, 6).images
        for on in image.platforms
    }
    assert {(image.key, on.platform): on.fingerprint for image in asked.images for on in image.platforms}.items() <= (
        fingerprints.items()
    )


def test_the_whole_in_one_part_is_the_plan() -> None:
    assert replace(take_shard(PLAN, 1, 1), shard=None) == PLAN


@pytest.mark.parametrize("count", [0, 7, 1000])
def test_more_parts_than_pieces_are_refused(count: int) -> None:
    with pytest.raises(RequestError, match=f"{count} parts: there is nothing to do for some") as raised:
        take_shard(PLAN, 1, count)
    assert "up to 6" in raised.value.hint


@pytest.mark.parametrize(("text", "shard"), [("1/1", (1, 1)), ("2/4", (2, 4)), (" 10/12 ", (10, 12))])
def test_a_shard_is_written_k_of_n(text: str, shard: tuple[int, int]) -> None:
    assert parse_shard(text) == shard


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1/0", "1", "1/", "/2", "a/b", "-1/2", "1.0/2", "٣/4", "99999/99999"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="there is no such part") as raised:
        parse_shard(text)
    assert "K/N" in raised.value.hint


def test_the_matrix_is_one_line_of_json() -> None:
    """As `echo matrix=… >> $GITHUB_OUTPUT` needs it."""
    text = plan_matrix(PLAN, 3)
    assert "\n" not in text
    assert json.loads(text) == {
        "include": [
            {"shard": "1/3", "name": "shard-1-of-3", "platforms": "linux/amd64", "images": "istioctl,proxyv2"},
            {"shard": "2/3", "name": "shard-2-of-3", "platforms": "linux/amd64", "images": "pilot"},
            {"shard": "3/3", "name": "shard-3-of-3", "platforms": "linux/arm64", "images": "istioctl,pilot,proxyv2"},
        ]
    }
