"""What a run tells is less than the run: a stderr that takes nothing, or that is closed, changes nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

WITHOUT_HUB = "push --source ."


def run(words: str, streams: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = f"exec {sys.executable} -m builder {words} {streams}"
    env = {"PYTHONPATH": str(ROOT), "HOME": str(directory), "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        ["bash", "-c", command], env=env, cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("progress", ["plain", "json", "quiet", "tty"])
@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full", "0<&- 2>&-"])
def test_an_error_keeps_its_code_and_goes_nowhere_else(tmp_path: Path, streams: str, progress: str) -> None:
    ended = run(f"{WITHOUT_HUB} --progress {progress}", streams, tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "")


@pytest.mark.parametrize("streams", ["", "2>&-", "2>/dev/full"])
def test_what_is_asked_for_comes_all_the_same(tmp_path: Path, streams: str) -> None:
    ended = run("list --output-format json", streams, tmp_path)
    assert (ended.returncode, ended.stdout[:1]) in ((0, "{"), (0, "["))


def test_a_closed_stdout_is_no_traceback(tmp_path: Path) -> None:
    ended = run("list", ">&-", tmp_path)
    assert "Traceback" not in ended.stderr


def test_writes_of_threads_that_nobody_takes_raise_nothing(tmp_path: Path) -> None:
    """As those of uploads, and of what puts tags back."""
    script = tmp_path / "script.py"
    script.write_text(
        "from builder.cli.streams import prepare_streams\n"
        "prepare_streams()\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from builder.cli.display import open_display\n"
        "from builder.runtime.progress import Progress\n"
        "import sys\n"
        "with open_display(sys.argv[1]) as observer, ThreadPoolExecutor(2) as pool:\n"
        "    progress = Progress(observer)\n"
        "    def tell(number):\n"
        "        with progress.task('push', str(number)) as task:\n"
        "            task.advance(1, 2)\n"
        "            progress.warn('x' * 10000)\n"
        "    list(pool.map(tell, range(20)))\n"
        "print('done')\n"
    )
    for kind in ("plain", "json", "quiet", "tty"):
        for streams in ("2>/dev/full", "2>&-"):
            command = f"exec {sys.executable} {script} {kind} {streams}"
            ended = subprocess.run(
                ["bash", "-c", command], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False
            )
            assert (ended.returncode, ended.stdout) == (0, "done\n"), (kind, streams)
