"""Fills in templates: the expressions in recipes, and the Dockerfiles. Pure: text and values in, text out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import DictLoader, StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from builder.errors import RecipeError


def render_text(text: str, values: Mapping[str, Any], origin: str) -> str:
    """Fill in the expressions of one text of a recipe. Raises RecipeError, naming `origin`, for an unknown name."""
    if "{" not in text:
        return text
    try:
        return _environment({}).from_string(text).render(values)
    except TemplateError as error:
        raise RecipeError(f"{origin}: {text!r}: {error.message}", hint=f"Known names: {', '.join(sorted(values))}.") from error


def render_dockerfile(templates: Mapping[str, str], name: str, image: Mapping[str, Any]) -> str:
    """The Dockerfile of one image on one platform. Raises RecipeError naming template and line."""
    try:
        return _environment(templates).get_template(name).render(image=image).strip() + "\n"
    except TemplateError as error:
        line = f":{getattr(error, 'lineno', '')}".rstrip(":")
        raise RecipeError(f"template {name}{line}: {error.message}") from error


def _environment(templates: Mapping[str, str]) -> SandboxedEnvironment:
    # Sandboxed: recipes and templates may come from elsewhere, and need no more of Python than their values.
    environment = SandboxedEnvironment(
        loader=DictLoader(templates),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["exec_form"] = _exec_form
    environment.filters["quoted"] = _quoted
    return environment


def _exec_form(words: Sequence[str]) -> str:
    """Dockerfile exec form: `["/usr/local/bin/pilot-agent"]`."""
    return json.dumps(list(words))


def _quoted(value: str) -> str:
    """A Dockerfile word in double quotes, in which neither the shell form nor a variable means anything."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'"{escaped}"'
