"""Keeps what a run tells of itself, beside whatever else shows it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from builder.report.record import RecordedMessage, RecordedTask
from builder.runtime.progress import Event, Message, Observer, TaskFinished, TaskStarted


class Recorder:
    """An observer that keeps tasks and messages, and passes each event on. Called from many threads.

    Its times are seconds since it was made.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._lock = threading.Lock()
        self._running: dict[int, RecordedTask] = {}
        self._tasks: list[RecordedTask] = []
        self._messages: list[RecordedMessage] = []

    def over(self, observer: Observer) -> Observer:
        """An observer that keeps each event and passes it on to this one."""

        def observe(event: Event) -> None:
            self.keep(event)
            observer(event)

        return observe

    def keep(self, event: Event) -> None:
        """Take one event."""
        with self._lock:
            now = self.seconds()
            match event:
                case TaskStarted():
                    self._running[event.task] = RecordedTask(
                        stage=event.stage, subject=event.subject, began=now, ended=now, outcome="", state="cut off"
                    )
                case TaskFinished():
                    begun = self._running.pop(event.task)
                    ended = replace(begun, ended=now, outcome=event.outcome, state="failed" if event.failed else "done")
                    self._tasks.append(ended)
                case Message():
                    self._messages.append(RecordedMessage(level=event.level, text=event.text, at=now, retry=event.retry))

    def seconds(self) -> float:
        """How long it has been at it."""
        return self._clock() - self._start

    def tasks(self) -> tuple[RecordedTask, ...]:
        """All tasks in the order in which they began; those that have not ended are cut off now."""
        with self._lock:
            now = self.seconds()
            cut = [replace(task, ended=now) for task in self._running.values()]
            return tuple(sorted((*self._tasks, *cut), key=lambda task: (task.began, task.stage, task.subject)))

    def messages(self) -> tuple[RecordedMessage, ...]:
        """All messages in their order."""
        with self._lock:
            return tuple(self._messages)
