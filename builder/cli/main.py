"""The edge: runs a command, and turns every error into a message and an exit code. The one place that does."""

import gc
import os
import sys
from typing import NoReturn

import click

from builder.cli.failure import FORESEEN, error_of
from builder.cli.streams import prepare_streams
from builder.cli.voice import Voice
from builder.errors import BuilderError, RequestError

# Most of what a short run makes is what it imports, which stays: Python would go through all of that hundreds of times.
_OBJECTS_BETWEEN_COLLECTIONS = 20_000


def main() -> NoReturn:
    """Run, and turn every error into a message and an exit code: this is the one place that does."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    prepare_streams()
    voice = Voice(sys.argv[1:], os.environ)
    voice.begin()
    from builder.cli.program import cli

    try:
        code = cli.main(standalone_mode=False, obj=voice)
    except click.ClickException as error:
        _refuse(voice, error)
    except BrokenPipeError:
        # Whoever read our output has stopped reading: nothing is wrong, and nobody is there to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except FORESEEN as error:
        _fail(voice, error_of(error))
    # A command that ends with a code of its own gives it; others give nothing.
    sys.exit(code if isinstance(code, int) else 0)


def _refuse(voice: Voice, error: click.ClickException) -> NoReturn:
    """What click says of options comes with the command's usage, for people."""
    if voice.json:
        _fail(voice, RequestError(error.format_message()))
    error.show()
    sys.exit(error.exit_code)


def _fail(voice: Voice, error: BuilderError) -> NoReturn:
    voice.error(error)
    sys.exit(error.exit_code)
