"""How growth is judged, and what is built for it."""

from pathlib import Path

import pytest

from builder.recipe.loader import load_recipes
from tools.bench.scaling import Point, judge_growth, show_points, write_recipes

COUNTS = (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("seconds", "growth"),
    [
        ([3 + 2 * n for n in COUNTS], "linear"),
        ([3 + n**2 for n in COUNTS], "worse than linear"),
        ([10 * n**0.5 for n in COUNTS], "better than linear"),
        ([0.9, 0.92, 0.9, 0.93, 0.95], "none"),
        # Much that comes with every run must not hide it.
        ([50 + 5 * n**2 for n in COUNTS], "worse than linear"),
    ],
)
def test_growth(seconds: list[float], growth: str) -> None:
    assert judge_growth(list(zip(COUNTS, seconds, strict=True)), 0.1) == growth


def test_requests_have_no_noise() -> None:
    assert judge_growth([(1, 10), (3, 30), (10, 100)], 0) == "linear"
    assert judge_growth([(1, 10), (3, 30), (10, 101)], 0) == "worse than linear"
    assert judge_growth([(1, 10), (3, 10), (10, 10)], 0) == "none"


def test_two_points_say_nothing() -> None:
    assert judge_growth([(1, 1.0), (2, 9.0)], 0.1) == "too few points"


def test_a_table() -> None:
    points = [Point(1, 1.0, 10), Point(3, 1.2, 20), Point(10, 1.9, 55)]
    assert show_points("images, nothing changed", points).splitlines() == [
        "| images, nothing changed | seconds | requests |",
        "| --- | --- | --- |",
        "| 1 | 1.00 | 10 |",
        "| 3 | 1.20 | 20 |",
        "| 10 | 1.90 | 55 |",
        "| growth | linear | linear |",
    ]


def test_the_recipes_are_real_ones(tmp_path: Path) -> None:
    names = write_recipes(tmp_path, 9)
    assert len(set(names)) == 9
    loaded = {name for name, _ in load_recipes((tmp_path,)).images}
    assert set(names) <= loaded
