"""The page of a run in a real browser: as wide as a phone and as a desk, light and dark."""

from pathlib import Path

import pytest

from builder.report.page import KeptRun, run_page
from tests.real.browser import ask_page
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HOSTILE_RUN, NIGHT_RUN

RUNS = {"good": GOOD_RUN, "failed": FAILED_RUN, "night": NIGHT_RUN, "hostile": HOSTILE_RUN}
KEPT = (KeptRun(name="20260228T030007Z-00000000", began="2026-02-28T03:00:07Z", command="push", summary="6 unchanged", ok=True),)
LOOK = """(inner) => {
  const root = inner.documentElement;
  for (const folded of inner.querySelectorAll("details")) folded.open = true;
  const seen = (element) => element.getBoundingClientRect().width > 0 && element.getBoundingClientRect().height > 0;
  const right = (element) => element.getBoundingClientRect().right;
  const wide = [...inner.querySelectorAll("body *:not(svg *)")].filter((element) => right(element) > root.clientWidth + 1);
  return {
    beyond: root.scrollWidth - root.clientWidth,
    wide: wide.map((element) => element.tagName + "." + element.className),
    bars: [...inner.querySelectorAll("svg.bar rect")].filter(seen).length,
    rows: [...inner.querySelectorAll("table.images tbody tr, table.ledger tbody tr")].filter(seen).length,
    scripts: inner.scripts.length,
    paper: getComputedStyle(inner.body).backgroundColor,
    ink: getComputedStyle(inner.body).color,
  };
}"""


def look(browser: str, work: Path, page: str, width: int, *more: str) -> dict[str, object]:
    """What the browser makes of a page that is this wide."""
    (work / "page.html").write_text(page)
    return ask_page(browser, work, work / "page.html", LOOK, width, *more)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", RUNS)
def test_everything_is_there_and_nothing_is_wider_than_the_screen(name: str, width: int, browser: str, tmp_path: Path) -> None:
    run = RUNS[name]
    found = look(browser, tmp_path, run_page(run, KEPT), width)
    assert found["wide"] == []
    assert found["beyond"] == 0
    assert found["bars"] == len(run.tasks)
    assert found["rows"] == len(run.images) + (len(run.error.ledger) if run.error else 0)
    assert found["scripts"] == 0


def test_it_is_as_dark_as_its_reader_wants_it(browser: str, tmp_path: Path) -> None:
    light = look(browser, tmp_path, run_page(GOOD_RUN), 1280, "--blink-settings=preferredColorScheme=1")
    dark = look(browser, tmp_path, run_page(GOOD_RUN), 1280, "--blink-settings=preferredColorScheme=0")
    assert (light["paper"], light["ink"]) == ("rgb(251, 251, 250)", "rgb(28, 30, 33)")
    assert (dark["paper"], dark["ink"]) == ("rgb(21, 23, 26)", "rgb(230, 232, 234)")
