"""The project file, istio-build.yaml: what may stand in it, and where it is found."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, create_model

from builder.config.option import Option
from builder.config.options import OPTIONS
from builder.errors import RequestError
from builder.recipe.yaml_file import Schema, YamlDocument, read_yaml, validate

PROJECT_FILE = "istio-build.yaml"
# What people write as well, and what would be ignored without a word.
OTHER_SUFFIX = ".yml"

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


def read_project(path: Path) -> YamlDocument:
    """Read and check a project file. Raises RecipeError with file and line."""
    document = read_yaml(path)
    validate(ProjectFile, document)
    return document


def find_project(named: str) -> YamlDocument | None:
    """The project file: the one named, else `istio-build.yaml` in the working directory, if it is there."""
    path = Path(named or PROJECT_FILE)
    if not _is_there(path):
        if named:
            raise RequestError(f"there is no project file {path}", hint="--file names it.")
        other = path.with_suffix(OTHER_SUFFIX)
        if other.exists():
            raise RequestError(
                f"{other} is not read: the project file is called {PROJECT_FILE}",
                hint=f"Rename it, or name it: --file {other}.",
            )
        return None
    return read_project(path)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        # As in a container whose user may not look into what is mounted.
        raise RequestError(
            f"cannot look for the project file {path}: {error.strerror}",
            hint="Whoever runs this has to be able to read the directory that it is in.",
        ) from error
