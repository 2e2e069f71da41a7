"""Work that goes on side by side: how the tasks of a group end together, or each by itself."""

from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any, NoReturn

from builder.errors import BuilderError, DiskFull, Interrupted
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
    _raise_failure(group, when_interrupted)


def finish_all(futures: Sequence[Future[Any]], vital: Collection[Future[Any]], group: TaskGroup, when_interrupted: str) -> None:
    """Wait for all, whatever fails among them; what did is for the caller to see.

    The group ends, as in `finish_or_end`, where one of the `vital` futures fails, and where what failed one task is none of
    its own: a full disk, an interruption, a mistake of ours.
    """

    def look(future: Future[Any]) -> None:
        error = None if future.cancelled() else future.exception()
        if error and (future in vital or isinstance(error, DiskFull | Interrupted) or not isinstance(error, BuilderError)):
            group.fail(error)
            for other in futures:
                other.cancel()

    for future in futures:
        future.add_done_callback(look)
    wait(futures)
    if group.is_set():
        _raise_failure(group, when_interrupted)


def _raise_failure(group: TaskGroup, when_interrupted: str) -> NoReturn:
    if group.failure is None or isinstance(group.failure, Interrupted):
        raise Interrupted(when_interrupted)
    raise group.failure
