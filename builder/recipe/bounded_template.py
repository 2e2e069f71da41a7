"""Templates that cannot run for ever or fill the memory: Jinja's sandbox keeps a template from Python, but not from that.

Everything that takes a step (a round of a loop, a call, an included template) counts; everything that makes a text or list
looks at what it would be before it is made.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextvars import ContextVar
from functools import wraps
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateRuntimeError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.exceptions import SecurityError
from jinja2.loaders import BaseLoader
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.visitor import NodeTransformer

# A Dockerfile of ours has a hundredth of these.
LARGEST_TEMPLATE = 256 * 1024
_LARGEST_TEXT = 1024 * 1024
_MOST_STEPS = 100_000
_LARGEST_NUMBER = 10**18
_LARGEST_POWER = 64
_MOST_INSERTIONS = 64
# `%100000d`, `%*d`, `%(name)100000s`.
_WIDE = re.compile(r"[0-9]{5}|\*")

# Those whose result is no larger than what they are given.
_FILTERS_NAMES = (
    "abs attr bool capitalize count d default dictsort e escape first float groupby int items last length list "
    "lower map max min random reject rejectattr reverse round safe select selectattr sort string sum title trim "
    "unique upper wordcount"
)
_FILTERS = frozenset(_FILTERS_NAMES.split())
_METHODS_NAMES = (
    "capitalize casefold count endswith find get index isalnum isalpha isascii isdecimal isdigit isidentifier "
    "islower isnumeric isprintable isspace istitle isupper items keys lower lstrip partition removeprefix "
    "removesuffix rfind rindex rpartition rsplit rstrip split splitlines startswith strip swapcase title upper "
    "values"
)
_METHODS = frozenset(_METHODS_NAMES.split())
_BUILT_IN = (str, bytes, int, float, list, tuple, dict, set, frozenset)

_steps: ContextVar[Iterator[int]] = ContextVar("steps")


def render_bounded(template: Template, values: Mapping[str, Any]) -> str:
    """What the template makes of the values. Raises TemplateRuntimeError where that has no bound, beside Jinja's errors."""
    _steps.set(iter(range(_MOST_STEPS)))
    return _join(template.generate(values))


class _Counting(NodeTransformer):
    """Makes loops count their rounds, and `~` an operation that looks at what it makes."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        """`for x in y` is `for x in y | counted`."""
        self.generic_visit(node)
        node.iter = nodes.Filter(node.iter, "counted", [], [], None, None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        """`a ~ b` is `[a, b] | join`."""
        self.generic_visit(node)
        parts = nodes.List(list(node.nodes), lineno=node.lineno)
        return nodes.Filter(parts, "join", [], [], None, None, lineno=node.lineno)


class _BoundedCode(CodeGenerator):
    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:
        """Compiles a template."""
        changed = _Counting().visit(node)
        changed.set_environment(self.environment)
        super().visit_Template(changed, frame)


class BoundedEnvironment(SandboxedEnvironment):
    """Jinja's sandbox with the filters, methods and operators that have a bound, or have been given one."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])
    code_generator_class = _BoundedCode

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            finalize=_printable,
        )
        self.concat = _join  # type: ignore[method-assign]
        for name in ("lipsum", "range"):
            del self.globals[name]
        known = {name: _looked_at(self.filters[name]) for name in _FILTERS if name in self.filters}
        self.filters.clear()
        self.filters |= {**known, "counted": _counted, "join": _join_filter, "replace": _replace}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ANN401 - Jinja's own
        """Raises TemplateRuntimeError where the result would be large, whatever it is."""
        _step()
        _check_operands(operator, left, right)
        result = super().call_binop(context, operator, left, right)
        _check_size(result)
        return result

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - Jinja's own
        """Raises TemplateRuntimeError for the methods of texts that fill up, and the like."""
        _step()
        name = getattr(__obj, "__name__", "")
        if isinstance(getattr(__obj, "__self__", None), _BUILT_IN) and name not in _METHODS:
            raise SecurityError(f"{name}() is not for templates, as what it makes has no bound")
        return super().call(__context, __obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ANN401 - Jinja's own
        """`"{:>1000000000}".format(…)` has no bound either."""
        return None if super().wrap_str_format(value) is None else _refuse_format

    def get_template(self, name: Any, *args: Any, **kwargs: Any) -> Template:  # noqa: ANN401 - Jinja's own
        """Counts, as templates may include each other."""
        _step()
        return super().get_template(name, *args, **kwargs)

    def select_template(self, names: Any, *args: Any, **kwargs: Any) -> Template:  # noqa: ANN401 - Jinja's own
        """Counts, as `get_template` does."""
        _step()
        return super().select_template(names, *args, **kwargs)


def _refuse_format(*_: Any, **__: Any) -> str:  # noqa: ANN401 - of str.format
    raise SecurityError("format() is not for templates, as what it makes has no bound; `~` joins texts")


def _step() -> None:
    # Outside of a rendering, as while a template is parsed, there is nothing to count.
    if next(_steps.get(iter((0,))), None) is None:
        raise TemplateRuntimeError(f"the template takes more than {_MOST_STEPS} steps")


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        _step()
        yield value


def _check_operands(operator: str, left: Any, right: Any) -> None:  # noqa: ANN401 - values of templates
    for number in (left, right):
        if isinstance(number, int) and abs(number) > _LARGEST_NUMBER:
            raise TemplateRuntimeError(f"a number of more than {_LARGEST_NUMBER}")
    if operator == "**" and isinstance(right, int) and right > _LARGEST_POWER:
        raise TemplateRuntimeError(f"a power of more than {_LARGEST_POWER}")
    if operator == "*":
        _check_repetition(left, right)
        _check_repetition(right, left)
    if operator == "+" and isinstance(left, str | list | tuple):
        _check_size([left, right])
    if operator == "%" and isinstance(left, str | bytes):
        text = left if isinstance(left, str) else left.decode("latin-1")
        if _WIDE.search(text) or text.count("%") > _MOST_INSERTIONS:
            raise TemplateRuntimeError("a text with `%` that may become large")
        _check_size([right])


def _check_repetition(value: Any, times: Any) -> None:  # noqa: ANN401 - values of templates
    if isinstance(value, str | bytes | list | tuple) and isinstance(times, int):
        _check_count(_size(value, _LARGEST_TEXT) * times)


def _check_size(value: Any) -> None:  # noqa: ANN401 - values of templates
    _check_count(_size(value, _LARGEST_TEXT))


def _check_count(size: int) -> None:
    if size > _LARGEST_TEXT:
        raise TemplateRuntimeError(f"a value, or all of the text, of more than {_LARGEST_TEXT} characters")


def _size(value: Any, enough: int) -> int:  # noqa: ANN401 - values of templates
    """About the length of the value as a text; what is in a list twice counts twice. No further than is enough to know."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, Mapping):
        parts: Iterable[Any] = (part for pair in value.items() for part in pair)
    elif isinstance(value, Sequence | Set):
        parts = value
    else:
        return 8
    size = 2
    for part in parts:
        size += 2 + _size(part, enough - size)
        if size > enough:
            break
    return size


def _printable(value: Any) -> Any:  # noqa: ANN401 - values of templates
    _check_size(value)
    return value


def _looked_at(original: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, given what is small, and giving no more."""

    @wraps(original)
    def bounded(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - a filter's own
        _step()
        result = original(*args, **kwargs)
        _check_size(result)
        return result

    return bounded


def _join(parts: Iterable[str]) -> str:
    found: list[str] = []
    size = 0
    for part in parts:
        found.append(part)
        size += len(part)
        _check_count(size)
    return "".join(found)


def _join_filter(values: Iterable[Any], separator: str = "", attribute: str | None = None) -> str:
    found: list[str] = []
    size = 0
    for value in values:
        part = value if attribute is None else getattr(value, attribute)
        _check_size(part)
        found.append(str(part))
        size += len(found[-1]) + len(separator)
        _check_count(size)
    return separator.join(found)


def _replace(text: str, old: str, new: str, count: int = -1) -> str:
    text, old, new = str(text), str(old), str(new)
    _check_count(len(text) + (text.count(old) if count < 0 else min(count, text.count(old))) * len(new))
    return text.replace(old, new, count)
