"""How a run's end is told on stderr: in sentences for people, or as the last of its JSON lines."""

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from builder.errors import BuilderError

if TYPE_CHECKING:
    from builder.pipeline.report import Report


class Voice:
    """One for each run of the program.

    What it is asked for is found before options are parsed, as their mistakes are told in the same way.
    """

    def __init__(self, argv: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        words = " ".join(argv).replace("--progress=", "--progress ").split()
        chosen = [word for before, word in pairwise(words) if before == "--progress"]
        self.json = (chosen or [(environment or {}).get("ISTIO_BUILD_PROGRESS", "")])[-1] == "json"

    def error(self, error: BuilderError) -> None:
        """Tell what went wrong, and what to do next."""
        if self.json:
            from builder.cli.json_lines import JsonLines

            JsonLines(sys.stderr).error(error)
            return
        click.secho("error: ", fg="red", bold=True, err=True, nl=False)
        click.echo(error.message, err=True)
        if error.hint:
            click.echo(error.hint, err=True)

    def report(self, report: "Report", *, installable: bool) -> None:
        """Tell what a run achieved. Of one in which hubs failed, JSON lines have the error alone, which says all of it."""
        from builder.cli.report_view import report_json, report_text

        if self.json:
            from builder.cli.json_lines import JsonLines

            if report.failure is None:
                JsonLines(sys.stderr).result(report_json(report))
        else:
            click.echo(report_text(report, installable=installable), err=True)
