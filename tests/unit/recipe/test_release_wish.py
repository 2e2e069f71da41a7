"""Releases by rule: what a word means, and which of a repository's tags it chooses."""

from collections.abc import Callable

import pytest

from builder.errors import RequestError, SourceError
from builder.recipe.istio_release import IstioRelease
from builder.recipe.release_wish import KnownReleases, ReleaseWish, WishKind, newest_first, parse_wishes

TAGS = (
    *("1.26.0", "1.26.8", "1.27.0", "1.27.9", "1.27.10", "1.28.0", "1.28.10", "1.28.9", "1.29.0", "1.29.0-rc.3"),
    *("1.30.0-alpha.1", "1.30.0-rc.0", "release-1.30", "nightly"),
)


def known(*tags: str, is_supported: Callable[[IstioRelease], bool] = lambda release: True) -> KnownReleases:
    return KnownReleases(tags=tags or TAGS, place="https://git.example/istio", is_supported=is_supported)


def choose(*words: str) -> tuple[str, ...]:
    return known().choose(parse_wishes(words))


@pytest.mark.parametrize(
    ("word", "kind", "text"),
    [
        ("1.29.0", WishKind.EXACT, "1.29.0"),
        ("v1.29.0", WishKind.EXACT, "1.29.0"),
        ("v1.31.0-rc.0", WishKind.EXACT, "1.31.0-rc.0"),
        ("1.29.0-corp.1", WishKind.EXACT, "1.29.0-corp.1"),
        ("vendor-7", WishKind.EXACT, "vendor-7"),
        ("1.29", WishKind.LINE, "1.29"),
        ("v1.29", WishKind.LINE, "1.29"),
        ("latest", WishKind.LATEST, "latest"),
        ("supported", WishKind.SUPPORTED, "supported"),
        ("1.27+", WishKind.RANGE, "1.27+"),
        ("1.26 to 1.28", WishKind.RANGE, "1.26 to 1.28"),
        ("1.26.3 to 1.28.1", WishKind.RANGE, "1.26.3 to 1.28.1"),
    ],
)
def test_what_a_word_means(word: str, kind: WishKind, text: str) -> None:
    assert ReleaseWish.parse(word) == ReleaseWish(text=text, kind=kind)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("lates",), "Did you mean latest?"),
        (("Latest",), "Did you mean latest?"),
        (("suported",), "Did you mean supported?"),
        (("1.28 to 1.26",), "Write the older line first."),
        (("1.28 until 1.26",), "or supported"),
        (("1.26 to",), "or supported"),
        (("to", "1.26"), "or supported"),
        (("to",), "or supported"),
    ],
)
def test_what_is_no_rule_is_told_before_anybody_is_asked(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_wishes(words)
    assert told in raised.value.hint


def test_a_range_may_come_in_the_words_of_a_variable() -> None:
    assert parse_wishes(("latest", "1.26", "to", "1.28", "1.24.6")) == parse_wishes(("latest", "1.26  to 1.28", "1.24.6"))


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        (("1.28",), ("1.28.10",)),
        (("latest",), ("1.29.0",)),
        (("1.27+",), ("1.29.0", "1.28.10", "1.27.10")),
        (("1.26 to 1.28",), ("1.28.10", "1.27.10", "1.26.8")),
        (("1.27 to 1.28.9",), ("1.28.9", "1.27.10")),
        (("1.30.0-rc.0", "latest"), ("1.30.0-rc.0", "1.29.0")),
        # Named twice, chosen once.
        (("1.29", "latest", "1.29.0", "v1.29.0"), ("1.29.0",)),
        # What is named exactly need not be known.
        (("1.24.6", "1.26"), ("1.26.8", "1.24.6")),
    ],
)
def test_which_releases_are_chosen_the_newest_first(words: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    assert choose(*words) == chosen


def test_supported_is_what_the_data_says_of_each_line() -> None:
    two = known(is_supported=lambda release: release.line in ("1.28", "1.27"))
    assert two.choose(parse_wishes(("supported",))) == ("1.28.10", "1.27.10")


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("1.24", "the newest lines are 1.29, 1.28, 1.27, 1.26", "The newest release is 1.29.0."),
        (
            "1.30",
            "the newest lines are 1.29, 1.28, 1.27, 1.26",
            "Of 1.30 there is 1.30.0-alpha.1, 1.30.0-rc.0: ",
        ),
        ("1.31+", "there is no such release at https://git.example/istio", "The newest release is 1.29.0."),
    ],
)
def test_what_nothing_fulfils_is_told_with_what_there_is(word: str, message: str, hint: str) -> None:
    with pytest.raises(SourceError) as raised:
        choose(word)
    assert f"--istio {word}: " in raised.value.message
    assert message in raised.value.message
    assert hint in raised.value.hint


def test_a_repository_without_releases_is_told() -> None:
    with pytest.raises(SourceError, match=r"there is no release at https://git\.example/istio"):
        known("nightly", "1.29.0-rc.0").choose(parse_wishes(("latest",)))


def test_a_fork_that_tags_as_go_modules_are_is_understood() -> None:
    assert known("v1.29.0", "v1.29.1", "1.29.0").choose(parse_wishes(("1.29",))) == ("v1.29.1",)
    assert known("1.29.0", "v1.29.0").choose(parse_wishes(("latest",))) == ("1.29.0",)


def test_a_candidate_is_older_than_its_release_and_what_is_no_version_comes_last() -> None:
    assert newest_first(["vendor-7", "1.29.0-rc.3", "1.9.0", "1.29.0"]) == ("1.29.0", "1.29.0-rc.3", "1.9.0", "vendor-7")
