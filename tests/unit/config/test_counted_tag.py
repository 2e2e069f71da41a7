"""Numbers of tags: found among the tags that there are, and in no others."""

import pytest

from builder.config.counted_tag import is_counted, newest_number, parse_uncounted, with_number
from builder.config.tag_template import TagValues, fill_in_all, refuse_counted
from builder.errors import RequestError

VALUES = TagValues(release="1.29.0", line="1.29", commit="0123456789", date="20261129")


def test_the_number_stays_open_when_the_rest_is_filled_in() -> None:
    tags = fill_in_all(("{{ release }}", "{{ release ~ '-r' ~ n }}", "{{ date }}.{{ n }}"), VALUES)
    assert tags == ("1.29.0", "1.29.0-r<n>", "20261129.<n>")
    assert list(map(is_counted, tags)) == [False, True, True]
    assert [with_number(tag, 12) for tag in tags] == ["1.29.0", "1.29.0-r12", "20261129.12"]


@pytest.mark.parametrize(
    ("tag", "number"),
    [
        ("1.29.0-r1", 1),
        ("1.29.0-r10", 10),
        ("1.29.0-r999999", 999_999),
        ("1.29.0-r20261129", 0),
        ("1.29.0-r0", 0),
        ("1.29.0-r01", 0),
        ("1.29.0-r", 0),
        ("1.29.0-rc.1", 0),
        ("1.29.0-r1-distroless", 0),
        ("v1.29.0-r1", 0),
        ("1.29.1-r1", 0),
        # A point in a tag is a point.
        ("1x29.0-r1", 0),
        ("1.29.0-r٣", 0),
    ],
)
def test_which_tags_have_a_number(tag: str, number: int) -> None:
    assert newest_number("1.29.0-r<n>", ["1.29.0", tag]) == number


def test_the_newest_is_the_greatest_as_people_count() -> None:
    assert newest_number("1.29.0-r<n>-debug", ["1.29.0-r9-debug", "1.29.0-r10-debug", "1.29.0-r2-debug", "1.29.0-r11"]) == 10
    assert newest_number("1.29.0-r<n>", []) == 0


def test_a_tag_is_one_whatever_its_number() -> None:
    assert parse_uncounted("1.29.0-r<n>") == "1.29.0-r<n>"
    for tag in ("1.29.0-r<m>", "<n>/x", "x" * 126 + "-r<n>"):
        with pytest.raises(RequestError, match="malformed"):
            parse_uncounted(tag)
    with pytest.raises(RequestError, match="ends at 999999"):
        with_number("r<n>", 1_000_000)


def test_who_asks_no_hub_needs_it_written_out() -> None:
    refuse_counted(("1.29.0", "{{ release }}-{{ date }}", "{{ line }}"), "build")
    with pytest.raises(RequestError, match=r"-r\{\{ n \}\} is found at the hub when it is pushed, and `build` asks none"):
        refuse_counted(("1.29.0", "{{ release }}-r{{ n }}"), "build")
