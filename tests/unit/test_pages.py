"""The pages: what they show can be typed, what they link to is there, and each has its place in the site."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import ROOT
from tests.samples.golden import check_golden
from tests.samples.page_checks import problems_of
from tests.samples.pages import DOCS, PAGES, anchors_of, links_in, simple_commands, title_of

NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("name", NAMES)
def test_all_that_a_page_shows_is_read_by_what_it_is_for(name: str) -> None:
    assert problems_of((ROOT / name).read_text()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_links_to_what_is_there(name: str) -> None:
    page = ROOT / name
    broken = [link for link in links_in(page.read_text()) if not link.startswith("https://") and not leads_somewhere(page, link)]
    assert broken == []


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors_of(target.read_text()))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("docs/")])
def test_a_page_of_the_site_links_to_nothing_outside_of_it(name: str) -> None:
    """What is elsewhere in the repository is named by its path: the site does not have it."""
    links = [link for link in links_in((ROOT / name).read_text()) if not link.startswith(("https://", "#"))]
    assert [link for link in links if not (ROOT / name).parent.joinpath(link).resolve().is_relative_to(DOCS)] == []


def pages_of_nav(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for within in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from pages_of_nav(within)


def test_every_page_has_one_place_in_the_site_and_a_title_of_its_own() -> None:
    named = [*pages_of_nav(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])]
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md"))
    titles = [title_of(DOCS / name) for name in named]
    assert "" not in titles
    assert len(set(titles)) == len(titles)


BAD_PAGES = {
    "an option that there is not": ("```sh\nistio-build push --hub h.example/x --isto 1.29.0\n```", "No such option"),
    "a value that there is not": ("```sh\nistio-build push --engine podman\n```", "'podman' is not one of"),
    "a command that there is not": ("```sh\nistio-build pull\n```", "there is no command pull"),
    "one in the middle of a line": ("```sh\ncd x && istio-build pull | tee y\n```", "there is no command pull"),
    "one within another": ('```sh\neval "$(istio-build complete bash)"\n```', "there is no command complete"),
    "one on two lines": ("```sh\nistio-build push \\\n    --hubb x\n```", "No such option"),
    "one behind a prompt": ("```console\n$ istio-build pull\nsome output\n```", "there is no command pull"),
    "one for cron": ("```text\n17 3 * * *  cd x && istio-build nihgtly\n```", "there is no command nihgtly"),
    "one in our image": ("```sh\ndocker run -v x:/y h.example/istio-build:1 pull\n```", "there is no command pull"),
    "one of a checkout": ("```sh\n.venv/bin/python -m builder pull\n```", "there is no command pull"),
    "a program that nobody knows": ("```sh\npodman run x\n```", "no test knows the program podman"),
    "quotes without an end": ("```sh\nistio-build push --hub 'x\n```", "No closing quotation"),
    "a target that there is not": ("```sh\nmake everything\n```", "the Makefile has no everything"),
    "a variable that there is not": ("```sh\nmake image HUBS=x\n```", "the Makefile has no HUBS"),
    "an option of a tool": ("```sh\nmake bench ARGS='--phase nine'\n```", "'nine' is not one of"),
    "a tool that there is not": ("```sh\npython -m tools.nothing\n```", "there is no module"),
    "a flag in a sentence": ("Say `--retian 3`.", "there is no flag --retian"),
    "a flag of another command": ("Say `istio-build history --rebuild`.", "there is no flag --rebuild"),
    "a call in a sentence": ("Say `istio-build pull`.", "there is no command pull"),
    "a call that nobody reads": ("Say\n\n    istio-build push --hub x\n", "stands in no block"),
    "a block of no language": ("```\nistio-build push\n```", "no test reads a block of no language"),
    "a block without an end": ("```sh\nistio-build push\n", "has no end"),
    "JSON": ('```json\n{"a": }\n```', "Expecting value"),
    "YAML": ("```yaml\na: [\n```", "while parsing a flow"),
    "a key that there is not": ("```yaml\nhub: x.example/y\nistio: 1.29.0\nretian: 3\n```", "retian"),
    "a value of a key": ("```yaml\n# istio-build.yaml\nengine: podman\n```", "engine"),
    "a template": ("```jinja\n{% if %}\n```", "Expected an expression"),
}


@pytest.mark.parametrize("name", BAD_PAGES)
def test_a_page_that_is_wrong_is_told_of(name: str) -> None:
    page, told = BAD_PAGES[name]
    problems = problems_of(page)
    assert len(problems) >= 1
    assert told in problems[0], problems


def test_what_is_right_is_not_told_of() -> None:
    page = """
Say `istio-build push --hub HUB …`, or `--rebuild`.

```sh
# Both.
A=1 istio-build push --hub registry.corp.example/istio --istio 1.29.0 >out 2>&1 && make demo | tee log
istio-build plan --hub registry.corp.example/istio \\
    --source ../istio          # with what is not committed
```

```text
error: istio-build pull is no call of ours
```
"""
    assert problems_of(page) == []


def test_the_words_of_a_line_are_those_of_its_programs() -> None:
    line = "A=1 sudo make x > out 2>> log && (cd y; echo \"$(istio-build list)\") | tee 'z w' # and so on"
    assert [*simple_commands(line)] == [
        ["sudo", "make", "x"],
        ["cd", "y"],
        ["echo", "$(istio-build list)"],
        ["istio-build", "list"],
        ["tee", "z w"],
    ]


def test_headings_have_the_anchors_that_code_hosts_make() -> None:
    page = "# A page\n\n## `--merge-platforms`: one at a time\n\n### [release.yaml](x.md)\n\n```sh\n# no heading\n```\n"
    assert anchors_of(page) == {"a-page", "--merge-platforms-one-at-a-time", "releaseyaml"}


def test_what_to_do_is_said_for_each_exit_code_of_the_readme() -> None:
    """The heading of each is how the README begins to tell of it."""
    headings = dict(re.findall(r"^### (\d+): (.+)$", (DOCS / "when-it-fails.md").read_text(), re.MULTILINE))
    assert list(headings) == [*exit_codes()]
    assert {code: text for code, text in headings.items() if not exit_codes()[code].startswith(text)} == {}


def test_the_page_of_exit_codes_is_that_of_the_readme_and_leads_to_what_to_do() -> None:
    """docs/exit-codes.md is made from the two: `UPDATE_GOLDEN=1 make test-fast` writes it anew."""
    headings = re.findall(r"^### ((\d+): .+)$", (DOCS / "when-it-fails.md").read_text(), re.MULTILINE)
    anchors = {code: next(iter(anchors_of(f"### {heading}"))) for heading, code in headings}
    rows = [f"| [{code}](when-it-fails.md#{anchors[code]}) | {text} |" for code, text in exit_codes().items()]
    told = "What `istio-build` ends with. Each leads to what is at the hub then, and what to do."
    head = ["# Exit codes", "", told, "", "| code | what went wrong |", "| --- | --- |", "| 0 | nothing |"]
    check_golden(DOCS / "exit-codes.md", "\n".join([*head, *rows]) + "\n")


def exit_codes() -> dict[str, str]:
    """What the README says of each."""
    return dict(re.findall(r"^\| (\d+) \| ([^|]+) \|$", (ROOT / "README.md").read_text(), re.MULTILINE))
