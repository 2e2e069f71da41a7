"""What people read on: where a line has no room, sentences go on below, and the row of a table becomes a block.

What is to be copied is never broken: neither a word, such as a reference or a digest, nor what stands in backquotes. Where that
alone is wider than the screen, it has a line of its own and goes over its edge. Pure.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from builder.runtime.text import format_table

Rows = Sequence[Sequence[str]]

# A word, with what stands before it: backquotes hold their spaces together.
_WORDS = re.compile(r"( *)((?:`[^`]*`|[^ `]|`)+)")
# A last column that is narrower is a stack of words rather than a text.
_LEAST = 28


@dataclass(frozen=True, slots=True)
class Screen:
    """So many columns wide; 0: lines have no end, as in a file."""

    width: int = 0

    def fold(self, line: str, *, hang: int = 2) -> list[str]:
        """The line, or what becomes of it: broken between words, what goes on below is so much further in."""
        if not self.width or len(line) <= self.width:
            return [line]
        indent = len(line) - len(line.lstrip(" "))
        lines: list[str] = []
        for gap, word in _WORDS.findall(line[indent:]):
            if not lines:
                lines.append(f"{' ' * indent}{word}")
            elif len(lines[-1]) + len(gap) + len(word) <= self.width:
                lines[-1] += gap + word
            else:
                lines.append(f"{' ' * (indent + hang)}{word}")
        return lines

    def table(self, rows: Rows, *, indent: str = "", labels: bool = False) -> list[str]:
        """Columns where they have room, else a block a row; `labels`: with the first row's word before each cell.

        A row whose first cell is empty goes on with what the row above is about.
        """
        if not rows:
            return []
        lines = [f"{indent}{line}" for line in format_table(rows)]
        if not self.width or max(map(len, lines)) <= self.width:
            return lines
        return self._with_last_folded(rows, indent) or self._blocks(rows, indent, labels=labels)

    def _with_last_folded(self, rows: Rows, indent: str) -> list[str]:
        """Columns of which the last one is folded; nothing where it has no room to be read."""
        filled = max(number for row in rows for number, cell in enumerate(row, start=1) if cell)
        before = format_table([[*row[: filled - 1], "|"] for row in rows])
        begin = len(indent) + len(before[0]) - 1
        column = Screen(self.width - begin)
        cells = [column.fold(row[filled - 1], hang=0) if column.width >= _LEAST else [] for row in rows]
        if column.width < _LEAST or any(len(part) > column.width for cell in cells for part in cell):
            return []
        return [
            f"{indent + head[:-1] if number == 0 else ' ' * begin}{part}".rstrip()
            for head, cell in zip(before, cells, strict=True)
            for number, part in enumerate(cell)
        ]

    def _blocks(self, rows: Rows, indent: str, *, labels: bool) -> list[str]:
        inner = f"{indent}  "
        lines: list[str] = []
        names = rows[0] if labels else ()
        named = max(map(len, names[1:]), default=0)
        for first, *others in rows[1:] if labels else rows:
            lines += self.fold(f"{indent}{first}") if first else []
            if labels:
                told = [f"{inner}{name.ljust(named)}  {cell}" for name, cell in zip(names[1:], others, strict=True) if cell]
                lines += [part for line in told for part in self.fold(line, hang=named + 2)]
            else:
                lines += self._side_by_side(inner, [cell for cell in others if cell])
        return lines

    def _side_by_side(self, indent: str, cells: Sequence[str]) -> list[str]:
        """As many on a line as have room."""
        lines: list[str] = []
        for cell in cells:
            if lines and len(lines[-1]) + len(cell) + 2 <= self.width:
                lines[-1] += f"  {cell}"
            else:
                lines.append(f"{indent}{cell}")
        return [part for line in lines for part in self.fold(line)]


ENDLESS = Screen()
