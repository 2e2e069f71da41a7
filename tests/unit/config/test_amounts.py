"""Sizes and times as people write them."""

import pytest

from builder.config.amounts import parse_age, parse_count, parse_size
from builder.errors import RequestError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20GB", 20_000_000_000),
        ("1.5g", 1_500_000_000),
        ("500 MB", 500_000_000),
        ("1GiB", 1 << 30),
        ("64kib", 65536),
        ("7B", 7),
        ("123", 123),
        ("0", 0),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text, "--max-size") == size


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000), ("12h", 43200), ("2w", 1_209_600), ("0.5h", 1800), ("9s", 9)])
def test_times(text: str, seconds: float) -> None:
    assert parse_age(text, "--keep") == seconds


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "20 apples", "1e9", "20GBit", "９GB"])
def test_what_is_no_size_is_told_with_how_it_is_written(text: str) -> None:
    with pytest.raises(RequestError, match=r"--max-size '.*' is no size") as raised:
        parse_size(text, "--max-size")
    assert "--max-size 20GB" in raised.value.hint


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "30 days", "1y"])
def test_what_is_no_time_is_told_with_how_it_is_written(text: str) -> None:
    with pytest.raises(RequestError, match=r"--keep '.*' is no length of time") as raised:
        parse_age(text, "--keep")
    assert "--keep 30d" in raised.value.hint


def test_counts() -> None:
    assert parse_count(" 14 ", "--retain") == 14
    for text in ("0", "-1", "1.5", "all", "", "１", "1" * 10):
        with pytest.raises(RequestError, match=r"--retain '.*' is no whole number above 0"):
            parse_count(text, "--retain")
