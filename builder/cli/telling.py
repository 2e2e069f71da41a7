"""Where it is told how a run ended, besides stdout and stderr: a page, a trace, metrics, notifications."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from builder.cli.failure import error_of
from builder.errors import BuilderError, Interrupted, RequestError

if TYPE_CHECKING:
    from builder.config.outputs import Outputs
    from builder.report.record import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlet:
    """One of them: what it is called where it fails, and what tells it of a run. That may raise OSError and BuilderError."""

    name: str
    tell: "Callable[[RunRecord], None]"


def open_outlets(outputs: "Outputs", environment: Mapping[str, str]) -> tuple[Outlet, ...]:
    """All that is wanted, in the order in which they are told.

    Raises RequestError where something could not be written or sent, before there is anything to write or send.
    """
    outlets = []
    if outputs.report:
        _check_directory(outputs.report)
        outlets.append(Outlet(name=f"the report ({outputs.report})", tell=partial(_write_report, outputs.report)))
    if outputs.trace:
        _check_file("--trace", outputs.trace)
        outlets.append(Outlet(name=f"the trace ({outputs.trace})", tell=partial(_write_trace, outputs.trace)))
    if outputs.metrics:
        _check_file("--metrics", outputs.metrics)
        outlets.append(Outlet(name=f"the metrics ({outputs.metrics})", tell=partial(_write_metrics, outputs.metrics)))
    if outputs.notify:
        from builder.cli.notify import open_services

        services = open_services(outputs.notify, environment)
        outlets += [Outlet(name=service.name, tell=partial(_notify, outputs, service.send)) for service in services]
    return tuple(outlets)


def tell(outlets: Sequence[Outlet], record: "RunRecord", warn: Callable[[str], None]) -> None:
    """Tell all of them. Whatever goes wrong with one, the others are still told, and the run has ended as it has."""
    try:
        for outlet in outlets:
            try:
                outlet.tell(record)
            except (OSError, BuilderError) as error:
                warn(f"{outlet.name} could not be told how the run ended: {error_of(error).message}")
    except KeyboardInterrupt:
        warn("interrupted while it was told how the run ended; that changes nothing about how it did")


def _check_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RequestError(f"--report {directory}: {error.strerror}", hint="Name a directory that can be made.") from error
    _check_writable("--report", directory)


def _check_file(flag: str, path: Path) -> None:
    if path.is_dir():
        raise RequestError(f"{flag} {path}: that is a directory", hint="Name the file.")
    _check_writable(flag, path.parent)


def _check_writable(flag: str, directory: Path) -> None:
    if not directory.is_dir():
        raise RequestError(f"{flag}: there is no directory {directory}", hint="Make it, or name another place.")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise RequestError(f"{flag}: {directory} cannot be written to", hint="Name a place where this user may write.")


def _write_report(directory: Path, record: "RunRecord") -> None:
    from builder.cli.record_view import record_text
    from builder.report.directory import digests_before, read_kept, write_run

    kept = read_kept(directory)
    record = replace(record, before=digests_before(kept))
    write_run(directory, record, record_text(record), kept)


def _write_trace(path: Path, record: "RunRecord") -> None:
    from builder.report.directory import write_text
    from builder.report.trace import run_trace

    write_text(path, run_trace(record))


def _write_metrics(path: Path, record: "RunRecord") -> None:
    from builder.report.directory import read_text, write_text
    from builder.report.metrics import LARGEST_FILE, run_metrics

    write_text(path, run_metrics(record, read_text(path, LARGEST_FILE)))


def _notify(outputs: "Outputs", send: Callable[[str, str, bool], None], record: "RunRecord") -> None:
    from builder.report.message import is_due, page_url, short_message

    # Whoever has interrupted a run knows of it, and waits for it to end.
    if is_due(record, outputs.notify_on) and not (record.error and record.error.exit_code == Interrupted.exit_code):
        url = page_url(record, outputs.report_url, has_page=outputs.report is not None)
        message = short_message(record, url)
        send(message.title, message.body, record.error is not None)
