"""The page of a run in a real browser: as wide as a phone and as a desk, light and dark.

Needs Chromium: `tools/engine browser` installs it as root on Debian, and `make test` calls that. Elsewhere these tests are
skipped, each by name; in CI, where every test has to run, they fail.
"""

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.report.page import KeptRun, run_page
from tests.conftest import REQUIRED
from tests.samples.runs import FAILED_RUN, GOOD_RUN, HOSTILE_RUN, NIGHT_RUN

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
RUNS = {"good": GOOD_RUN, "failed": FAILED_RUN, "night": NIGHT_RUN, "hostile": HOSTILE_RUN}
KEPT = (KeptRun(name="20260228T030007Z-00000000", began="2026-02-28T03:00:07Z", command="push", summary="6 unchanged", ok=True),)
# A page of ours runs no script, so it is looked at from outside: by one that has it in a frame of the same origin.
OUTSIDE = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" src="page.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>
document.getElementById("page").onload = (event) => {{
  const inner = event.target.contentDocument, root = inner.documentElement;
  for (const folded of inner.querySelectorAll("details")) folded.open = true;
  const seen = (element) => element.getBoundingClientRect().width > 0 && element.getBoundingClientRect().height > 0;
  const right = (element) => element.getBoundingClientRect().right;
  const wide = [...inner.querySelectorAll("body *:not(svg *)")].filter((element) => right(element) > root.clientWidth + 1);
  document.body.dataset.told = JSON.stringify({{
    beyond: root.scrollWidth - root.clientWidth,
    wide: wide.map((element) => element.tagName + "." + element.className),
    bars: [...inner.querySelectorAll("svg.bar rect")].filter(seen).length,
    rows: [...inner.querySelectorAll("table.images tbody tr, table.ledger tbody tr")].filter(seen).length,
    scripts: inner.scripts.length,
    paper: getComputedStyle(inner.body).backgroundColor,
    ink: getComputedStyle(inner.body).color,
  }});
}};
</script>"""


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> str:
    found = next((path for name in PROGRAMS if (path := shutil.which(name))), None)
    if found is None:
        told = f"{request.node.nodeid}: NO BROWSER: none of {', '.join(PROGRAMS)} is on PATH"
        if REQUIRED:
            pytest.fail(told)
        pytest.skip(told)
    return found


def look(browser: str, work: Path, page: str, width: int, *more: str) -> dict[str, object]:
    """What the browser makes of a page that is this wide."""
    (work / "page.html").write_text(page)
    (work / "outside.html").write_text(OUTSIDE.format(width=width))
    argv: Sequence[str | Path] = (
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--allow-file-access-from-files",
        "--force-device-scale-factor=1",
        f"--user-data-dir={work / 'profile'}",
        f"--window-size={max(width, 600)},900",
        "--virtual-time-budget=4000",
        *more,
        "--dump-dom",
        f"file://{work / 'outside.html'}",
    )
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    (told,) = re.findall(r'data-told="([^"]*)"', done.stdout)
    found: dict[str, object] = json.loads(html.unescape(told))
    return found


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
