"""Markdown pages as tests read them: their blocks, the commands in them, their headings and links."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import ROOT

DOCS = ROOT / "docs"
# Pages link to each other by their paths, so a code host shows the same as the site.
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md", *sorted(DOCS.glob("*.md")))

_FENCE = re.compile(r"^\s*```(\w*)\s*$")
_HEADING = re.compile(r"^(#+) (.*)$")
# A prompt is before what is typed in blocks that also show what is printed.
_PROMPT = "$ "
_CRONTAB = re.compile(r"(?:[\d*/,-]+ +){5}")
_ENDS_COMMAND = frozenset("|&;()")
_SUBSTITUTED = re.compile(r"\$\((.*)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block: the number of its first line, its language ("" where it has none), and what is in it."""

    line: int
    language: str
    text: str


def blocks_in(page: str) -> list[Block]:
    """The fenced blocks of a page. Raises ValueError where one has no end."""
    blocks: list[Block] = []
    begun: tuple[int, str] | None = None
    within: list[str] = []
    for number, line in enumerate(page.splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and begun is None:
            begun, within = (number + 1, fence[1]), []
        elif fence and begun:
            blocks.append(Block(line=begun[0], language=begun[1], text="\n".join(within)))
            begun = None
        else:
            within.append(line)
    if begun:
        raise ValueError(f"the block in line {begun[0]} has no end")
    return blocks


def prose_of(page: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^\s*```.*?^\s*```$", "", page, flags=re.MULTILINE | re.DOTALL)


def spans_in(page: str) -> list[str]:
    """What stands in backquotes in its prose, as one line each, bars of tables as they are meant."""
    return [" ".join(span.split()).replace("\\|", "|") for span in re.findall(r"`([^`]+)`", prose_of(page))]


def command_lines(block: Block) -> Iterator[tuple[int, str]]:
    """What is called in a block, with the number of its line: all of a script, else what follows a prompt, or is for cron."""
    lines = block.text.splitlines()
    number = 0
    while number < len(lines):
        begin, whole = number, lines[number].strip()
        while whole.endswith("\\") and number + 1 < len(lines):
            number += 1
            whole = f"{whole[:-1].rstrip()} {lines[number].strip()}"
        number += 1
        typed = whole if block.language == "sh" else _typed(whole)
        if typed and not typed.startswith("#"):
            yield block.line + begin, typed


def _typed(line: str) -> str:
    if line.startswith(_PROMPT):
        return line.removeprefix(_PROMPT)
    at = _CRONTAB.match(line)
    return line[at.end() :] if at else ""


def simple_commands(line: str) -> Iterator[list[str]]:
    """The words of each program that a line of a script calls, also in `$(…)`, without assignments and redirections.

    Raises ValueError where its quotes do not match.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;()<>")
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if set(word) <= _ENDS_COMMAND:
            if words := _without_assignments(words):
                yield words
                for within in (found[1] for word in words if (found := _SUBSTITUTED.search(word))):
                    yield from simple_commands(within)
            words, redirected = [], False
        elif set(word) <= set("<>&"):
            redirected = True
            # The number of what is redirected, as in `2>`.
            words = words[:-1] if words and words[-1] in ("1", "2") else words
        elif redirected:
            redirected = False
        else:
            words.append(word)


def _without_assignments(words: list[str]) -> list[str]:
    while words and re.match(r"[A-Za-z_]\w*=", words[0]):
        words = words[1:]
    return words


def links_in(page: str) -> list[str]:
    """What the page links to, and the pictures that it shows."""
    return re.findall(r"\]\(([^)\s]+)\)", prose_of(page))


def anchors_of(page: str) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    anchors: set[str] = set()
    for line in prose_of(page).splitlines():
        if heading := _HEADING.match(line):
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[2]).strip().lower()
            anchors.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return anchors


def title_of(page: Path) -> str:
    """The heading that a page begins with, "" where it begins otherwise."""
    heading = _HEADING.match(page.read_text().partition("\n")[0])
    return heading[2] if heading and heading[1] == "#" else ""
