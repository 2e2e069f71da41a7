"""A real browser, without a window, that says what it makes of a page.

`tools/engine browser` installs Chromium as root on Debian, and `make test` calls that.
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")


def find_browser() -> str | None:
    """The program, where there is one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def dump_page(browser: str, work: Path, address: str, *more: str) -> str:
    """The page as it is when its scripts have run. `work` is a directory for the browser's own files."""
    argv = (
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--force-device-scale-factor=1",
        f"--user-data-dir={work / 'profile'}",
        "--virtual-time-budget=4000",
        *more,
        "--dump-dom",
        address,
    )
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True).stdout


def ask_page(browser: str, work: Path, page: Path, script: str, width: int, *more: str) -> dict[str, object]:
    """What a script tells of a page that is this wide: it has the page as `inner`, and gives an object.

    The page is looked at from outside, by one that has it in a frame: so it may be narrower than a window can be, and needs to
    run no script of its own.
    """
    outside = work / "outside.html"
    outside.write_text(_OUTSIDE.format(width=width, page=page.as_uri(), script=script))
    wide = f"--window-size={max(width, 600)},900"
    done = dump_page(browser, work, outside.as_uri(), "--allow-file-access-from-files", wide, *more)
    (told,) = re.findall(r'data-told="([^"]*)"', done)
    found: dict[str, object] = json.loads(html.unescape(told))
    return found


_OUTSIDE = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">
<iframe id="page" src="{page}" style="border:0;width:{width}px;height:900px"></iframe>
<script>
document.getElementById("page").onload = (event) => {{
  const inner = event.target.contentDocument;
  document.body.dataset.told = JSON.stringify(({script})(inner));
}};
</script>"""
