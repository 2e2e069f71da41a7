"""The site that `make docs` makes: whole in itself, from disk as from a server, on a phone as on a desk."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from tests import ROOT
from tests.real.browser import ask_page, dump_page

CONFIG = ROOT / "mkdocs.yml"
# What of an element a browser fetches by itself, and not when somebody follows a link.
FETCHED = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "audio": "src",
    "video": "src",
    "embed": "src",
    "object": "data",
    "use": "href",
    "image": "href",
}
# Of `link`, those that only say how pages belong together.
NOT_FETCHED = {"canonical", "prev", "next", "alternate"}
LOOK = """(inner) => {
  const root = inner.documentElement;
  const style = getComputedStyle(inner.body);
  return {
    title: inner.title,
    beyond: root.scrollWidth - root.clientWidth,
    fetched: [...inner.querySelectorAll("[src], link[rel=stylesheet], link[rel=icon]")].map((one) => one.src || one.href),
    rows: inner.querySelectorAll("article table tr").length,
    paper: style.backgroundColor,
    ink: style.color,
  };
}"""
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(30, 33, 41)"}


def build(config: Path, into: Path) -> subprocess.CompletedProcess[str]:
    argv: list[str | Path] = [sys.executable, "-m", "mkdocs", "build", "--config-file", config, "--site-dir", into]
    # The theme greets everybody with news of other programs.
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("site")
    built = build(CONFIG, into)
    assert built.returncode == 0, built.stderr
    return into


def pages_of_nav(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for within in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from pages_of_nav(within)


class Fetched(HTMLParser):
    """The addresses that a page has fetched by itself, and what stands in its scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.within: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        self._inside = tag
        if tag == "link" and not NOT_FETCHED & set((of.get("rel") or "").split()):
            self.addresses.append(of.get("href") or "")
        if tag in FETCHED and of.get(FETCHED[tag]):
            self.addresses.append(of[FETCHED[tag]] or "")
        self.addresses += [part.split()[0] for part in (of.get("srcset") or "").split(",") if part.strip()]
        self.within.append(of.get("style") or "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.within.append(data)


def fetched_by(style: str) -> list[str]:
    """The addresses that a style sheet has fetched."""
    found = re.findall(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""", style)
    return [first or second for first, second in found]


def is_elsewhere(address: str) -> bool:
    return not address.startswith("data:") and bool(re.match(r"[a-z][a-z+.-]*:|//", address, re.IGNORECASE))


def test_every_page_is_there(site: Path) -> None:
    for name in pages_of_nav(yaml.safe_load(CONFIG.read_text())["nav"]):
        page = (site / name).with_suffix(".html").read_text()
        assert "</article>" in page, name
    commands = (site / "commands.html").read_text()
    assert all(f"istio-build {command}" in commands for command in ("push", "nightly", "rollback", "verify"))
    assert (site / "schemas" / "report.json").read_bytes() == (ROOT / "docs" / "schemas" / "report.json").read_bytes()


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    pages = [*site.rglob("*.html")]
    assert len(pages) > 30
    for page in pages:
        fetched = Fetched(page.read_text())
        assert fetched.addresses
        assert [address for address in fetched.addresses if is_elsewhere(address)] == [], page
        assert [text for text in fetched.within if re.search(r"https?://", text)] == [], page
    for sheet in site.rglob("*.css"):
        assert [address for address in fetched_by(sheet.read_text()) if is_elsewhere(address)] == [], sheet


def test_an_address_of_another_host_would_be_found() -> None:
    page = """<link rel="stylesheet" href="https://fonts.example/a.css"><link rel="prev" href="https://x.example/">
    <script src="//cdn.example/a.js"></script><img srcset="a.png 1x, https://cdn.example/b.png 2x"><script>fetch("https://x.example")
    </script><a href="https://docs.example">read on</a>"""
    fetched = Fetched(page)
    found = [address for address in fetched.addresses if is_elsewhere(address)]
    assert found == ["https://fonts.example/a.css", "//cdn.example/a.js", "https://cdn.example/b.png"]
    assert [text for text in fetched.within if "https://" in text] == ['fetch("https://x.example")\n    ']
    sheet = '@import "https://a.example/b"; a { background: url(data:image/png;base64,AA) } b { src: url("//f.example/c") }'
    assert [address for address in fetched_by(sheet) if is_elsewhere(address)] == ["https://a.example/b", "//f.example/c"]


@pytest.mark.parametrize(
    "page", ["[elsewhere](../README.md)", "[nowhere](nothing.md)", "[no heading](index.md#nothing)", "[absolute](/index.html)"]
)
def test_a_link_that_leads_nowhere_ends_the_build(page: str, tmp_path: Path) -> None:
    (tmp_path / "docs" / "theme").mkdir(parents=True)
    for name in ("iframe-worker.js", "site.css"):
        (tmp_path / "docs" / "theme" / name).touch()
    (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{page}\n")
    config = tmp_path / "mkdocs.yml"
    config.write_text(f"INHERIT: {CONFIG}\ndocs_dir: docs\nnav: [index.md]\n")
    built = build(config, tmp_path / "site")
    assert built.returncode == 1, built.stderr
    assert "WARNING -  Doc file 'index.md' contains a" in built.stderr


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["index", "project-file", "commands", "when-it-fails"])
def test_on_a_phone_as_on_a_desk_nothing_is_wider_than_the_screen(
    name: str, width: int, browser: str, site: Path, tmp_path: Path
) -> None:
    found = ask_page(browser, tmp_path, site / f"{name}.html", LOOK, width)
    assert found["beyond"] == 0
    assert "istio-build" in str(found["title"])
    fetched = found["fetched"]
    assert isinstance(fetched, list)
    assert len(fetched) > 3
    assert [address for address in fetched if not str(address).startswith(site.as_uri())] == []


def test_it_is_as_dark_as_its_reader_wants_it(browser: str, site: Path, tmp_path: Path) -> None:
    for number, kind in enumerate(("dark", "light")):
        found = ask_page(browser, tmp_path, site / "index.html", LOOK, 1280, f"--blink-settings=preferredColorScheme={number}")
        assert found["paper"] == PAPER[kind]


def test_search_finds_from_disk(browser: str, site: Path, tmp_path: Path) -> None:
    page = dump_page(browser, tmp_path, f"{site.as_uri()}/index.html?q=rollback")
    links = re.findall(r'<a [^>]*class="md-search-result__link"[^>]*>', page)
    assert [link for link in links if "/rollback.html" in link], links
