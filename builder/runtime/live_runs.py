"""Which runs are at work with a cache: each has a file there, locked for as long as its process lives, however that ends."""

import contextlib
import fcntl
import json
import os
import platform
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from builder.runtime.json_document import object_of, parse_json, text_of
from builder.runtime.regular_file import read_regular

_SUFFIX = ".run"
_LARGEST = 1 << 16
# In how many seconds a run has entered at the latest.
_ENTERING = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRun:
    """A run that is at work: its process, its machine, and when it was started, in seconds since 1970."""

    process: int
    host: str
    started: float


class LiveRuns:
    """The runs of one cache. `enter` is for a run itself, the rest for others."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path: Path | None = None
        self._handle = -1

    def enter(self) -> None:
        """Be known as at work until `leave`, and forget those that were killed.

        Nothing where the cache cannot be written to: then nobody removes anything there.
        """
        name = f"{time.time_ns()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        new = self._directory / f"{name}.new"
        about = {"process": os.getpid(), "host": platform.node(), "started": time.time()}
        with contextlib.suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            os.write(self._handle, json.dumps(about).encode())
            # Locked before anybody sees it.
            self._path = new.rename(self._directory / f"{name}{_SUFFIX}")
        self.sweep()

    def leave(self) -> None:
        """Be at work no longer."""
        if self._path:
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            os.close(self._handle)
            self._path = None

    def others(self) -> tuple[LiveRun, ...]:
        """All but this one, the oldest first. Changes nothing."""
        found = [run for path in self._files() if path != self._path and (run := _read(path))]
        return tuple(sorted(found, key=lambda run: run.started))

    def sweep(self) -> None:
        """Remove the files of those that have ended without doing so."""
        for path in (*self._files(), *self._half_made()):
            if path != self._path and _read(path) is None:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _half_made(self) -> list[Path]:
        """Files of runs that were killed as they entered; one that is new may be about to be locked."""
        with contextlib.suppress(OSError):
            return [path for path in self._directory.glob("*.new") if time.time() - path.stat().st_mtime > _ENTERING]
        return []

    def _files(self) -> list[Path]:
        try:
            return sorted(path for path in self._directory.iterdir() if path.suffix == _SUFFIX)
        except OSError:
            return []


def _read(path: Path) -> LiveRun | None:
    """What a file says, None where its process has ended."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return None
    except BlockingIOError:
        return _parse(path)
    finally:
        os.close(handle)


def _parse(path: Path) -> LiveRun:
    try:
        said = object_of(parse_json(read_regular(path, _LARGEST)))
        process, started = said.get("process"), said.get("started")
        return LiveRun(
            process=process if isinstance(process, int) else 0,
            host=text_of(said.get("host")),
            started=float(started) if isinstance(started, int | float) else 0.0,
        )
    except (OSError, ValueError):
        # Somebody is at work, whoever it is.
        return LiveRun(process=0, host="", started=0.0)
