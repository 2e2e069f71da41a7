"""What may stand in a project file: a key for each setting. Imported where there is such a file."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from builder.config.option import Option
from builder.config.options import OPTIONS
from builder.recipe.yaml_file import Schema

# One word, or a list of them. Which of the two it is does not matter for what is wrong with it.
Words = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,)),
    WithJsonSchema({"anyOf": [{"items": {"type": "string"}, "type": "array"}, {"type": "string"}]}),
]


def _field(option: Option) -> Any:  # noqa: ANN401 - a type and a field, as pydantic takes them
    """The type of an option's key, and the field that describes it; left out or empty is not given."""
    match option.kind:
        case "words":
            return Words, Field(default=(), description=option.help)
        case "pairs":
            return Mapping[str, str], Field(default={}, description=option.help)
        case "switch":
            return bool, Field(default=False, description=option.help)
        case "count":
            return int | None, Field(default=None, gt=0, description=option.help)
        case "seconds":
            return float | None, Field(default=None, gt=0, description=option.help)
    if option.choices:
        return Literal["", *option.choices], Field(default="", description=option.help)
    return str, Field(default="", description=option.help)


ProjectFile = create_model(
    "ProjectFile",
    __base__=Schema,
    __doc__="`istio-build.yaml`: what a job would otherwise need flags for. Every key has the name of its flag, but `patches`, "
    "whose flag is --patch.",
    **{option.name: _field(option) for option in OPTIONS},
)
