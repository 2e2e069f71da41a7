"""Amounts as people write them: sizes and times. Pure."""

import re

from builder.errors import RequestError

_NUMBER = r"\d{1,12}(?:\.\d{1,6})?"
_SIZE = re.compile(rf"({_NUMBER}) ?(|[kmgt](?:b|ib)?|b)", re.IGNORECASE | re.ASCII)
_POWERS = "kmgt"
_AGE = re.compile(rf"({_NUMBER}) ?([smhdw])", re.IGNORECASE | re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def parse_size(text: str, asked: str) -> int:
    """`20GB`, `1.5G`, `512MiB`, `1000000` as bytes: powers of ten, but of two with an `i`.

    Raises RequestError, which says that `asked` is wrong, such as `--max-size`.
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise RequestError(f"{asked} {text!r} is no size", hint=f"Write it as {asked} 20GB, or 500MB, or 20GiB.")
    unit = found[2].lower()
    power = _POWERS.find(unit[:1]) + 1 if unit and unit != "b" else 0
    return int(float(found[1]) * (1024 if "i" in unit else 1000) ** power)


def parse_age(text: str, asked: str) -> float:
    """`30d`, `12h`, `2w`, `90m`, `45s` as seconds. Raises RequestError, which says that `asked` is wrong."""
    found = _AGE.fullmatch(text.strip())
    if not found:
        raise RequestError(f"{asked} {text!r} is no length of time", hint=f"Write it as {asked} 30d, or 12h, or 2w.")
    return float(found[1]) * _SECONDS[found[2].lower()]


def parse_count(text: str, asked: str) -> int:
    """`14`: a whole number above 0. Raises RequestError, which says that `asked` is wrong."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or not int(text):
        raise RequestError(f"{asked} {text!r} is no whole number above 0", hint=f"Write it as {asked} 14.")
    return int(text)
