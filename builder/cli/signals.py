"""Ctrl-C and SIGTERM: the run ends in good order, and where it does not, the process ends all the same.

Signals are heard in a thread of their own. Python runs a handler in the main thread, between two of its instructions:
where that thread is deep in a library, the handler waits, and where it holds a lock, the handler must not take it.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from builder.cli.json_lines import error_fields, json_line
from builder.errors import BuilderError, CutOff, Interrupted
from builder.runtime.cancellation import Cancellation

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Two seconds are promised. What ends in good order does so well before, children included.
_GRACE_SECONDS = 1.6
_SHOW_CURSOR = "\x1b[?25h"


@contextmanager
def heard(cancellation: Cancellation, *, as_json: bool = False) -> Iterator[None]:
    """While the block runs, signals set the interruption, and so does one that comes after the block was interrupted.

    The process ends 1.6 s after the first one at the latest, but not in what is protected; at the second one, at once.
    `as_json`: its last words are a JSON line.
    """
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    # What is ignored stays so: that is how nohup works.
    numbers = tuple(number for number in _NUMBERS if signal.getsignal(number) is not signal.SIG_IGN)
    wakeup_before = signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    listener = threading.Thread(target=_listen, args=(receiver, numbers, cancellation, as_json), daemon=True)
    listener.start()
    try:
        yield
    finally:
        if not cancellation.is_set():
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            os.close(sender)
            listener.join()
            os.close(receiver)


def _listen(receiver: int, numbers: tuple[signal.Signals, ...], cancellation: Cancellation, as_json: bool) -> None:
    """Each signal comes as a byte that is its number; the end comes when nobody listens any more."""
    interrupted = False
    while received := os.read(receiver, 1):
        if received[0] not in numbers:
            continue
        if interrupted:
            _end_process(cancellation, "interrupted twice", as_json)
        interrupted = True
        cancellation.begin_countdown()
        threading.Thread(target=_end_overdue, args=(cancellation, as_json), daemon=True).start()
        cancellation.set()


def _end_overdue(cancellation: Cancellation, as_json: bool) -> None:
    cancellation.wait_until_overdue(_GRACE_SECONDS)
    _end_process(cancellation, "interrupted", as_json)


def _end_process(cancellation: Cancellation, what: str, as_json: bool) -> None:
    cancellation.kill()
    if cancellation.was_protected:
        error: BuilderError = CutOff(f"{what}; tags were being moved or had moved: run the same again, it puts that right")
    else:
        error = Interrupted(f"{what}; no tag has moved")
    shown = f"{_SHOW_CURSOR if os.isatty(2) else ''}error: {error.message}"
    text = json_line("error", error_fields(error)) if as_json else shown
    with contextlib.suppress(OSError):
        # Nothing that takes a lock: whoever has it may be what hangs.
        os.write(2, f"{text}\n".encode())
    os._exit(error.exit_code)
