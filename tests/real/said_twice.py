"""What a run has printed more than once, for the rule that it tells nobody the same thing twice."""

import re
from collections import Counter
from collections.abc import Iterator

from tests.real.program import Ended

# As long as what is said of a thing is; names and counts are shorter.
_SENTENCE = 25
# A task that begins, or has ended.
_TASK = re.compile(r"[a-z]+ {2,}.*( \.\.\.|0\.0 s)$")
# Each try is news: how long the next one is waited for.
_AGAIN = re.compile(r"trying again in 0\.0 s$")


def said_twice(ended: Ended, releases: int = 1) -> list[str]:
    """The lines that were printed more than once, whatever their times, and the sentences that are in more than one line.

    Of several releases each has its tasks.
    """
    lines = [re.sub(r"\d+\.\d s", "0.0 s", line).strip() for line in f"{ended.stderr}\n{ended.stdout}".splitlines()]
    lines = [line for line in lines if not _AGAIN.search(line)]
    tasks = Counter(line for line in lines if _TASK.match(line))
    told = Counter(line for line in lines if line and not _TASK.match(line))
    sentences = Counter(part for line in told for part in set(_sentences(line)))
    return [
        *(text for text, count in tasks.items() if count > releases),
        *(text for text, count in (told | sentences).items() if count > 1),
    ]


def _sentences(line: str) -> Iterator[str]:
    """What stands between colons, and after the last."""
    yield from (part.strip(" .") for part in re.split(r": ", line) if len(part) >= _SENTENCE)
