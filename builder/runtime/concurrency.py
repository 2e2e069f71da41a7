"""Work that goes on side by side ends together: the first task of a group that fails ends the others of that group."""

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any

from builder.errors import Interrupted
from builder.runtime.cancellation import TaskGroup


def finish_or_end(futures: Sequence[Future[Any]], group: TaskGroup, when_interrupted: str) -> None:
    """Wait for all; end the group once one fails, and raise what failed first in it, not what was ended because of that.

    A task may have tasks of its own in the same group. `when_interrupted` is what to tell a user who ended the run.
    """
    done, pending = wait(futures, return_when=FIRST_EXCEPTION)
    errors = [error for future in futures if future in done and (error := future.exception())]
    if not errors:
        return
    group.fail(next((error for error in errors if not isinstance(error, Interrupted)), errors[0]))
    for future in pending:
        future.cancel()
    wait(futures)
    if group.failure is None or isinstance(group.failure, Interrupted):
        raise Interrupted(when_interrupted)
    raise group.failure
