"""Pools of threads that do everything at once where they are asked, so that what happens in a schedule is the same each time.

And what reads the same few manifests again and again remembers them, which makes schedules twice as many.
"""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Self
from unittest.mock import patch

from builder.oci import manifest
from builder.runtime.json_document import parse_json


class InlinePool:
    """What `ThreadPoolExecutor` is, with no thread. Who is killed in a task is killed as a whole."""

    def __init__(self, max_workers: int | None = None) -> None:
        """As many as there are, all are this one."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is on its way."""

    def submit(self, task: Callable[..., Any], *arguments: Any, **named: Any) -> "Future[Any]":  # noqa: ANN401 - any task
        """Do it; the future has what came of it."""
        future: Future[Any] = Future()
        try:
            future.set_result(task(*arguments, **named))
        except Exception as error:
            future.set_exception(error)
        return future

    def map(self, task: Callable[..., Any], *arguments: Iterable[Any]) -> Iterator[Any]:
        """Do all, whichever fails; the first failure is raised where its result is asked for."""
        futures = [self.submit(task, *each) for each in zip(*arguments, strict=False)]
        return (future.result() for future in futures)

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """Nothing is on its way."""


_parse_json = functools.lru_cache(maxsize=256)(parse_json)


@contextmanager
def in_line() -> Iterator[None]:
    """Within the block no module of ours makes a thread to do something side by side."""
    modules = [module for name, module in sys.modules.items() if name.startswith("builder.")]
    patches: list[Any] = [
        patch.object(module, "ThreadPoolExecutor", InlinePool)
        for module in modules
        if getattr(module, "ThreadPoolExecutor", None) is ThreadPoolExecutor
    ]
    patches.append(patch.object(manifest, "parse_json", _parse_json))
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()
