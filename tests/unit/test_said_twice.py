"""The rule that nothing is told twice is one that can be broken."""

import pytest

from tests.real.program import Ended
from tests.real.said_twice import said_twice

CAUSE = "cannot ask whether r.example takes an upload"


@pytest.mark.parametrize(
    ("stderr", "stdout", "twice"),
    [
        ("push      r.example/istio/istioctl ...\npush      r.example/istio/istioctl: 0.1 s\n", "", []),
        ("push      r.example/a ...\npush      r.example/a ...\n", "", ["push      r.example/a ..."]),
        ("verify    3 tags: 0.1 s\nverify    3 tags: 12.4 s\n", "", ["verify    3 tags: 0.0 s"]),
        (f"warning: r.example: {CAUSE}: 403\nerror: not all\n  r.example: no tag: {CAUSE}: 403.\n", "", [CAUSE]),
        (f"error: {CAUSE}\n", f"{CAUSE}\n", [CAUSE]),
        ("a: denied\nb: denied\n", "c: denied\n", []),
    ],
)
def test_what_is_said_twice(stderr: str, stdout: str, twice: list[str]) -> None:
    assert said_twice(Ended(code=1, stdout=stdout, stderr=stderr)) == twice
