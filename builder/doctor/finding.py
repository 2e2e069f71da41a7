"""What a check found, as values. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it is: a run would go well, would go on with something to know, or would fail; or it was not looked at."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How something is: `text` says what was found, `meaning` what that means for a run, `mend` what mends it, with the command
    where there is one. None of them may hold a credential."""

    state: State
    text: str
    meaning: str = ""
    mend: str = ""


def ok(text: str, meaning: str = "") -> Finding:
    """It is as a run needs it."""
    return Finding(state=State.OK, text=text, meaning=meaning)


def warning(text: str, meaning: str, mend: str = "") -> Finding:
    """A run goes on, but somebody should know."""
    return Finding(state=State.WARNING, text=text, meaning=meaning, mend=mend)


def failed(text: str, meaning: str, mend: str) -> Finding:
    """A run would fail."""
    return Finding(state=State.FAILED, text=text, meaning=meaning, mend=mend)


def skipped(text: str, mend: str = "") -> Finding:
    """It was not looked at; the text says why."""
    return Finding(state=State.SKIPPED, text=text, mend=mend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One check that was made: its name, of what it was (a hub, a base image; "" where there is but one), and the seconds
    that it took."""

    name: str
    subject: str
    finding: Finding
    seconds: float
