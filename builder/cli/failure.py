"""Every error that a command may end with, as one that has a message, a hint and an exit code."""

import click

from builder.errors import BuilderError, Interrupted, RequestError
from builder.runtime.disk_space import system_error

# What is no defect of ours: of anything else Python tells all it knows.
FORESEEN = (BuilderError, click.exceptions.Abort, click.ClickException, UnicodeEncodeError, OSError)
_SHOWN = 200
_TEXT_HINT = "It goes where only UTF-8 can be written: rename it."


def error_of(error: BaseException) -> BuilderError:
    """What to tell of an error, and how to exit with it."""
    match error:
        case BuilderError():
            return error
        case click.exceptions.Abort() | KeyboardInterrupt():
            return Interrupted("interrupted")
        case click.ClickException():
            return RequestError(error.format_message())
        case UnicodeEncodeError():
            return RequestError(f"a path or name is no text, and has to be: {error.object[:_SHOWN]!a}", hint=_TEXT_HINT)
        case OSError():
            return system_error(error)
    return BuilderError(f"istio-build itself failed: {type(error).__name__}")
