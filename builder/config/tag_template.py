"""Tags with placeholders, such as `{{ release }}-corp`: checked when they are given, filled in once the source is known."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from builder.config.counted_tag import COUNT, parse_uncounted
from builder.errors import RecipeError, RequestError
from builder.oci.reference import parse_tag

# A placeholder with its spaces, and what stands around it without one.
_WORD = re.compile(r"(?:\{\{[^}]*\}\}|\S)+")
_NUMBER = re.compile(r"\{\{[^}]*\bn\b[^}]*\}\}")


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


def is_counted_template(tag: str) -> bool:
    """Whether a number is to be filled in that hubs tell."""
    return bool(_NUMBER.search(tag))


def refuse_counted(tags: Sequence[str], command: str) -> None:
    """Raises RequestError where one of these tags gets its number at a hub, and the command asks none."""
    for tag in filter(is_counted_template, tags):
        raise RequestError(
            f"the number of {tag} is found at the hub when it is pushed, and `{command}` asks none",
            hint="Write it out: --tag 1.29.0-r3. What was built under another tag gets its number when it is pushed: "
            "istio-build push --from DIR --tag '1.29.0-r{{ n }}'.",
        )


def parse_tags(words: Sequence[str]) -> tuple[str, ...]:
    """Tags as a flag or variable has them, each once; a variable comes in words. Raises RequestError."""
    tags = _parse(words, {**asdict(_SAMPLE), "n": "1"}, "--tag")
    for tag in filter(is_counted_template, tags):
        _check_counted(tag)
    return tags


def parse_moving_tags(words: Sequence[str]) -> tuple[str, ...]:
    """The same for tags that move on with releases. Which release gets which is decided before its commit is known."""
    return _parse(words, {"release": _SAMPLE.release, "line": _SAMPLE.line}, "--moving-tags")


def _parse(words: Sequence[str], sample: Mapping[str, str], flag: str) -> tuple[str, ...]:
    if any(map(is_template, words)):
        words = _WORD.findall(" ".join(words))
    for word in words:
        fill_in(word, sample, flag)
    return tuple(dict.fromkeys(words))


def _check_counted(tag: str) -> None:
    """The number has to be found again in the tags of a hub."""
    filled = fill_in(tag, {**asdict(_SAMPLE), "n": COUNT})
    before, _, after = filled.partition(COUNT)
    if filled.count(COUNT) != 1 or before[-1:].isdigit() or after[:1].isdigit():
        raise RequestError(
            f"--tag {tag!r}: its number could not be told from the rest of it",
            hint="{{ n }} stands in it once, as it is, and beside no other digit: --tag '{{ release }}-r{{ n }}'.",
        )


def fill_in(tag: str, values: Mapping[str, str], flag: str = "--tag") -> str:
    """The tag that this one is, of these values. Raises RequestError for a placeholder that is none of them."""
    if not is_template(tag):
        return parse_tag(tag)
    # Late, as few tags have any: what fills in takes long to import.
    from builder.recipe.template import render_text

    try:
        filled = render_text(tag, values, flag)
    except RecipeError as error:
        known = ", ".join(f"{{{{ {name} }}}}" for name in values)
        raise RequestError(error.message, hint=f"Placeholders are {known}.") from error
    return parse_uncounted(filled) if values.get("n") == COUNT else parse_tag(filled)


def fill_in_all(tags: Sequence[str], values: TagValues) -> tuple[str, ...]:
    """All of them, each once; of those that are counted the number is left open. Raises RequestError."""
    return tuple(dict.fromkeys(fill_in(tag, {**asdict(values), "n": COUNT}) for tag in tags))
