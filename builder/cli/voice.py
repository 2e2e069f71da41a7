"""How a run's end is told on stderr: in sentences for people, or as the last of its JSON lines."""

import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import click

from builder.cli.screen import Screen
from builder.cli.streams import find_screen, show_for_now
from builder.errors import BuilderError
from builder.runtime.text import printable_lines

if TYPE_CHECKING:
    from builder.pipeline.report import ReleaseOutcome, Report, RunReport


_ERROR = "error: "
# The commands that show how far they are.
SHOW_PROGRESS = frozenset(
    {
        "archives",
        "build",
        "doctor",
        "explain",
        "history",
        "lock",
        "nightly",
        "plan",
        "promote",
        "push",
        "retain",
        "rollback",
        "verify",
    }
)


class Voice:
    """One for each run of the program.

    What it is asked for is found before options are parsed, as their mistakes are told in the same way.
    """

    def __init__(self, argv: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> None:
        words = " ".join(argv).replace("--progress=", "--progress ").split()
        chosen = [word for before, word in pairwise(words) if before == "--progress"]
        progress = (chosen or [(environment or {}).get("ISTIO_BUILD_PROGRESS", "")])[-1]
        self.json = progress == "json"
        # https://no-color.org: set, and not empty. Bold is no colour.
        self._red = None if (environment or {}).get("NO_COLOR") else "red"
        self._quiet = progress == "quiet" or "--quiet" in argv
        self._environment = environment or {}
        has_display = next((word for word in argv if not word.startswith("-")), "") in SHOW_PROGRESS
        asks_for_help = not {"-h", "--help"}.isdisjoint(argv)
        self._is_live = has_display and not asks_for_help and not self._quiet and progress in ("", "auto", "tty")

    def begin(self) -> None:
        """Give a first sign of life where a live display will be, before all that takes long is imported for it."""
        if self._is_live and sys.stderr.isatty():
            # As the display has its rows.
            show_for_now(f"  {'start':<8} reading settings")

    def error(self, error: BuilderError) -> None:
        """Tell what went wrong, and what to do next."""
        if self.json:
            from builder.cli.json_lines import JsonLines

            JsonLines(sys.stderr).error(error)
            return
        click.secho(_ERROR, fg=self._red, bold=True, err=True, nl=False)
        # Much of it may be what a registry or a program has said.
        told = printable_lines("\n".join(filter(None, (f"{_ERROR}{error.message}", error.hint))))
        screen = self._screen()
        folded = "\n".join(part for line in told.split("\n") for part in screen.fold(line))
        click.echo(folded[len(_ERROR.rstrip()) :].removeprefix(" "), err=True)

    def release(self, outcome: "ReleaseOutcome") -> None:
        """Tell what became of one release of several."""
        from builder.cli.run_view import describe, outcome_json

        if self.json:
            from builder.cli.json_lines import JsonLines

            JsonLines(sys.stderr).write("release", outcome_json(outcome))
            return
        self._say(f"Istio {outcome.release}: {describe(outcome)}.")
        if outcome.report and outcome.report.changed:
            from builder.cli.report_view import report_text

            self._say(report_text(outcome.report, self._screen(), installable=False))

    def run(self, run: "RunReport") -> None:
        """Tell how a run of several releases went, that went well."""
        from builder.cli.run_view import run_json, run_summary

        if self.json:
            from builder.cli.json_lines import JsonLines

            JsonLines(sys.stderr).result(run_json(run))
        else:
            self._say("\n".join(self._screen().fold(run_summary(run))))

    def warn(self, text: str) -> None:
        """Tell what somebody should look at, when the display of the run has ended."""
        if self.json:
            from builder.cli.json_lines import JsonLines
            from builder.runtime.progress import Message

            JsonLines(sys.stderr)(Message(level="warning", text=text))
        else:
            click.echo(f"warning: {text}", err=True)

    def report(self, report: "Report", *, installable: bool) -> None:
        """Tell what a run achieved. Of one in which hubs failed, JSON lines have the error alone, which says all of it."""
        from builder.cli.report_view import report_json, report_text

        if self.json:
            from builder.cli.json_lines import JsonLines

            if report.failure is None:
                JsonLines(sys.stderr).result(report_json(report))
        else:
            self._say(report_text(report, self._screen(), installable=installable))

    def _screen(self) -> Screen:
        return find_screen(sys.stderr, self._environment)

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.echo(printable_lines(text), err=True)
