"""Variables with a slip in their name are told, with the one that was meant; those of others are none of our business."""

import pytest

from builder.config.options import OPTIONS
from builder.config.variables import unknown_variables


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ISTIO_BUILD_HUBB", "ISTIO_BUILD_HUB"),
        ("ISTIO_BUILD_PLATFORMS", "ISTIO_BUILD_PLATFORM"),
        ("ISTIO_BUILD_CASHE", "ISTIO_BUILD_CACHE"),
    ],
)
def test_a_slip_is_told_with_what_was_meant(name: str, meant: str) -> None:
    assert unknown_variables([name, "PATH"]) == (f"The variable {name} means nothing to istio-build; did you mean {meant}?",)


def test_what_is_like_nothing_is_told_without() -> None:
    assert unknown_variables(["ISTIO_BUILD_XYZZY"]) == ("The variable ISTIO_BUILD_XYZZY means nothing to istio-build.",)


def test_ours_and_others_are_fine() -> None:
    ours = [option.variable for option in OPTIONS]
    assert unknown_variables([*ours, "ISTIO_BUILD_CACHE", "ISTIO_BUILD_PROGRESS", "ISTIO_BUILD_SHARD", "ISTIO", "HUBB"]) == ()
