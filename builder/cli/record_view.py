"""A run as JSON (docs/schemas/run.json): what stands beside its page. Pure."""

import json
from dataclasses import asdict
from typing import Any

from builder.cli.report_view import report_json
from builder.cli.verify_view import verify_json
from builder.report.record import RecordedError, RecordedInputs, RecordedTask, ReleaseRecord, RunRecord

# Of the form of the JSON. It changes where a program that reads it has to.
SCHEMA_VERSION = 1


def record_text(record: RunRecord) -> str:
    """The run as the text of a JSON file."""
    return json.dumps(record_json(record), indent=1) + "\n"


def record_json(record: RunRecord) -> dict[str, Any]:
    """The run as JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": record.id,
        "tool": record.tool,
        "command": record.command,
        "began": record.began,
        "seconds": round(record.seconds, 3),
        "ok": record.error is None,
        "changed": record.has_changed,
        "summary": record.summary,
        "hubs": list(record.hubs),
        "error": _error(record.error),
        "releases": [_release(release) for release in record.releases],
        "verification": verify_json(record.verification, record.verified_release) if record.verification else None,
        "stages": {stage: round(seconds, 3) for stage, seconds in record.stages},
        "tasks": [_task(task) for task in record.tasks],
        "messages": [
            {"level": message.level, "text": message.text, "at": round(message.at, 3), "retry": message.retry}
            for message in record.messages
        ],
    }


def _release(release: ReleaseRecord) -> dict[str, Any]:
    return {
        "version": release.version,
        "hub": release.hub,
        "changed": release.has_changed,
        "inputs": _inputs(release.inputs) if release.inputs else None,
        "report": report_json(release.report) if release.report else None,
        "error": _error(release.error),
    }


def _inputs(inputs: RecordedInputs) -> dict[str, Any]:
    artifacts = [asdict(artifact) for artifact in inputs.artifacts]
    return {**asdict(inputs), "bases": dict(inputs.bases), "mirrors": dict(inputs.mirrors), "artifacts": artifacts}


def _task(task: RecordedTask) -> dict[str, Any]:
    return {
        "stage": task.stage,
        "subject": task.subject,
        "platform": task.platform,
        "began": round(task.began, 3),
        "ended": round(task.ended, 3),
        "state": task.state,
        "outcome": task.outcome,
    }


def _error(error: RecordedError | None) -> dict[str, Any] | None:
    """As the `error` of `--progress json` has it."""
    if error is None:
        return None
    return {
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
        "images": [asdict(outcome) for outcome in error.ledger],
    }
