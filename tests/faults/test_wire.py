"""Over HTTP: some requests of a push with some faults, and with `make faults` all with all."""

from collections.abc import Iterator

import pytest

from tests.faults import wire

# Of each kind of fault.
EACH = 3


@pytest.fixture(scope="module")
def here() -> Iterator[wire.Site]:
    with wire.site() as site:
        yield site


def test_a_push_in_which_one_request_goes_wrong(here: wire.Site) -> None:
    cases = wire.some_cases(wire.count_requests(here), EACH * len(wire.FAULTS), 1)
    tried = wire.try_faults(here, cases)
    assert tried.pushes == EACH * len(wire.FAULTS)
    survived = sum(count for ending, count in tried.endings.items() if ending.endswith("a report"))
    assert survived > tried.pushes / 2, "most of what goes wrong once passes"


def test_what_passes_is_survived(here: wire.Site) -> None:
    """The request that moves the tag: none of these is a reason to give up."""
    number = _request_of_the_tag(here)
    for kind in ("drop", "reset", "429", "500", "502", "slow", "expired token", "lost answer", "late"):
        assert wire.try_fault(here, number, kind) == "a report", kind


def _request_of_the_tag(here: wire.Site) -> int:
    here.server.received.clear()
    wire.count_requests(here)
    return next(n for n, one in enumerate(here.server.received) if one.method == "PUT" and one.path.endswith("/manifests/1.29"))
