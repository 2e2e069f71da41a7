"""Switches off one thing that pushes rely on, to see that it is missed."""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any
from unittest.mock import patch


@contextmanager
def mutated(where: ModuleType | type, name: str, text: str, instead: str) -> Iterator[None]:
    """Within the block a function or method has other text in one place. It must be there once, or the test tests nothing."""
    function: FunctionType = getattr(where, name)
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(text) == 1, f"{name} has {text!r} {source.count(text)} times: say anew what is switched off"
    found: dict[str, Callable[..., Any]] = {}
    exec(source.replace(text, instead), function.__globals__, found)
    with patch.object(where, name, found[function.__name__]):
        yield
