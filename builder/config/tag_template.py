"""Tags with placeholders, such as `{{ release }}-corp`: checked when they are given, filled in once the source is known."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from builder.errors import RecipeError, RequestError
from builder.oci.reference import parse_tag

# A placeholder with its spaces, and what stands around it without one.
_WORD = re.compile(r"(?:\{\{[^}]*\}\}|\S)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class TagValues:
    """What placeholders stand for: a release (`1.29.0`), its line (`1.29`), a commit's first digits, a day as YYYYMMDD (UTC)."""

    release: str
    line: str
    commit: str
    date: str


_SAMPLE = TagValues(release="1.29.0", line="1.29", commit="0123456789", date="20260101")


def is_template(tag: str) -> bool:
    """Whether something is to be filled in."""
    return "{{" in tag


def parse_tags(words: Sequence[str]) -> tuple[str, ...]:
    """Tags as a flag or variable has them, each once; a variable comes in words. Raises RequestError."""
    return _parse(words, asdict(_SAMPLE), "--tag")


def parse_moving_tags(words: Sequence[str]) -> tuple[str, ...]:
    """The same for tags that move on with releases. Which release gets which is decided before its commit is known."""
    return _parse(words, {"release": _SAMPLE.release, "line": _SAMPLE.line}, "--moving-tags")


def _parse(words: Sequence[str], sample: Mapping[str, str], flag: str) -> tuple[str, ...]:
    if any(map(is_template, words)):
        words = _WORD.findall(" ".join(words))
    for word in words:
        fill_in(word, sample, flag)
    return tuple(dict.fromkeys(words))


def fill_in(tag: str, values: Mapping[str, str], flag: str = "--tag") -> str:
    """The tag that this one is, of these values. Raises RequestError for a placeholder that is none of them."""
    if not is_template(tag):
        return parse_tag(tag)
    # Late, as few tags have any: what fills in takes long to import.
    from builder.recipe.template import render_text

    try:
        return parse_tag(render_text(tag, values, flag))
    except RecipeError as error:
        known = ", ".join(f"{{{{ {name} }}}}" for name in values)
        raise RequestError(error.message, hint=f"Placeholders are {known}.") from error


def fill_in_all(tags: Sequence[str], values: TagValues) -> tuple[str, ...]:
    """All of them, each once. Raises RequestError."""
    return tuple(dict.fromkeys(fill_in(tag, asdict(values)) for tag in tags))
