"""Finds its way in the text of Makefiles: lines that go on, what parentheses hold, the arguments of functions."""

from collections.abc import Iterator

from tools.parity.model import CouldNotRead

CLOSING = {"(": ")", "{": "}"}


def join_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their number (from 1), those that go on joined to the first of them."""
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        start = start if pending else number
        if line.endswith("\\") and not (line.lstrip().startswith("#") and not pending):
            pending += line[:-1].rstrip() + " " if pending == "" else line[:-1].strip() + " "
            continue
        yield start, pending + (line.strip() if pending else line)
        pending = ""
    if pending:
        yield start, pending


def enclosed(text: str, position: int, opening: str) -> tuple[str, int]:
    """What stands up to the closing parenthesis, and where that is passed."""
    closing, depth = CLOSING[opening], 1
    for index in range(position, len(text)):
        depth += (text[index] == opening) - (text[index] == closing)
        if not depth:
            return text[position:index], index + 1
    raise CouldNotRead(f"{text[position - 2 :]!r} has no end")


def split_arguments(text: str, count: int) -> list[str]:
    """The arguments of a function: `count` of them (missing ones are empty), or all where it is 0."""
    parts: list[str] = []
    rest = text
    while (comma := find_outside(rest, ",")) >= 0 and (not count or len(parts) < count - 1):
        parts.append(rest[:comma])
        rest = rest[comma + 1 :]
    parts.append(rest)
    return parts + [""] * (count - len(parts))


def find_outside(text: str, wanted: str) -> int:
    """Where a character first stands outside of parentheses, or -1."""
    depth = 0
    for index, character in enumerate(text):
        if character in "({":
            depth += 1
        elif character in ")}":
            depth -= 1
        elif character == wanted and depth <= 0:
            return index
    return -1
