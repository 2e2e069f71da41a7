"""Runs programs so that none outlives us: each in its own process group, ended when the run is interrupted."""

import contextlib
import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from builder.errors import DiskFull
from builder.interruption import Interruption
from builder.ports import Completed, ProcessFailed

_POLL_SECONDS = 0.2
_GRACE_SECONDS = 5.0
_CHUNK = 65536


class SubprocessRunner:
    """Fulfils `ports.ProcessRunner` with the operating system's processes."""

    def __init__(self, interruption: Interruption) -> None:
        self._interruption = interruption
        self._live: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        interruption.on_set(self._end_all)

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        on_line: Callable[[str], None] | None = None,
        idle_timeout: float | None = None,
    ) -> Completed:
        """See `ports.ProcessRunner.run`."""
        self._interruption.check()
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            process = self._start(argv, cwd, env, given)
            try:
                stdout, stderr, idle = _read(process, on_line, idle_timeout)
            except BaseException:
                _end(process)
                raise
            finally:
                process.wait()
                _close(process)
                with self._lock:
                    self._live.discard(process)
        self._interruption.check()
        if idle:
            stderr += f"\nended: it printed nothing for {idle_timeout:.0f} s"
        if process.returncode != 0 or idle:
            _raise_if_disk_full(argv, stderr)
            raise ProcessFailed(argv, process.returncode, stdout, stderr)
        return Completed(stdout=stdout, stderr=stderr)

    def _start(
        self, argv: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None, stdin: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=dict(env) if env is not None else None,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ProcessFailed(argv, 127, "", f"cannot start {argv[0]}: {error.strerror}") from error
        with self._lock:
            self._live.add(process)
        # The switch may have been set between our check and the start, when _end_all could not see this process yet.
        if self._interruption.is_set():
            _signal(process, signal.SIGTERM)
        return process

    def _end_all(self) -> None:
        with self._lock:
            live = tuple(self._live)
        for process in live:
            _signal(process, signal.SIGTERM)
        # Not all heed SIGTERM; a daemon thread, so that a run that is over need not wait for it.
        killer = threading.Timer(_GRACE_SECONDS, _kill, args=(live,))
        killer.daemon = True
        killer.start()


def _kill(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        _signal(process, signal.SIGKILL)


def _read(
    process: subprocess.Popen[bytes], on_line: Callable[[str], None] | None, idle_timeout: float | None
) -> tuple[str, str, bool]:
    """Read both pipes to their end; the third value tells that the process was ended for being idle."""
    assert process.stdout is not None
    assert process.stderr is not None
    chunks: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    pending = b""
    last_output = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "stdout")
        selector.register(process.stderr, selectors.EVENT_READ, "stderr")
        while selector.get_map():
            ready = selector.select(_POLL_SECONDS)
            for key, _ in ready:
                data = os.read(key.fd, _CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                chunks[key.data].append(data)
                if key.data == "stderr" and on_line:
                    pending = _emit_lines(pending + data, on_line)
            if ready:
                last_output = time.monotonic()
            elif idle_timeout and time.monotonic() - last_output > idle_timeout:
                _end(process)
                return _text(chunks["stdout"]), _text(chunks["stderr"]), True
    if pending and on_line:
        on_line(pending.decode(errors="replace"))
    return _text(chunks["stdout"]), _text(chunks["stderr"]), False


def _emit_lines(data: bytes, on_line: Callable[[str], None]) -> bytes:
    *lines, rest = data.split(b"\n")
    for line in lines:
        on_line(line.decode(errors="replace"))
    return rest


def _text(chunks: list[bytes]) -> str:
    return b"".join(chunks).decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    _signal(process, signal.SIGTERM)
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _signal(process, signal.SIGKILL)


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _close(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _raise_if_disk_full(argv: Sequence[str], stderr: str) -> None:
    if "no space left on device" in stderr.lower():
        line = next(line for line in stderr.splitlines() if "no space left on device" in line.lower())
        raise DiskFull(
            f"a disk is full: {Path(argv[0]).name} said: {line.strip()[:300]}",
            hint="Free some space (`docker system df`, `docker builder prune`, `go clean -cache`), then run the same again.",
        )
