"""Files that hold what we make, so that a change of it shows in a diff: `UPDATE_GOLDEN=1 make test-fast` writes them anew."""

import os
from pathlib import Path

from tests import ROOT

GOLDEN = ROOT / "tests" / "golden"


def check_golden(path: Path, text: str) -> None:
    """The file must hold this text; with UPDATE_GOLDEN=1 it is made to."""
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    # pytest explains a difference best where the two stand in the assertion itself.
    held = path.read_text(encoding="utf-8") if path.exists() else "nothing: no such file"
    assert held == text, f"{path} is not up to date; if the change is wanted, run with UPDATE_GOLDEN=1"
