"""Which lines are supported, by the data that is shipped."""

from datetime import date, timedelta
from itertools import pairwise

import pytest

from builder.recipe.istio_release import IstioRelease
from builder.recipe.support import SupportedLines, load_support

ENDED = {"1.9": date(2021, 10, 8), "1.28": date(2026, 7, 1), "1.29": date(2026, 10, 15)}
LINES = SupportedLines(source="https://istio.io", read_at="1.31", ended=ENDED)


@pytest.mark.parametrize(
    ("release", "today", "supported"),
    [
        ((1, 29, 3), date(2026, 10, 15), True),
        ((1, 29, 3), date(2026, 10, 16), False),
        ((1, 28, 0), date(2026, 8, 1), False),
        # No end is known: newer than all, or among them.
        ((1, 30, 0), date(2030, 1, 1), True),
        ((1, 20, 0), date(2030, 1, 1), True),
        ((2, 0, 0), date(2030, 1, 1), True),
        ((1, 8, 6), date(2020, 1, 1), False),
    ],
)
def test_a_line_is_supported_to_its_last_day(release: tuple[int, int, int], today: date, supported: bool) -> None:
    assert LINES.covers(IstioRelease(*release), today) is supported


def test_how_far_it_reaches_is_told() -> None:
    assert "ended is 1.29, as of Istio 1.31; newer ones count as supported (https://istio.io)" in LINES.note()


def test_what_is_shipped_names_its_source_and_has_every_line_in_order() -> None:
    shipped = load_support()
    assert shipped.source.startswith("https://istio.io/latest/docs/releases/supported-releases/")
    numbers = [int(line.removeprefix("1.")) for line in shipped.ended]
    assert numbers == list(range(13, numbers[-1] + 1))
    # About every quarter a line comes out, and with it one ends.
    assert all(timedelta(days=30) < later - earlier < timedelta(days=250) for earlier, later in pairwise(shipped.ended.values()))
