"""What tests share that start programs on this machine."""

import pytest

from tests.conftest import REQUIRED
from tests.real.browser import PROGRAMS, find_browser


@pytest.fixture
def browser(request: pytest.FixtureRequest) -> str:
    """A browser. Without one the test is skipped, by name; in CI, where every test has to run, it fails."""
    found = find_browser()
    if found is None:
        told = f"{request.node.nodeid}: NO BROWSER: none of {', '.join(PROGRAMS)} is on PATH"
        if REQUIRED:
            pytest.fail(told)
        pytest.skip(told)
    return found
