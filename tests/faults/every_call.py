"""Every call of a push with every fault, and a second push that goes on with what the first has left with every fault, too."""

from collections.abc import Iterator

from tests.faults.play import play
from tests.faults.script import KINDS, TIMED, Fault, Run, Script

_TAGS = ("1.29", "1.30")
# As long as a lease lasts, and somewhat more.
_SECONDS = 70.0


def scripts() -> Iterator[Script]:
    """All of them."""
    calls = len(play(Script(runs=(Run(release="a", tags=_TAGS, sends=True),))).endings[0].course.calls)
    for number in range(calls):
        for kind in KINDS:
            yield Script(runs=(Run(release="a", tags=_TAGS, sends=True, faults=(_fault(number, kind),)),))
    yield from _left_overs()


def _left_overs() -> Iterator[Script]:
    """A push is killed when it has moved two of four tags; the next, of the same or of another release, fails."""
    first = Run(release="a", tags=_TAGS, faults=(Fault(call=_call_of_the_third_tag(), kind="kill"),))
    for release, tags in (("a", _TAGS), ("a", _TAGS[:1]), ("b", _TAGS), ("b", ("1.31",))):
        second = Run(release=release, tags=tags, start=2.0)
        calls = len(play(Script(runs=(first, second))).endings[1].course.calls)
        for number in range(14, calls):
            for kind in KINDS:
                yield Script(runs=(first, Run(release=release, tags=tags, start=2.0, faults=(_fault(number, kind),))))


def _call_of_the_third_tag() -> int:
    calls = play(Script(runs=(Run(release="a", tags=_TAGS),))).endings[0].course.calls
    moves = [number for number, (name, key) in enumerate(calls) if name == "put_tag" and not key.endswith("istio-build-run")]
    return moves[2]


def _fault(number: int, kind: str) -> Fault:
    return Fault(call=number, kind=kind, seconds=_SECONDS if kind in TIMED else 0.0)
