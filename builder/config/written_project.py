"""Writes a project file: every key with what it is for, those that are not given as comments. Pure."""

import json
import re
from collections.abc import Mapping, Sequence

from builder.config.option import Option
from builder.config.options import DEFAULT_TIMEOUT, THEMES

_HEAD = """\
# What istio-build does in this directory, where no flag and no variable says otherwise.
# `istio-build plan` shows what comes of it. A key without its # counts.
"""
# What YAML takes for text without quotes, but for the words below.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*([._/-][A-Za-z0-9]+)*")
_NO_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
# In a file an address of notifications stands as the name of a variable alone.
_SAMPLES = {"notify": "$NAME"}


def write_project(given: Mapping[str, Sequence[str]]) -> str:
    """The text of a project file with these settings: words by the setting's name, as `Given` has them, pairs as NAME=VALUE."""
    parts = [_HEAD]
    for title, options in THEMES:
        parts.append(f"\n# ---- {title}\n")
        parts += [f"\n# {option.help}\n{_entry(option, given.get(option.name, ()))}\n" for option in options]
    return "".join(parts)


def _entry(option: Option, words: Sequence[str]) -> str:
    if not words:
        return f"# {option.name}: {_sample(option)}"
    match option.kind:
        case "pairs":
            pairs = (word.partition("=") for word in words)
            return "\n".join([f"{option.name}:", *(f"  {_scalar(name)}: {_scalar(value)}" for name, _, value in pairs)])
        case "words" if len(words) > 1:
            return f"{option.name}: [{', '.join(map(_scalar, words))}]"
        case "switch" | "seconds" | "count":
            return f"{option.name}: {words[-1]}"
    return f"{option.name}: {_scalar(words[-1])}"


def _sample(option: Option) -> str:
    match option.kind:
        case "pairs":
            name, _, value = option.metavar.partition("=")
            return f"{{ {name}: {value} }}"
        case "switch":
            return "true"
        case "seconds":
            return DEFAULT_TIMEOUT
        case "count":
            return "14"
    return option.choices[0] if option.choices else _SAMPLES.get(option.name, option.metavar)


def _scalar(word: str) -> str:
    """As YAML reads it for text: JSON's strings are strings there, too."""
    plain = _PLAIN.fullmatch(word) and word.lower() not in _NO_TEXT
    return word if plain else json.dumps(word, ensure_ascii=False)
