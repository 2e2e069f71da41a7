"""Fills in templates: the expressions in recipes, and the Dockerfiles. Pure: text and values in, text out."""

import contextlib
import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import FunctionLoader, Template, TemplateError, TemplateRuntimeError, nodes

from builder.errors import RecipeError
from builder.recipe.bounded_template import LARGEST_TEMPLATE, BoundedEnvironment, render_bounded

# What an expression can fail with: `{{ 1 / 0 }}`, `{{ version + 1 }}`, a macro that calls itself for ever; and what Python
# makes of expressions that are nested more deeply than it can compile.
_FAILURES = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,
    SyntaxError,
    MemoryError,
)
_LONGEST_SHOWN = 200


def render_text(text: str, values: Mapping[str, Any], origin: str) -> str:
    """Fill in the expressions of one text of a recipe. Raises RecipeError, naming `origin`, for an unknown name."""
    if "{" not in text:
        return text
    try:
        _check_length(text)
        return render_bounded(_expression(text), values)
    except _FAILURES as error:
        shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        raise RecipeError(f"{origin}: {shown!r}: {_explain(error)}", hint=f"Known names: {', '.join(sorted(values))}.") from error


def render_dockerfile(templates: Mapping[str, str], name: str, image: Mapping[str, Any]) -> str:
    """The Dockerfile of one image on one platform. Raises RecipeError naming template and line."""
    try:
        template = _environment(tuple(templates.items())).get_template(name)
        return render_bounded(template, {"image": image}).strip() + "\n"
    except _FAILURES as error:
        raise RecipeError(f"template {_place(error, templates, name)}: {_explain(error)}") from error


def names_in(text: str) -> tuple[str, ...]:
    """The names that the expressions of a recipe's text use, each once: `base_version`, `dependencies.PROXY_REPO_SHA`.

    None of what `render_text` would refuse.
    """
    try:
        return tuple(dict.fromkeys(_names(_environment(()).parse(text)))) if "{" in text else ()
    except _FAILURES:
        return ()


def _names(node: nodes.Node) -> Iterator[str]:
    match node:
        case (
            nodes.Getattr(node=nodes.Name(name=name), attr=key)
            | nodes.Getitem(node=nodes.Name(name=name), arg=nodes.Const(value=key))
        ):
            yield f"{name}.{key}"
        case nodes.Name(name=name):
            yield name
        case _:
            for child in node.iter_child_nodes():
                yield from _names(child)


def templates_of(templates: Mapping[str, str], name: str) -> tuple[str, ...]:
    """The template of this name, which `render_dockerfile` takes, and all that it takes parts of."""
    # Late, as nothing that is built asks for it.
    from jinja2.meta import find_referenced_templates

    found: dict[str, None] = {}
    waiting: list[str | None] = [name]
    for name_of_part in waiting:
        if name_of_part and name_of_part in templates and name_of_part not in found:
            found[name_of_part] = None
            with contextlib.suppress(*_FAILURES):
                waiting += find_referenced_templates(_environment(()).parse(templates[name_of_part]))
    return tuple(found)


def _check_length(text: str) -> None:
    if len(text) > LARGEST_TEMPLATE:
        raise TemplateRuntimeError(f"a template of more than {LARGEST_TEMPLATE} characters")


def _explain(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError | MemoryError | SyntaxError) else str(error)


def _place(error: Exception, templates: Mapping[str, str], name: str) -> str:
    """`NAME:LINE` of the innermost template that the error passed through; it may be one that `name` imports."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in templates]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else name


# Kept, as parsing the templates takes longer than all else that a plan does.
@lru_cache(maxsize=4)
def _environment(templates: tuple[tuple[str, str], ...]) -> BoundedEnvironment:
    # Sandboxed: recipes and templates may come from elsewhere, and need no more of Python than their values.
    environment = BoundedEnvironment(FunctionLoader(_loader(dict(templates))))
    environment.filters["exec_form"] = exec_form
    environment.filters["quoted"] = quoted
    return environment


# A few texts, such as labels, stand in every image, on each of its platforms: to compile one takes longer than to fill it in.
@lru_cache(maxsize=256)
def _expression(text: str) -> Template:
    return _environment(()).from_string(text)


def _loader(templates: Mapping[str, str]) -> Callable[[str], tuple[str, str, Callable[[], bool]] | None]:
    """Gives each template with its name as its file, so that a traceback tells it from others."""

    def load(name: str) -> tuple[str, str, Callable[[], bool]] | None:
        if name not in templates:
            return None
        _check_length(templates[name])
        return templates[name], name, lambda: True

    return load


def exec_form(words: Sequence[str]) -> str:
    """Dockerfile exec form: `["/usr/local/bin/pilot-agent"]`."""
    return json.dumps(list(words))


def quoted(value: str) -> str:
    """A Dockerfile word in double quotes, in which neither the shell form nor a variable means anything."""
    if "\n" in value or "\r" in value:
        raise TemplateRuntimeError(f"{value!r} holds a line break, which no Dockerfile can quote")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
