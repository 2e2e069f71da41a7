"""Counted tags, such as `1.29.0-r<n>`: which numbers the tags of a hub have, and the tag of a number. Pure."""

import re
from collections.abc import Iterable

from builder.errors import RequestError
from builder.oci.reference import parse_tag

# What stands for the number until a hub has told it: no tag can hold it.
COUNT = "<n>"
# More digits are none of ours: 20261129 is a day.
_NUMBER = "([1-9][0-9]{0,5})"
_LARGEST = 999_999


def is_counted(tag: str) -> bool:
    """Whether its number is not known yet."""
    return COUNT in tag


def parse_uncounted(tag: str) -> str:
    """Check a tag, whether or not its number is known, and return it. Raises RequestError."""
    parse_tag(tag.replace(COUNT, "1"))
    return tag


def newest_number(counted: str, tags: Iterable[str]) -> int:
    """The greatest number with which one of these tags is that counted one, 0 where none is."""
    pattern = re.compile(_NUMBER.join(map(re.escape, counted.split(COUNT))))
    return max((int(found[1]) for tag in tags if (found := pattern.fullmatch(tag))), default=0)


def with_number(tag: str, number: int) -> str:
    """The tag of this number; one that is not counted as it is. Raises RequestError for a number of too many digits."""
    if number > _LARGEST:
        raise RequestError(f"{tag} would get the number {number}, and it ends at {_LARGEST}", hint="Choose another --tag.")
    return tag.replace(COUNT, str(number))
