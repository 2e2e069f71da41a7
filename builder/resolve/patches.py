"""Patches of the user's own: found, in order, and read once, so that what is summed is what is applied."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.errors import RequestError
from builder.plan.lock import AppliedPatch
from builder.runtime.regular_file import read_regular

# That of all between two releases of Istio has some 50 MB.
_LARGEST = 128 << 20
# It stands in an annotation beside others, in the lock and in messages.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@,-]{0,127}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A patch: the name of its file, wherever that lies, and what is in it."""

    name: str
    content: bytes = field(repr=False)

    @property
    def applied(self) -> AppliedPatch:
        """What of it is recorded."""
        return AppliedPatch(name=self.name, sha256=hashlib.sha256(self.content).hexdigest())


def read_patches(places: Sequence[Path]) -> tuple[Patch, ...]:
    """The patches of these files, and of the `*.patch` of these directories by name. Raises RequestError."""
    return tuple(_read(path) for place in places for path in _files(place))


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    found = sorted(path for path in place.glob("*.patch") if not path.name.startswith("."))
    if not found:
        raise RequestError(
            f"--patch {place}: there is no *.patch in that directory", hint="Name another, a file, or leave it out."
        )
    yield from found


def _read(path: Path) -> Patch:
    if not _NAME.fullmatch(path.name):
        raise RequestError(
            f"--patch {str(path)!a}: that is no name for a patch",
            hint="It is recorded with the images: rename the file with letters, digits and . _ + @ , - alone.",
        )
    try:
        return Patch(name=path.name, content=read_regular(path, _LARGEST))
    except OSError as error:
        raise RequestError(
            f"--patch {path} cannot be read: {error.strerror}", hint="It names a file, or a directory with *.patch in it."
        ) from error
