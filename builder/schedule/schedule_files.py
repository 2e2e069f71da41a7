"""Writes schedules: fills in the templates of `schedules/`, each value quoted as what reads it wants it."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from builder.errors import RequestError
from builder.schedule.nightly_job import NAME, NightlyJob

# The files that each kind of schedule is made of.
KINDS = {
    "cron": ("crontab",),
    "systemd": (f"{NAME}.service", f"{NAME}.timer"),
    "kubernetes": ("kubernetes.yaml",),
    "github": ("github.yaml",),
    "gitlab": ("gitlab.yaml",),
}
_LOG = "$HOME/.local/state/istio-build/nightly.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleFile:
    """A file of a schedule."""

    name: str
    text: str


def write_schedule(kind: str, job: NightlyJob) -> tuple[ScheduleFile, ...]:
    """The files of a kind of schedule (see `KINDS`). Raises RequestError for what a file of that kind cannot hold."""
    environment = Environment(
        loader=FileSystemLoader(_shipped()),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "comment": _line,
        "cron": _cron,
        "oneline": _line,
        "shell": shlex.quote,
        "unit_word": _unit_path,
        "unit_words": _unit_words,
        "yaml": lambda value: json.dumps(value, ensure_ascii=False),
    }
    environment.filters |= filters
    words = (job.program, "nightly", "--file", job.project)
    values = {
        "job": job,
        "words": words,
        "command": _logged(words) if kind == "cron" else shlex.join(words),
        "namespaced": f" --namespace={job.namespace}" if job.namespace else "",
    }
    return tuple(ScheduleFile(name=name, text=environment.get_template(f"{name}.j2").render(values)) for name in KINDS[kind])


def _shipped() -> Path:
    """Inside an installed package, or at the top of a checkout."""
    package = Path(str(resources.files("builder")))
    inside = package / "schedules"
    return inside if inside.is_dir() else package.parent / "schedules"


def _logged(words: Sequence[str]) -> str:
    """All of it goes into a log, whose end is printed where the command fails: that is what cron mails."""
    log = f'"{_LOG}"'
    run = f"ISTIO_BUILD_PROGRESS=plain {shlex.join(words)} >>{log} 2>&1"
    return f'mkdir -p "$(dirname {log})" && {run} || {{ code=$?; tail -n 40 {log}; exit $code; }}'


def _line(text: str) -> str:
    if not text.isprintable():
        raise RequestError(f"{text!a} holds what cannot stand in such a file", hint="Rename it.")
    return text


def _cron(command: str) -> str:
    """crontab(5): a percent sign is a line end unless a backslash stands before it."""
    return _line(command).replace("%", r"\%")


def _unit_words(words: Sequence[str]) -> str:
    """systemd.service(5), Command lines: `%` and `$` twice, and quoted where a word would end."""
    return " ".join(_quoted(_line(word).replace("%", "%%").replace("$", "$$")) for word in words)


def _unit_path(path: str) -> str:
    """Of a path that ends at the end of the line: only specifiers count."""
    return _line(path).replace("%", "%%")


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if escaped != word or any(letter in " ';" for letter in word) else word
