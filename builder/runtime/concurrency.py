"""Work that goes on side by side ends together: the first task that fails ends the others."""

from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from typing import Any

from builder.errors import Interrupted
from builder.runtime.cancellation import Cancellation


def finish_or_end(futures: Sequence[Future[Any]], cancellation: Cancellation, when_interrupted: str) -> None:
    """Wait for all; end all once one fails, and raise what failed first, not what was ended because of it.

    `when_interrupted` is what to tell a user who ended the run.
    """
    done, pending = wait(futures, return_when=FIRST_EXCEPTION)
    first = [error for future in futures if future in done and (error := future.exception())]
    if first:
        by_user = cancellation.is_set()
        cancellation.set()
        for future in pending:
            future.cancel()
        wait(futures)
        own = [error for error in first if not isinstance(error, Interrupted)]
        raise own[0] if own and not by_user else Interrupted(when_interrupted)
