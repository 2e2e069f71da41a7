"""What a run has printed more than once, for the rule that it tells nobody the same thing twice."""

import re
from collections import Counter
from collections.abc import Iterator

from tests.real.program import Ended

# As long as what is said of a thing is; names and counts are shorter.
_SENTENCE = 25


def said_twice(ended: Ended) -> list[str]:
    """The lines that were printed more than once, whatever their times, and the sentences that are in more than one line.

    Where there are several, the references that a table has are on stdout once more, each with its digest: that is for programs.
    """
    lines = [re.sub(r"\d+\.\d s", "0.0 s", line).strip() for line in f"{ended.stderr}\n{ended.stdout}".splitlines()]
    found = Counter(line for line in lines if line)
    found |= Counter(part for line in found for part in set(_sentences(line)))
    return [text for text, count in found.items() if count > 1]


def _sentences(line: str) -> Iterator[str]:
    """What stands between colons, and after the last."""
    yield from (part.strip(" .") for part in re.split(r": ", line) if len(part) >= _SENTENCE)
