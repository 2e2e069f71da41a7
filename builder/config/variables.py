"""Variables of the environment that look as if they were ours, and are not: most often a name with a slip in it. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches

from builder.config.options import OPTIONS

_PREFIX = "ISTIO_BUILD_"
# Those that are no setting of a job.
_OTHERS = frozenset(f"{_PREFIX}{name}" for name in ("CACHE", "PROGRESS", "SHARD"))
# What the project's own tools and tests tell each other, and what git is given.
_WITHIN = ("TEST_", "GIT_USER", "GIT_PASSWORD", "KEEP", "NO_ENGINE", "OWN_ENGINE", "REQUIRE_ENGINE", "ROOTFS_IMAGE", "STATE")
_CLOSE = 0.7


def unknown_variables(names: Iterable[str]) -> tuple[str, ...]:
    """A sentence for each of these names that begins like ours and means nothing, with the one that may have been meant."""
    known = {option.variable for option in OPTIONS} | _OTHERS
    unknown = sorted(
        name
        for name in names
        if name.startswith(_PREFIX) and name not in known and not name.removeprefix(_PREFIX).startswith(_WITHIN)
    )
    return tuple(_tell(name, known) for name in unknown)


def _tell(name: str, known: Iterable[str]) -> str:
    rest = {one.removeprefix(_PREFIX): one for one in known}
    close = get_close_matches(name.removeprefix(_PREFIX), rest, n=1, cutoff=_CLOSE)
    return f"The variable {name} means nothing to istio-build{f'; did you mean {rest[close[0]]}?' if close else '.'}"
