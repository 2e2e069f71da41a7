"""Asks for each thing once, whoever wants it at the same time."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Once(Generic[Key, Value]):
    """Answers by key; the second who asks waits for the answer that the first gets. What failed is asked for again."""

    def __init__(self, find: Callable[[Key], Value]) -> None:
        self._find = find
        self._answers: dict[Key, Value] = {}
        self._locks: dict[Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, key: Key) -> Value:
        """The answer, or what finding it raises."""
        with self._lock:
            mine = self._locks.setdefault(key, threading.Lock())
        with mine:
            if key not in self._answers:
                self._answers[key] = self._find(key)
            return self._answers[key]
