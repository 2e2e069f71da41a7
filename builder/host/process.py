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
from builder.ports import Completed, ProcessFailed, ProcessSilent
from builder.runtime.cancellation import Cancellation
from builder.runtime.disk_space import free_space

_POLL_SECONDS = 0.1
# When a program that is to end gets which signal, in seconds. Ctrl-C comes first, as most clean up after that alone. All
# is over within two seconds.
_ENDINGS = ((0.0, signal.SIGINT), (0.5, signal.SIGTERM), (1.3, signal.SIGKILL))
_CHUNK = 65536


class SubprocessRunner:
    """Implements `ports.ProcessRunner` with the operating system's processes."""

    def __init__(self, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self._live: set[_Group] = set()
        self._lock = threading.Lock()
        cancellation.on_set(self._end_all)
        cancellation.on_kill(self.kill_all)

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
        self._cancellation.check()
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            group = self._start(argv, cwd, env, given)
            try:
                stdout, stderr, idle = _read(group, on_line, idle_timeout)
            except BaseException:
                group.begin_ending()
                raise
            finally:
                group.finish()
                with self._lock:
                    self._live.discard(group)
        self._cancellation.check()
        returncode = group.process.returncode
        if idle:
            stderr += f"\nended: it printed nothing for {idle_timeout:.0f} s"
            raise ProcessSilent(argv, returncode, stdout, stderr)
        if returncode != 0:
            _raise_if_disk_full(argv, stderr)
            raise ProcessFailed(argv, returncode, stdout, stderr)
        return Completed(stdout=stdout, stderr=stderr)

    def kill_all(self) -> None:
        """Kill what is still alive, and wait for none of it."""
        for group in tuple(self._live):
            group.signal(signal.SIGKILL)

    def _start(self, argv: Sequence[str], cwd: Path | None, env: Mapping[str, str] | None, stdin: IO[bytes]) -> "_Group":
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
        group = _Group(process)
        with self._lock:
            self._live.add(group)
        # The switch may have been set between our check and the start, when _end_all could not see this process yet.
        if self._cancellation.is_set():
            group.begin_ending()
        return group

    def _end_all(self) -> None:
        with self._lock:
            live = tuple(self._live)
        for group in live:
            group.begin_ending()


class _Group:
    """A program, with all that it has started in its process group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        # Set when all has been killed: whoever still holds the pipes has left the group, and is not waited for.
        self.killed = threading.Event()
        self._lock = threading.Lock()
        self._ending: threading.Thread | None = None
        self._finished = threading.Event()

    def begin_ending(self) -> None:
        """End it in steps, in a thread of their own. Calling it again does nothing."""
        with self._lock:
            if self._ending:
                return
            # A daemon, so that a run that is over need not wait for it.
            self._ending = threading.Thread(target=self._end, daemon=True)
        self._ending.start()

    def finish(self) -> None:
        """Wait for the program, close its pipes; where it was to end, leave nothing of its group behind."""
        # Its number stays taken until it has been waited for, and so does the group's.
        os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        if self._ending:
            self.signal(signal.SIGKILL)
        with self._lock:
            self.process.wait()
            self._finished.set()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    def signal(self, number: signal.Signals) -> None:
        """Send it to the whole group, unless that is gone."""
        with self._lock:
            if not self._finished.is_set():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, number)

    def _end(self) -> None:
        begun = time.monotonic()
        for moment, number in _ENDINGS:
            if self._finished.wait(max(0.0, begun + moment - time.monotonic())):
                return
            self.signal(number)
        self.killed.set()


def _read(group: _Group, on_line: Callable[[str], None] | None, idle_timeout: float | None) -> tuple[str, str, bool]:
    """Read both pipes to their end; the third value tells that the process was ended for being idle."""
    process = group.process
    assert process.stdout is not None
    assert process.stderr is not None
    chunks: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
    pending = b""
    idle = False
    last_output = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, "stdout")
        selector.register(process.stderr, selectors.EVENT_READ, "stderr")
        while selector.get_map() and not group.killed.is_set():
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
                idle = True
                group.begin_ending()
    if pending and on_line:
        on_line(pending.decode(errors="replace"))
    return _text(chunks["stdout"]), _text(chunks["stderr"]), idle


def _emit_lines(data: bytes, on_line: Callable[[str], None]) -> bytes:
    *lines, rest = data.split(b"\n")
    for line in lines:
        on_line(line.decode(errors="replace"))
    return rest


def _text(chunks: list[bytes]) -> str:
    return b"".join(chunks).decode(errors="replace")


def _raise_if_disk_full(argv: Sequence[str], stderr: str) -> None:
    if "no space left on device" in stderr.lower():
        line = next(line for line in stderr.splitlines() if "no space left on device" in line.lower())
        raise DiskFull(
            f"a disk is full: {Path(argv[0]).name} said: {line.strip()[:300]}; {free_space(Path(tempfile.gettempdir()))}",
            hint="Free some space (`docker system df`, `docker builder prune`, `go clean -cache`), then run the same again.",
        )
