"""The file of `--metadata-file`: what was pushed, for the next step of a pipeline; whole at every moment."""

import json
from collections.abc import Sequence
from pathlib import Path

from builder.cli.run_view import metadata_json
from builder.errors import RequestError
from builder.pipeline.report import Report
from builder.runtime.atomic_file import whole_file


class MetadataFile:
    """Written before the run begins, so that it never tells of another one, and after each release."""

    def __init__(self, name: str) -> None:
        """`name` is "" where none is wanted. Raises RequestError where it cannot be written."""
        self._path = Path(name) if name else None
        try:
            self.write(())
        except OSError as error:
            raise RequestError(
                f"cannot write {self._path}: {error.strerror}", hint="--metadata-file names a file in a directory that there is."
            ) from error

    def write(self, reports: Sequence[Report]) -> None:
        """Put what these releases are at the hubs in the place of what it says. Raises OSError."""
        if self._path is None:
            return
        with whole_file(self._path) as partial:
            partial.write_text(json.dumps(metadata_json(reports), indent=2) + "\n", encoding="utf-8")
