"""A run as metrics in Prometheus' text format, for the node exporter's textfile collector. Pure.

The format: https://prometheus.io/docs/instrumenting/exposition_formats/. A file is of one job; what is counted over runs, and
when one last succeeded, is taken over from what the file held before.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from builder.report.record import RunRecord

# A name, labels, and the value of one sample as it is written here.
_SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? (?P<value>[0-9]{1,15}(?:\.[0-9]{1,9})?)")
_EXIT_CODE = re.compile(r'exit_code="([0-9]{1,3})"')
_PREFIX = "istio_build_"
# What a file of ours holds at most.
LARGEST_FILE = 1_000_000

Labels = Sequence[tuple[str, str]]


def run_metrics(record: RunRecord, earlier: str = "") -> str:
    """The metrics of a run; `earlier` is what the file held before, "" where it is new or cannot be read."""
    job = (("command", record.command), ("hub", ",".join(record.hubs)))
    ended = datetime.fromisoformat(record.began).timestamp() + record.seconds
    success = ended if not record.error else _number(earlier, "last_success_timestamp_seconds")
    succeeded = ((job, success),) if success else ()
    text = _family("last_run_timestamp_seconds", "gauge", "When the last run ended.", [(job, ended)])
    text += _family("last_run_success", "gauge", "Whether the last run succeeded (1) or failed (0).", [(job, not record.error)])
    text += _family("last_success_timestamp_seconds", "gauge", "When a run last succeeded.", succeeded)
    text += _family("last_run_duration_seconds", "gauge", "How long the last run took.", [(job, record.seconds)])
    text += _family(
        "last_run_stage_duration_seconds",
        "gauge",
        "How long a stage of the last run was at work; stages overlap.",
        [((*job, ("stage", stage)), seconds) for stage, seconds in record.stages],
    )
    text += _what_it_did(record, job) + _counters(record, job, earlier)
    return text


def _what_it_did(record: RunRecord, job: Labels) -> str:
    traffic = [release.report.traffic for release in record.releases if release.report and release.report.traffic]
    blobs = {
        "uploaded": sum(each.uploaded for each in traffic),
        "mounted": sum(each.mounted for each in traffic),
        "present": sum(each.present for each in traffic),
    }
    images = [((*job, ("state", state)), count) for state, count in record.states]
    text = _family("last_run_images", "gauge", "Images of the last run by what became of them.", images)
    if traffic:
        sent, moved = sum(each.bytes_sent for each in traffic), sum(each.tags_moved for each in traffic)
        held = [((*job, ("how", how)), count) for how, count in blobs.items()]
        text += _family("last_run_sent_bytes", "gauge", "Bytes of blobs that the last run sent.", [(job, sent)])
        text += _family("last_run_blobs", "gauge", "Blobs of the last run by how they came to be at the hub.", held)
        text += _family("last_run_tags_moved", "gauge", "Tags that the last run moved.", [(job, moved)])
    if record.verification:
        faults = len(record.verification.faults)
        text += _family("last_run_faults", "gauge", "What the last verification found wrong.", [(job, faults)])
    text += _family("last_run_retries", "gauge", "What the last run tried again.", [(job, len(record.retries))])
    return text + _family("last_run_warnings", "gauge", "Warnings of the last run.", [(job, len(record.warnings))])


def _counters(record: RunRecord, job: Labels, earlier: str) -> str:
    runs = _number(earlier, "runs_total") + 1
    failures = Counter(_failures(earlier))
    if record.error:
        failures[str(record.error.exit_code)] += 1
    by_code = [((*job, ("exit_code", code)), count) for code, count in sorted(failures.items(), key=lambda item: int(item[0]))]
    text = _family("runs_total", "counter", "Runs that wrote into this file.", [(job, runs)])
    return text + _family("failures_total", "counter", "Those of them that failed, by exit code.", by_code)


def _family(name: str, kind: str, meaning: str, samples: Iterable[tuple[Labels, float]]) -> str:
    """One metric with all its samples; nothing where it has none."""
    lines = [f"{_PREFIX}{name}{{{_labels(labels)}}} {_value(value)}" for labels, value in samples]
    head = [f"# HELP {_PREFIX}{name} {meaning}", f"# TYPE {_PREFIX}{name} {kind}"]
    return "\n".join((*head, *lines, "")) if lines else ""


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escape(value)}"' for name, value in labels)


def _escape(value: str) -> str:
    """As the format has values of labels."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _value(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}"


def _samples(text: str, name: str) -> Iterable[tuple[str, float]]:
    """The samples of one metric in a file that was written here, as their labels' text and their values."""
    for line in text[:LARGEST_FILE].split("\n"):
        match = _SAMPLE.fullmatch(line)
        if match and match["name"] == _PREFIX + name:
            yield match["labels"] or "", float(match["value"])


def _number(text: str, name: str) -> float:
    return next((value for _, value in _samples(text, name)), 0.0)


def _failures(text: str) -> Mapping[str, int]:
    found: Counter[str] = Counter()
    for labels, value in _samples(text, "failures_total"):
        code = _EXIT_CODE.findall(labels)
        if code:
            found[code[-1]] += int(value)
    return found
