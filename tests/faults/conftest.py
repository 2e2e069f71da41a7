"""Schedules have their files in memory, below directories of their own."""

from collections.abc import Iterator

import pytest

from tests.faults.ground import remove_directories


@pytest.fixture(scope="session", autouse=True)
def _nothing_stays() -> Iterator[None]:
    yield
    remove_directories()
