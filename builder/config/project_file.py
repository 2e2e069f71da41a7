"""The project file, istio-build.yaml: where it is found, and that it is what `project_schema` says."""

from pathlib import Path

from builder.errors import RequestError
from builder.recipe.yaml_file import YamlDocument, read_yaml, validate

PROJECT_FILE = "istio-build.yaml"
# What people write as well, and what would be ignored without a word.
OTHER_SUFFIX = ".yml"


def read_project(path: Path) -> YamlDocument:
    """Read and check a project file. Raises RecipeError with file and line."""
    from builder.config.project_schema import ProjectFile

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
