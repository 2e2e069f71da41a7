"""Versions of Go: which is newer, which are of one minor line. Pure: https://go.dev/doc/toolchain#version."""

import re
from collections.abc import Iterable

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?((?:rc|beta)\d+)?")


def version_key(version: str) -> tuple[int, ...]:
    """`1.26.0` as numbers, to compare; a release candidate counts as its release, a missing patch as 0."""
    found = _VERSION.match(version)
    return tuple(int(number or 0) for number in found.groups()[:3]) if found else (0, 0, 0)


def is_version(text: str) -> bool:
    """Whether this is a version, or a minor line such as `1.25`."""
    return bool(_VERSION.fullmatch(text))


def is_minor_line(version: str) -> bool:
    """`1.25` is a line of many patches, `1.25.0` and `1.26rc1` are one version each."""
    found = _VERSION.fullmatch(version)
    return bool(found and found[3] is None and found[4] is None)


def last_patch(versions: Iterable[str], minor: str = "") -> str:
    """The newest stable version of this minor line, or of all; "" where there is none."""
    stable = [version for version in versions if (found := _VERSION.fullmatch(version)) and not found[4]]
    wanted = [version for version in stable if not minor or version_key(version)[:2] == version_key(minor)[:2]]
    return max(wanted, key=version_key, default="")
