"""Tests, by what they need of the machine: see `tests/conftest.py`."""

from pathlib import Path

# The project's own directory.
ROOT = Path(__file__).parent.parent
