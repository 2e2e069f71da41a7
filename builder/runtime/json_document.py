"""JSON from outside, read within bounds: whatever is wrong with it, there is one kind of error, and no harm is done."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

# The specification has registries take manifests of 4 MiB; the configurations of images are smaller still.
LARGEST_DOCUMENT = 16 * 1024 * 1024
# Nothing that is read here goes deeper than ten; whoever prints or walks a value must not run out of stack.
_DEEPEST = 100
# What fits into 64 bits has 20 at most.
_LONGEST_NUMBER = 30
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(content: bytes | str, *, largest: int = LARGEST_DOCUMENT) -> Any:  # noqa: ANN401 - JSON
    """The document, all of whose texts can be written as UTF-8.

    Raises ValueError for what is no JSON, is larger than `largest` bytes, nested too deeply, or holds an absurd number.
    """
    if len(content) > largest:
        raise ValueError(f"it is larger than {largest} bytes")
    text = content if isinstance(content, str) else content.decode("utf-8-sig")
    try:
        document = json.loads(text, parse_int=_parse_integer, parse_constant=_refuse_constant)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(document)
    if _SURROGATE.search(text):
        # Half a character, which JSON can write and nobody can print.
        json.dumps(document, ensure_ascii=False).encode()
    return document


def text_of(value: Any) -> str:  # noqa: ANN401 - JSON
    """A text, "" for null. Raises ValueError for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{_name(value)} where a text should be")
    return value


def texts_of(value: Any) -> tuple[str, ...]:  # noqa: ANN401 - JSON
    """A list of texts, empty for null. Raises ValueError for anything else."""
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError(f"{_name(value)} where a list of texts should be")
    return tuple(value)


def text_map_of(value: Any) -> dict[str, str]:  # noqa: ANN401 - JSON
    """Texts by name, empty for null. Raises ValueError for anything else."""
    if not all(isinstance(entry, str) for entry in object_of(value).values()):
        raise ValueError("something else than a text among the values of an object")
    return dict(object_of(value))


def object_of(value: Any) -> Mapping[str, Any]:  # noqa: ANN401 - JSON
    """An object, empty for null. Raises ValueError for anything else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{_name(value)} where an object should be")
    return value


def list_of(value: Any) -> Sequence[Any]:  # noqa: ANN401 - JSON
    """A list, empty for null. Raises ValueError for anything else."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{_name(value)} where a list should be")
    return value


def _check_depth(document: Any) -> None:  # noqa: ANN401 - JSON
    level = [document]
    for _ in range(_DEEPEST):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise _too_deep()


def _children(value: Any) -> Sequence[Any]:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested more than {_DEEPEST} levels deep")


def _parse_integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}, which is no JSON")


def _name(value: Any) -> str:  # noqa: ANN401 - JSON
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
