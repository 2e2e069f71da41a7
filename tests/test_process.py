"""Programs we run end when we do, and what they say is kept."""

import threading
import time
from pathlib import Path

import pytest

from builder.errors import DiskFull, Interrupted
from builder.interruption import Interruption
from builder.ports import ProcessFailed
from builder.process import SubprocessRunner

pytestmark = pytest.mark.process


@pytest.fixture
def interruption() -> Interruption:
    return Interruption()


@pytest.fixture
def runner(interruption: Interruption) -> SubprocessRunner:
    return SubprocessRunner(interruption)


def test_output_environment_directory_and_input_are_as_given(runner: SubprocessRunner, tmp_path: Path) -> None:
    lines: list[str] = []
    done = runner.run(
        ["/bin/sh", "-c", "pwd; cat; echo $GREETING; env | wc -l; echo one >&2; printf two >&2"],
        cwd=tmp_path,
        env={"GREETING": "hello", "PATH": "/usr/bin:/bin"},
        stdin="given\n",
        on_line=lines.append,
    )
    directory, given, greeting, variables = done.stdout.split()
    assert (directory, given, greeting) == (str(tmp_path), "given", "hello")
    assert int(variables) <= 5, "only what the environment says, and what the shell adds"
    assert lines == ["one", "two"]


def test_large_output_on_both_pipes_does_not_block(runner: SubprocessRunner) -> None:
    done = runner.run(["/bin/sh", "-c", "seq 200000; seq 200000 >&2"])
    assert done.stdout == done.stderr
    assert done.stdout.endswith("200000\n")


def test_a_failure_carries_command_status_and_words(runner: SubprocessRunner) -> None:
    with pytest.raises(ProcessFailed) as raised:
        runner.run(["/bin/sh", "-c", "echo said; echo wrong >&2; exit 3"])
    assert (raised.value.returncode, raised.value.stdout, raised.value.stderr) == (3, "said\n", "wrong\n")


def test_a_program_that_does_not_exist_is_a_failure_with_127(runner: SubprocessRunner) -> None:
    with pytest.raises(ProcessFailed) as raised:
        runner.run(["/no/such/program"])
    assert raised.value.returncode == 127


def test_a_full_disk_is_told_apart(runner: SubprocessRunner) -> None:
    with pytest.raises(DiskFull, match="write /x: no space left on device"):
        runner.run(["/bin/sh", "-c", "echo 'write /x: no space left on device' >&2; exit 1"])


def test_a_program_that_says_nothing_is_ended(runner: SubprocessRunner) -> None:
    started = time.monotonic()
    with pytest.raises(ProcessFailed) as raised:
        runner.run(["/bin/sh", "-c", "sleep 60"], idle_timeout=0.3)
    assert "printed nothing" in raised.value.stderr
    assert time.monotonic() - started < 20


def test_interrupting_ends_the_whole_group_at_once(runner: SubprocessRunner, interruption: Interruption, tmp_path: Path) -> None:
    """A grandchild too, as `go build` has compilers below it."""
    mark = tmp_path / "grandchild"
    ready = threading.Event()
    script = f"(echo started >&2; sleep 2; touch {mark}) & wait"

    def interrupt_when_ready() -> None:
        ready.wait(10)
        interruption.set()

    threading.Thread(target=interrupt_when_ready).start()
    with pytest.raises(Interrupted):
        runner.run(["/bin/sh", "-c", script], on_line=lambda line: ready.set())
    time.sleep(2.5)
    assert not mark.exists()


def test_nothing_starts_after_an_interruption(runner: SubprocessRunner, interruption: Interruption, tmp_path: Path) -> None:
    interruption.set()
    with pytest.raises(Interrupted):
        runner.run(["/usr/bin/touch", str(tmp_path / "started")])
    assert not (tmp_path / "started").exists()
