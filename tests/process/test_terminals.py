"""The program on a terminal of 60 columns, as whoever sits there sees it."""

import re
from pathlib import Path

import pytest

from builder.cli.program import cli
from builder.cli.voice import SHOW_PROGRESS
from tests.real.program import environment, istio_build
from tests.real.terminal import run_on_terminal


def on_terminal(columns: int, *words: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run it on a terminal of so many columns; gives its exit code, and what the terminal was sent."""
    surroundings = {**environment(env), "TERM": "xterm"}
    del surroundings["ISTIO_BUILD_PROGRESS"]
    return run_on_terminal(*words, env=surroundings, cwd=cwd, columns=columns)


def test_a_table_has_room_there_and_elsewhere_is_as_it_was() -> None:
    code, sent = on_terminal(60, "list")
    lines = [line.rstrip() for line in sent.splitlines()]
    assert code == 0, sent
    assert [line for line in lines if len(line) > 60] == []
    block = lines[lines.index("proxyv2") :]
    assert block[1].split() == ["GROUP", "core"]
    arm64 = next(line for line in block if "linux/arm64" in line)
    assert arm64 == "  linux/arm64  1.10 to 1.14: bring your own envoy; 1.15+:"

    piped = istio_build("list")
    assert piped.stdout.splitlines()[0].split() == ["IMAGE", "GROUP", "RELEASES", "VARIANTS", "linux/amd64", "linux/arm64"]
    assert istio_build("list", env={"COLUMNS": "60"}).stdout.splitlines()[0] == lines[0]


def test_an_error_has_room_there() -> None:
    code, sent = on_terminal(60, "push", "--hub", "docker.io/me", "--istio", "1.29.0", "--platform", "linux/riscv64")
    assert code == 2
    lines = [re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", line).rstrip() for line in sent.splitlines()]
    assert [line for line in lines if len(line) > 60] == []
    assert "error: " in sent


def test_there_is_a_sign_of_life_before_anything_that_takes_long_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    code, sent = on_terminal(60, "plan", "--hub", "docker.io/me", "--source", str(tmp_path))
    assert code == 4
    begun, _, after = sent.partition("\r\x1b[K")
    assert begun == "  start    reading settings"
    assert "reading settings" not in after
    assert "--source names a complete checkout" in after


@pytest.mark.parametrize("words", [("list",), ("push", "--help"), ("plan", "--progress", "plain"), ("plan", "--progress=json")])
def test_what_shows_no_display_gives_none(words: tuple[str, ...], tmp_path: Path) -> None:
    assert "reading settings" not in on_terminal(60, *words, cwd=tmp_path)[1]


def test_a_doctor_leaves_none_on_the_screen(tmp_path: Path) -> None:
    _, sent = on_terminal(60, "doctor", "--hub", "127.0.0.1:9/istio", "--limit", "1", cwd=tmp_path)
    begun, _, after = sent.partition("\r\x1b[K")
    assert begun == "  start    reading settings"
    assert re.match(r"(ok|warning|failed|skipped) ", after)


def test_all_commands_that_have_a_display_are_known() -> None:
    with_progress = {name for name, each in cli.commands.items() if any(option.name == "progress" for option in each.params)}
    assert with_progress == SHOW_PROGRESS
