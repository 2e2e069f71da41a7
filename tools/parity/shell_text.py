"""Finds its way in the text of shell scripts: what a quote, an expansion or a parenthesis holds, and where commands end."""

import re
from collections.abc import Callable, Iterator

from tools.parity.model import CouldNotRead

_KEYWORDS = ("then", "do", "else")


def find_closing(text: str, at: int, opening: str, closing: str) -> int:
    """Where what opens at this place is closed; quotes and what is in them are passed over."""
    at += 1
    while at < len(text):
        if text[at] == closing:
            return at
        at = _skip(text, at, opening)
    raise CouldNotRead(f"{text!r} has no closing {closing}")


def _skip(text: str, at: int, opening: str = "") -> int:
    """The place behind whatever begins here: a quoted text, an expansion, something in parentheses, else one character."""
    character = text[at]
    if character == "\\":
        return at + 2
    if character == "'":
        return find_quote(text, at + 1, "'") + 1
    if character == '"':
        return _closing_double_quote(text, at + 1) + 1
    if text.startswith("${", at):
        return find_closing(text, at + 1, "{", "}") + 1
    if character == "(" or (character == "{" and opening == "{"):
        return find_closing(text, at, character, {"(": ")", "{": "}"}[character]) + 1
    return at + 1


def find_quote(text: str, at: int, quote: str) -> int:
    """Where this quote next stands. Raises CouldNotRead where it does not."""
    end = text.find(quote, at)
    if end < 0:
        raise CouldNotRead(f"{text[at - 1 :][:60]!r} has no closing {quote}")
    return end


def _closing_double_quote(text: str, at: int) -> int:
    while at < len(text) and text[at] != '"':
        # Within double quotes, only these begin something of their own.
        nested = text[at] == "\\" or text.startswith(("$(", "${"), at)
        at = _skip(text, at + (text.startswith("$(", at))) if nested else at + 1
    return find_quote(text, at, '"')


def split_bare(text: str, separator: str) -> list[str]:
    """Split where the separator stands outside of quotes, braces and parentheses."""
    parts, start = [], 0
    for index in _bare(text, lambda at: text.startswith(separator, at)):
        if index >= start:
            parts.append(text[start:index])
            start = index + len(separator)
    return [*parts, text[start:]]


def _bare(text: str, wanted: Callable[[int], bool]) -> Iterator[int]:
    """The places outside of quotes, expansions and parentheses that are wanted."""
    at = 0
    while at < len(text):
        after = _skip(text, at)
        if after == at + 1 and wanted(at):
            yield at
        at = after


def read_commands(text: str) -> Iterator[str]:
    """The commands one by one, without comments and functions; `then`, `do` and `else` stand alone."""
    text = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*$", "", text))
    # A function ends with a brace at the beginning of a line.
    text = re.sub(r"(?ms)^(?:function\s+)?\w+\s*\(\)\s*\{.*?^\}", "", text)
    start = 0
    # A `&&` between commands outside of a condition is left within its command, as nothing here needs the difference.
    for end in [*_bare(text, lambda at: text[at] in "\n;"), len(text)]:
        command = text[start:end].strip()
        start = end + 1
        while command:
            word, _, rest = command.partition(" ")
            if word in _KEYWORDS:
                yield word
                command = rest.strip()
            else:
                yield re.sub(r"\s+#\s.*", "", command)
                command = ""
