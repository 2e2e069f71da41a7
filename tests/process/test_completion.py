"""Completion as a shell asks for it: a real bash that has sourced the script."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.real.program import environment, istio_build


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `istio-build` in it, for PATH."""
    directory = tmp_path_factory.mktemp("bin")
    program = directory / "istio-build"
    start = "import sys; sys.argv[0] = 'istio-build'; from builder.cli.main import main; main()"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c {shlex.quote(start)} "$@"\n')
    program.chmod(0o755)
    return directory


def completed(programs: Path, *words: str, cwd: Path | None = None) -> list[str]:
    """What bash offers for the last of these words of a command line."""
    script = f"""
eval "$(istio-build completion bash)"
COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}
function=$(complete -p istio-build | sed 's/.*-F \\([^ ]*\\).*/\\1/')
"$function" istio-build
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    env = environment()
    env["PATH"] = f"{programs}:{env['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    # `compopt` has no completion to change where none goes on.
    assert "Traceback" not in done.stderr
    assert "error:" not in done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("comp",), ["completion"]),
        (("push", "--merge"), ["--merge-platforms"]),
        (("push", "--image", "p"), ["pilot", "proxyv2"]),
        (("push", "--image", "pilot,p"), ["pilot,proxyv2"]),
        (("push", "--image", "m"), ["mesh"]),
        (("explain", "p"), ["pilot", "proxyv2"]),
        (("verify", "--variant", "d"), ["default", "debug", "distroless"]),
        (("plan", "--platform", ""), ["linux/amd64", "linux/arm64"]),
        (("build", "--engine", "built"), ["builtin"]),
        (("push", "--recipes", "/nowhere", "--image", "p"), []),
    ],
)
def test_bash_completes(programs: Path, tmp_path: Path, words: tuple[str, ...], offered: list[str]) -> None:
    assert sorted(completed(programs, "istio-build", *words, cwd=tmp_path)) == sorted(offered)


def test_recipes_of_the_project_file_are_completed_too(programs: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples" / "recipes", tmp_path / "mine")
    recipe = tmp_path / "mine" / "echo.yaml"
    recipe.write_text(recipe.read_text().replace("variants:\n", "variants:\n  slim: { base: distroless }\n"))
    assert completed(programs, "istio-build", "push", "--image", "e", cwd=tmp_path) == []
    (tmp_path / "istio-build.yaml").write_text("recipes: mine\n")
    assert completed(programs, "istio-build", "push", "--image", "e", cwd=tmp_path) == ["echo"]
    assert completed(programs, "istio-build", "push", "--variant", "s", cwd=tmp_path) == ["slim"]


@pytest.mark.parametrize(("shell", "call"), [("bash", "complete "), ("zsh", "compdef "), ("fish", "complete ")])
def test_each_shell_has_a_script(shell: str, call: str) -> None:
    ended = istio_build("completion", shell)
    assert ended.code == 0
    assert call in ended.stdout
    assert "_ISTIO_BUILD_COMPLETE" in ended.stdout


def test_a_shell_that_is_not_known() -> None:
    ended = istio_build("completion", "tcsh")
    assert ended.code == 2
    assert "'bash', 'zsh', 'fish'" in ended.stderr
