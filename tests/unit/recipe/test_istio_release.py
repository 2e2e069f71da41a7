"""Releases of Istio, and the ranges in which recipes speak of them."""

import pytest

from builder.errors import RecipeError
from builder.recipe.istio_release import IstioRelease, ReleaseRange, is_range_key


def release(text: str) -> IstioRelease:
    found = IstioRelease.parse(text) or IstioRelease.of_line(text)
    assert found
    return found


class TestRelease:
    @pytest.mark.parametrize(
        ("text", "version"),
        [("1.29.0", (1, 29, 0)), ("v1.9.12", (1, 9, 12)), ("1.31.0-rc.0", (1, 31, 0)), ("1.30.3-corp.1", (1, 30, 3))],
    )
    def test_is_read_from_a_tag(self, text: str, version: tuple[int, int, int]) -> None:
        found = IstioRelease.parse(text)
        assert found
        assert found.version == version

    @pytest.mark.parametrize("text", ["", "1.29", "release-1.29", "1.29.x", "nightly", "1.29.0.1"])
    def test_another_tag_is_none(self, text: str) -> None:
        assert IstioRelease.parse(text) is None

    def test_a_line_is_behind_all_its_patches_and_before_the_next_line(self) -> None:
        assert release("1.29.99") < release("1.29") < release("1.30.0")

    def test_is_written_as_it_is_read(self) -> None:
        assert str(release("1.29.0")) == "1.29.0"
        assert str(release("1.29")) == "1.29"


class TestRange:
    @pytest.mark.parametrize(
        ("text", "within", "outside"),
        [
            ("1.10 to 1.17", ["1.10.0", "1.17.8", "1.17"], ["1.9.9", "1.18.0"]),
            ("1.18+", ["1.18.0", "1.18", "1.99.0", "2.0.0"], ["1.17.8", "1.17"]),
            ("1.10", ["1.10.0", "1.10.6"], ["1.11.0", "1.9.0"]),
            ("1.20.7", ["1.20.7"], ["1.20.6", "1.20.8", "1.20"]),
            ("1.20.1+", ["1.20.1", "1.21.0"], ["1.20.0"]),
            ("1.11 to 1.20.6, 1.21.0", ["1.11.0", "1.20.6", "1.21.0"], ["1.20.7", "1.20", "1.21.1", "1.10.6"]),
            ("1.20.7 to 1.20, 1.21.1+", ["1.20.7", "1.20.8", "1.20", "1.21.1", "1.31.0"], ["1.20.6", "1.21.0"]),
        ],
    )
    def test_bounds_are_within_and_lines_are_whole(self, text: str, within: list[str], outside: list[str]) -> None:
        found = ReleaseRange.parse(text)
        assert [one for one in within if not found.covers(release(one))] == []
        assert [one for one in outside if found.covers(release(one))] == []

    @pytest.mark.parametrize("text", ["", "1", "latest", "1.10 - 1.17", "1.10 to", "to 1.17", "1.10 to 1.17+", "1.x", ">=1.10"])
    def test_what_is_none_is_told(self, text: str) -> None:
        with pytest.raises(RecipeError, match="no range of Istio releases") as raised:
            ReleaseRange.parse(text)
        assert "1.10 to 1.17" in raised.value.hint

    @pytest.mark.parametrize("text", ["1.17 to 1.10", "1.20.3 to 1.20.2", "1.21.0, 1.20.0", "1.10 to 1.12, 1.12", "1.18+, 1.20"])
    def test_what_is_out_of_order_is_told(self, text: str) -> None:
        with pytest.raises(RecipeError, match="out of order"):
            ReleaseRange.parse(text)

    def test_knows_where_it_begins_and_ends(self) -> None:
        assert ReleaseRange.parse("1.11 to 1.20.6, 1.27+").edges == ((1, 11, 0), (1, 20, 7), (1, 27, 0))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("1.10 to 1.17", True),
        ("1.18+", True),
        ("1.20.7", True),
        (1.18, True),
        ("amd64", False),
        ("1337", False),
        ("1.2.x", False),
    ],
)
def test_keys_that_are_ranges_are_told_from_others(key: object, expected: bool) -> None:
    assert is_range_key(key) is expected
