"""What of a cache goes: too old first, then the longest unused, and never what may be in use."""

from builder.cache.choice import choose
from builder.cache.entry import Entry, Kind, Survey
from builder.config.request import CacheLimits

NOW = 1_000_000.0
DAY = 86400.0


def entry(name: str, size: int, days: float, *, shared: bool = False) -> Entry:
    return Entry(kind=Kind.DOWNLOAD, path=name, size=size, used=NOW - days * DAY, shared=shared)


def chosen(entries: list[Entry], limits: CacheLimits, spared_since: float = NOW, kept: int = 0) -> list[str]:
    choice = choose(Survey(entries=tuple(entries), kept=kept), limits, NOW, spared_since)
    return [one.path for one in choice.out]


SOME = [entry("new", 10, 1), entry("old", 20, 9), entry("middle", 30, 5)]


def test_without_limits_nothing_goes() -> None:
    assert chosen(SOME, CacheLimits()) == []


def test_what_was_not_used_for_too_long_goes() -> None:
    assert chosen(SOME, CacheLimits(keep=4 * DAY)) == ["old", "middle"]


def test_of_too_much_the_longest_unused_goes_until_it_fits() -> None:
    assert chosen(SOME, CacheLimits(max_size=60)) == []
    assert chosen(SOME, CacheLimits(max_size=59)) == ["old"]
    assert chosen(SOME, CacheLimits(max_size=39)) == ["old", "middle"]
    assert chosen(SOME, CacheLimits(max_size=0)) == ["old", "middle", "new"]


def test_what_is_none_of_the_entries_counts_and_does_not_go() -> None:
    assert chosen(SOME, CacheLimits(max_size=60), kept=1) == ["old"]


def test_both_limits_hold() -> None:
    assert chosen(SOME, CacheLimits(keep=8 * DAY, max_size=35)) == ["old", "middle"]


def test_what_may_be_in_use_stays_and_is_told() -> None:
    choice = choose(Survey(entries=tuple(SOME)), CacheLimits(max_size=0), NOW, NOW - 6 * DAY)
    assert [one.path for one in choice.out] == ["old"]
    assert [one.path for one in choice.in_use] == ["middle", "new"]


def test_what_others_need_goes_after_them() -> None:
    entries = [entry("objects", 10, 9, shared=True), entry("tree", 10, 9)]
    assert chosen(entries, CacheLimits(keep=DAY)) == ["tree", "objects"]
